"""MONAI bundles: MONAI loads and runs them, the result is that of `pano-med segment`, and nothing is a pickle."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
from test_cli import call, picture

from pano_med import weights
from pano_med.models import EfficientPS
from pano_med.outputs import FILES
from pano_med.predict.bundle import write_bundle
from pano_med.predict.bundled import Evaluator, Read, images, load

#: What MONAI's schema of 2024-07-25 asks for, in short; its own is fetched from the network by `verify_metadata`.
TENSOR = {"required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"], "properties": {
    "num_channels": {"type": "integer"}, "spatial_shape": {"items": {"type": ["string", "integer"]}},
    "dtype": {"type": "string"}, "value_range": {"items": {"type": "number"}}, "is_patch_data": {"type": "boolean"},
    "channel_def": {"type": "object"}}}  # fmt: skip
TENSORS = {"type": "object", "additionalProperties": TENSOR, "minProperties": 1}
TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors",
         "copyright")  # fmt: skip
SCHEMA = {
    "required": [*TEXTS, "required_packages_version", "network_data_format"],
    "properties": {
        **{key: {"type": "string"} for key in [*TEXTS, "data_source", "intended_use"]},
        **{key: {"type": "object"} for key in ["changelog", "required_packages_version", "eval_metrics"]},
        "network_data_format": {"required": ["inputs", "outputs"], "additionalProperties": TENSORS},
    },
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that knows nothing, and so finds things everywhere."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "nothing.safetensors"
    return weights.save(EfficientPS.small(), path, {"model_mpp": 0.5, "score": 0.0})


@pytest.fixture(scope="module")
def bundle(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(own, tmp_path_factory.mktemp("out") / "bundle")


def test_a_bundle_is_what_monai_expects_and_holds_no_pickle(bundle: Path, own: Path) -> None:
    assert sorted(str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()) == [
        "LICENSE", "configs/inference.json", "configs/metadata.json", "docs/README.md", "models/model.json",
        "models/model.safetensors"]  # fmt: skip
    assert list(bundle.parent.iterdir()) == [bundle]  # nothing is left of the making
    said = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(said, SCHEMA)
    assert said["types_validated"] is False
    assert "Types of nuclei are a demonstration" in said["description"]
    assert (bundle / "models" / "model.safetensors").read_bytes() == own.read_bytes()
    assert "names no licence" in (bundle / "LICENSE").read_text()
    assert "python -m monai.bundle run --config_file" in (bundle / "docs" / "README.md").read_text()


def test_shipped_weights_bring_their_card_and_licence(tmp_path: Path) -> None:
    bundle = write_bundle("he-nano", tmp_path / "b")
    readme = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    assert readme.startswith((weights.find("he-nano").with_suffix(".md")).read_text(encoding="utf-8"))
    assert "Apache License" in (bundle / "LICENSE").read_text(encoding="utf-8")
    said = json.loads((bundle / "configs" / "metadata.json").read_text())
    jsonschema.validate(said, SCHEMA)
    assert 0 < said["eval_metrics"]["PQ, unseen patients"] < 1


@pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI warns of configurations by strangers
def test_monai_runs_it_and_the_result_is_that_of_segment(bundle: Path, own: Path, tmp_path: Path) -> None:
    from monai.bundle import ConfigWorkflow

    image = picture(tmp_path / "in" / "a.png")
    workflow = ConfigWorkflow(
        str(bundle / "configs" / "inference.json"), workflow_type="infer", logging_file=False, bundle_root=str(bundle),
        dataset_dir=str(tmp_path / "in"), output_dir=str(tmp_path / "monai"), pixel_size_um=0.5, device="cpu",
    )  # fmt: skip
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    words = ["--weights", own, "--device", "cpu", "--mpp", 0.5]
    assert call("segment", image, "--out", tmp_path / "ours", *words).exit_code == 0
    assert sorted(p.name for p in (tmp_path / "monai").iterdir()) == sorted(f"a{e}" for e in FILES)
    for path in (tmp_path / "ours").iterdir():
        assert path.read_bytes() == (tmp_path / "monai" / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_monais_command_line_runs_it(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("fire", reason="MONAI's command line needs it")
    picture(tmp_path / "in" / "a.png")
    words = ["run", "--config_file", "configs/inference.json", "--dataset_dir", str(tmp_path / "in"), "--output_dir",
             str(tmp_path / "out"), "--pixel_size_um", "0.5", "--types", "True"]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "monai.bundle", *words], cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "a.png: warning: Types of nuclei are a demonstration" in done.stderr
    assert len(list((tmp_path / "out").iterdir())) == len(FILES)


def test_a_bad_image_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "b.png")
    (tmp_path / "a.png").write_text("no image")
    found = images(tmp_path)
    assert [row["name"] for row in found] == ["a", "b"]

    class Items(list):  # type: ignore[type-arg]
        def __getitem__(self, number: int) -> object:  # type: ignore[override]
            return Read(0.5)(super().__getitem__(number))

    class Done(Exception):
        pass

    def infer(image: object, um: float) -> object:
        raise Done(um)

    with pytest.raises(Done, match="0.5"):  # it comes as far as the second
        Evaluator(Items(found), infer, print).run()  # type: ignore[arg-type]
    assert "a.png" in capsys.readouterr().err
    with pytest.raises(ValueError, match="1 of 1 images failed; the others are done"):
        Evaluator(Items(found[:1]), infer, print).run()  # type: ignore[arg-type]


def test_what_is_missing_or_in_the_way_is_said(own: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no models/model.safetensors: run this in the bundle's folder"):
        load(tmp_path)
    with pytest.raises(NotADirectoryError, match="is not a folder; say where the images are with --dataset_dir"):
        images(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"holds no image; files that end with .*\.png.* are taken"):
        images(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    for out, message in (("full", "is not empty; choose a new folder for the bundle"),
                         ("full/mine.txt", "a file has that name; choose another name")):
        told = call("bundle", own, "--out", tmp_path / out)
        assert told.exit_code == 1
        assert message in told.stderr
    told = call("bundle", "he-giant", "--out", tmp_path / "new")
    assert told.exit_code == 1
    assert "there are no weights 'he-giant': give a .safetensors file or one of glands-nano" in told.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
