"""Weights as a MONAI bundle: a folder that `monai.bundle` loads and runs, and that says what it holds.

    configs/metadata.json      what it is, by MONAI's schema
    configs/inference.json     how it runs, in parts of `pano_med.predict.bundled`
    models/model.safetensors   the weights, with their card beside them
    docs/README.md, LICENSE    the card in words, the licence
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pano_med
from pano_med import __version__, weights
from pano_med.formats import make_folder
from pano_med.predict.bundled import MODEL
from pano_med.types import DEMONSTRATION
from pano_med.weights import LoadedWeights

#: MONAI's schema of metadata.json.
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
#: How the bundle runs. Everything may be overridden on the command line of `monai.bundle run`.
INFERENCE: Mapping[str, Any] = {
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/images'",
    "output_dir": "$@bundle_root + '/results'",
    "pixel_size_um": None,
    "types": False,
    "device": {"_target_": "pano_med.predict.pick_device"},
    "weights": {"_target_": "pano_med.predict.bundled.load", "bundle_root": "@bundle_root"},
    "network_def": "$@weights.model",
    "datalist": {"_target_": "pano_med.predict.bundled.images", "dataset_dir": "@dataset_dir"},
    "preprocessing": {"_target_": "pano_med.predict.bundled.Read", "pixel_size_um": "@pixel_size_um"},
    "dataset": {"_target_": "monai.data.Dataset", "data": "@datalist", "transform": "@preprocessing"},
    "inferer": {"_target_": "pano_med.predict.Segmenter", "loaded": "@weights", "device": "@device", "types": "@types"},
    "postprocessing": {"_target_": "pano_med.predict.bundled.Write", "output_dir": "@output_dir"},
    "evaluator": {
        "_target_": "pano_med.predict.bundled.Evaluator",
        "dataset": "@dataset", "inferer": "@inferer", "postprocessing": "@postprocessing",
    },
    "run": ["$@evaluator.run()"],
}  # fmt: skip
README = """{card}
## This folder is a MONAI bundle
It needs `pip install pano-med fire`. In this folder:

```bash
python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGES --output_dir RESULTS
```

Each image of the folder leaves the same five files as `pano-med segment`: overlay, GeoJSON for QuPath, CSV, and COCO
panoptic PNG and JSON. `--pixel_size_um 0.25` says how large a pixel is, where the files don't; `--device cpu` where to
compute; `--types True` tells types of nuclei. From elsewhere, add `--bundle_root` with the path of this folder.
"""


def write_bundle(name_or_path: str | Path, out: str | Path) -> Path:
    """Write weights as a MONAI bundle, whole or not at all.

    Args:
        name_or_path: of the weights, see `pano_med.weights.load`.
        out: the folder; new or empty.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: no such weights.
        FileExistsError: the folder holds something already.
        ValueError: weights that are damaged.
        OSError: the folder can't be written.
    """
    out = Path(out)
    loaded = weights.load(name_or_path)  # with every check
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty; choose a new folder for the bundle")
    make_folder(out)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        made = Path(temporary) / "bundle"
        _fill(made, weights.find(name_or_path), loaded)
        out.rmdir()  # it is empty; Windows would not replace it
        made.rename(out)
    return out


def _fill(folder: Path, path: Path, loaded: LoadedWeights) -> None:
    model = folder / MODEL
    for part in ("configs", "models", "docs"):
        (folder / part).mkdir(parents=True)
    shutil.copyfile(path, model)
    model.with_suffix(".json").write_text(json.dumps(dict(loaded.meta), indent=1) + "\n", encoding="utf-8")
    for name, content in (("metadata", metadata(loaded)), ("inference", INFERENCE)):
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    words = path.with_suffix(".md")
    card = words.read_text(encoding="utf-8") if words.is_file() else f"# {path.stem}\n\nNobody wrote a card in words.\n"
    (folder / "docs" / "README.md").write_text(README.format(card=card), encoding="utf-8")
    (folder / "LICENSE").write_text(_licence(loaded.meta), encoding="utf-8")


def metadata(loaded: LoadedWeights) -> dict[str, Any]:
    """What metadata.json says of weights."""
    meta, taxonomy = loaded.meta, loaded.taxonomy
    scores = (meta.get("scores") or {}).get("validation") or {}
    names = {kind: ", ".join(c.name for c in group)
             for kind, group in (("stuff", taxonomy.stuff), ("things", taxonomy.things))}
    doubt = "" if loaded.types_validated or taxonomy.plain() is taxonomy else f" {DEMONSTRATION}"
    return {
        "schema": SCHEMA,
        "version": __version__,
        "changelog": {__version__: "written by pano-med bundle"},
        "monai_version": _number("monai"),
        "pytorch_version": _number("torch"),
        "numpy_version": _number("numpy"),
        "required_packages_version": {n: _number(n) for n in ("pano-med", "safetensors", "torchvision")},
        "name": str(meta.get("name", "")),
        "task": "Panoptic segmentation: every pixel one class, every object its own number",
        "description": f"Stuff: {names['stuff']}. Things: {names['things']}.{doubt} More stands in docs/README.md.",
        "authors": "the authors of pano-med",
        "copyright": "the authors of pano-med; see LICENSE",
        "data_source": ", ".join(meta.get("data", [])),
        "intended_use": "Research and teaching. Not for diagnosis.",
        "eval_metrics": {f"PQ, {part}": round(row["pq"], 3) for part, row in scores.items()
                         if isinstance(row, Mapping) and isinstance(row.get("pq"), float)},
        "types_validated": loaded.types_validated,
        "network_data_format": _data_format(loaded),
    }  # fmt: skip


def _data_format(loaded: LoadedWeights) -> dict[str, Any]:
    """What goes in and comes out: of the network, and after the fusion."""
    channels = {str(i): c.name for i, c in enumerate(loaded.taxonomy.channels)}
    image = {
        "type": "image", "format": "magnitude", "num_channels": 3, "spatial_shape": ["*", "*"],
        "dtype": "float32", "value_range": [0, 1], "is_patch_data": True, "channel_def": {"0": "R", "1": "G", "2": "B"},
        "pixel_size_um": loaded.model_mpp,
    }
    pred = {
        "type": "image", "format": "labels", "num_channels": len(channels), "spatial_shape": ["*", "*"],
        "dtype": "float32", "value_range": [], "is_patch_data": True, "channel_def": channels,
    }
    ids = {**pred, "format": "segmentation", "num_channels": 1, "dtype": "int32", "is_patch_data": False,
           "channel_def": {"0": "number of the segment of each pixel; the JSON beside it says its class"}}
    return {"inputs": {"image": image}, "outputs": {"pred": pred}, "post_processed_outputs": {"pred": ids}}  # fmt: skip


def _number(package: str) -> str:
    return version(package).split("+")[0]


def _licence(meta: Mapping[str, Any]) -> str:
    """What the card says, and the text of Apache-2.0 where that is the licence."""
    said = str(meta.get("licence") or "The card of these weights names no licence; ask who made them.")
    if not said.startswith("Apache-2.0"):
        return f"{said}\n"
    beside = Path(pano_med.__file__).parents[1] / "LICENSE"  # where the package runs from its repository
    text = distribution("pano-med").read_text("licenses/LICENSE") or (beside.read_text() if beside.is_file() else "")
    return f"{said}\n\n{text}"
