"""`pano-med data ...` as a user meets it: lines, exit codes, one sentence for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pano_med.cli import app
from pano_med.cli.train import RECIPE, _model_mpp, own_set
from pano_med.data import card, card_names
from pano_med.training.lock import locked
from pano_med.types import LazySample

RUN = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb", "PANO_MED_DATA": ""})


def call(*words: object) -> Result:
    return RUN.invoke(app, [str(w) for w in words])


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of three images with one object each."""
    for i in range(3):
        coarse = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        mask[10:20, 10:20] = 1
        for kind, array in (("images", np.asarray(Image.fromarray(coarse).resize((64, 64)))), ("labels", mask)):
            (tmp_path / "own" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "own" / kind / f"x{i}.png")
    return tmp_path / "own"


@pytest.mark.parametrize("command", ["list", "show", "check", "fetch", "new"])
def test_every_command_explains_itself(command: str) -> None:
    assert f"pano-med data {command}" in RUN.invoke(app, ["data", command, "-h"], prog_name="pano-med").stdout
    assert command in call("data", "--help").stdout


def test_list() -> None:
    lines = call("data", "list").stdout.splitlines()
    assert lines[0].split() == ["set", "tiles", "objects", "stuff", "things", "had", "by"]
    assert [line.split()[0] for line in lines[1:]] == list(card_names())
    rows = {row["set"]: row for row in json.loads(call("data", "list", "--json").stdout)}
    assert (rows["cityscapes"]["stuff"], rows["cityscapes"]["things"]) == (11, 8)


def test_show() -> None:
    said = call("data", "show", "cityscapes").stdout
    assert said.startswith("# Cityscapes")
    assert "may be passed on: no" in said
    assert "thing: person, rider, car" in said
    assert "how to get it: registration" in said
    assert json.loads(call("data", "show", "cityscapes", "--json").stdout)["name"] == "cityscapes"


def test_new_then_check_then_spoil(own: Path) -> None:
    result = call("data", "new", own, "--rename", "object=cell", "--mpp", 0.5)
    assert result.exit_code == 0, result.stderr
    assert "own: 3 images, 3 objects, 3 groups" in result.stdout
    assert f"train on it: pano-med train --data-set {own / 'card.md'} --out run" in result.stdout
    assert "pano-med: split by image: tiles of one patient" in result.stderr
    result = call("data", "check", own / "card.md")
    assert result.exit_code == 0, result.stdout
    assert result.stdout.endswith("all as its card says\n")
    assert "3 objects" in result.stdout
    (own / "images" / "x1.png").write_bytes(b"no")
    result = call("data", "check", own / "card.md", "--json")
    assert result.exit_code == 1
    assert any(line.startswith("x1 cannot be read") for line in json.loads(result.stdout)["faults"])
    result = call("data", "check", own / "card.md", "--no-hashes")
    assert "FAULT: x1 cannot be read" in result.stdout
    assert "faults" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["show", "imagenet"], 1, "no card for the data set 'imagenet'; there are ade20k"),
        (["check", "nowhere/card.md"], 1, "there is no card nowhere/card.md; check the name"),
        (["check", "ade20k", "--root", "nowhere"], 1, "the data folder nowhere does not exist"),
        (["check", "ade20k"], 2, "say where: --root, or set PANO_MED_DATA"),
        (["new", "nowhere"], 1, "there is no folder nowhere; make it and put your images into its folder `images`"),
        (["new", "nowhere", "--rename", "a"], 2, "--rename needs OLD=NEW, got 'a'"),
        (["new", "nowhere", "--mpp", "0"], 2, "0.0 is not a positive number"),
        (["fetch", "cityscapes", "--root", "x"], 1, "cityscapes asks for a registration, so nothing was fetched"),
        (["fetch", "ade20k", "--root", "x"], 1, "nobody is here to accept the terms of ade20k; read them above"),
    ],
)
def test_mistakes(
    words: list[str], code: int, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("data", *words)
    assert result.exit_code == code
    assert sentence in " ".join(result.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_training_needs_stuff_and_things(own: Path) -> None:
    call("data", "new", own, "--stuff", "object")
    result = call("train", "--data-set", own / "card.md", "--steps", 1, "--out", own / "run")
    assert result.exit_code == 1
    assert "a panoptic network learns stuff and things, the card" in result.stderr
    assert "card.md has no things; label some too" in result.stderr


def test_training_refuses_what_does_not_fit(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("data", "new", own)
    words = ["train", "--data-set", own / "card.md", "--steps", 1, "--device", "cpu", "--out", own / "run"]
    result = call(*words, "--weights", "he-nano")
    assert result.exit_code == 1
    assert "the weights he-nano speak the classes of 'he-core', the data those of 'own'; leave" in result.stderr
    forbidden = card("csmp_cervix_panoptic").path
    result = call("train", "--data-set", forbidden, "--steps", 1, "--out", own / "run")
    assert "says that csmp_cervix_panoptic is not for training; choose another set" in result.stderr


def test_a_broken_image_is_named_and_left_out(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("data", "new", own)
    whole = own_set(own, None)  # the folder will do for the card in it
    assert own_set(own / "card.md", None).weights == whole.weights == {"own": 1.0}
    capsys.readouterr()
    victim = whole.train[0].name
    (own / "images" / f"{victim}.png").write_bytes((own / "images" / f"{victim}.png").read_bytes()[:200])
    found = own_set(own, None)
    assert [s.name for s in found.train] == [s.name for s in whole.train[1:]]
    assert f"{victim} cannot be read and is left out: " in capsys.readouterr().err
    for path in (own / "images").iterdir():
        path.write_bytes(b"no")
    with pytest.raises(ValueError, match="deals no image that can be read into the part train"):
        own_set(own, None)


def test_a_large_set_is_not_held_in_memory(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call("data", "new", own, "--mpp", 2)
    held = own_set(own, None)
    monkeypatch.setitem(own_set.__globals__, "HELD", 2)
    lazy = own_set(own, None)
    assert all(isinstance(s, LazySample) for s in (*lazy.train, *lazy.validation))
    assert [s.name for s in lazy.train] == [s.name for s in held.train]
    assert _model_mpp(lazy) == _model_mpp(held) == 2


def test_a_second_run_in_the_folder_leaves_the_recipe_of_the_first(own: Path) -> None:
    call("data", "new", own)
    out = own / "run"
    with locked(out):
        (out / RECIPE).write_text("theirs")
        result = call("train", "--data-set", own, "--steps", 1, "--device", "cpu", "--out", out)
    assert result.exit_code == 1
    assert "another process is training in" in result.stderr
    assert (out / RECIPE).read_text() == "theirs"
