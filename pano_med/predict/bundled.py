"""The parts that the `inference.json` of a MONAI bundle names: weights, images in, one loop, the same files as ever.

`pano_med.predict.bundle` writes such bundles.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pano_med import weights
from pano_med.formats import read_image
from pano_med.outputs import output_names, write_outputs
from pano_med.predict.segmenter import Segmented
from pano_med.weights import LoadedWeights

#: Where the weights lie in a bundle. MONAI's own name for them, model.pt, is a pickle's, and a pickle can run code.
MODEL = "models/model.safetensors"
#: Files of a folder that are taken for images.
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".svs", ".bmp", ".webp", ".gif", ".ppm", ".jp2"))


def load(bundle_root: str | Path) -> LoadedWeights:
    """The network of a bundle, checked against the hash in the card beside it.

    Raises:
        FileNotFoundError: there is no bundle.
        ValueError: weights that are damaged or were changed.
    """
    path = Path(bundle_root) / MODEL
    if not path.is_file():
        raise FileNotFoundError(f"{bundle_root} holds no {MODEL}: run this in the bundle's folder, or name that folder "
                                "with --bundle_root")
    return weights.load(path)


def images(dataset_dir: str | Path) -> list[dict[str, str]]:
    """The images of a folder by name: the path of each, and how its results are called.

    Raises:
        NotADirectoryError: no such folder.
        FileNotFoundError: there is no image in it.
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; say where the images are with --dataset_dir")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no image; files that end with {', '.join(sorted(SUFFIXES))} are taken")
    return [{"path": str(p), "name": name} for p, name in zip(paths, output_names(paths), strict=True)]


class Read:
    """Transform: reads the image of an item of `images`.

    Args:
        pixel_size_um: of all images; None = what each file says, else an estimate.
    """

    def __init__(self, pixel_size_um: float | None = None) -> None:
        self.pixel_size_um = pixel_size_um

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The item with "image", (H, W, 3) uint8, and "pixel_size_um"."""
        image = read_image(item["path"])
        return {**item, "image": image.array, "pixel_size_um": self.pixel_size_um or image.pixel_size_um}


class Write:
    """Transform: writes the five files of an item that has "image" and its map, "pred"; see `pano_med.outputs`.

    Args:
        output_dir: folder for them; made where it is missing.
    """

    def __init__(self, output_dir: str | Path) -> None:
        self.folder = Path(output_dir)

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The item with "files", the path of each by its ending."""
        return {**item, "files": write_outputs(self.folder, item["name"], item["image"], item["pred"])}


class Evaluator:
    """The loop over the images. One that fails is told and does not stop the others.

    Args:
        dataset: of items as `Read` makes them.
        inferer: image and pixel size -> `Segmented`.
        postprocessing: what is done with each item; it has "pred", the panoptic map.
    """

    def __init__(self, dataset: Sequence[Mapping[str, Any]], inferer: Callable[..., Segmented],
                 postprocessing: Callable[[Mapping[str, Any]], Any]) -> None:
        self.dataset, self.inferer, self.postprocessing = dataset, inferer, postprocessing

    def run(self) -> None:
        """Do all of them.

        Raises:
            ValueError: some failed; the others are done.
        """
        failed = 0
        for number in range(len(self.dataset)):
            try:
                item = self.dataset[number]
                found = self.inferer(item["image"], item["pixel_size_um"])
                self.postprocessing({**item, "pred": found.panoptic})
            except (ValueError, OSError, RuntimeError) as error:  # MONAI wraps what a transform raises
                failed += 1
                print(error.__cause__ or error, file=sys.stderr)
                continue
            for warning in found.warnings:
                print(f"{item['path']}: warning: {warning}", file=sys.stderr)
            print(f"{item['name']}: {len(found.panoptic.things)} things, {found.seconds:.1f} s", flush=True)
        if failed:
            raise ValueError(f"{failed} of {len(self.dataset)} images failed; the others are done")
