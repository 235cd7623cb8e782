"""`pano-med slide` with a perfect network: what it writes, what it prints, what it warns of, and its exit codes."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slide_cases import PaintedSlide, PerfectPredictor, write_pyramid
from slide_files import damage
from typer.testing import CliRunner, Result

from pano_med.cli import app
from pano_med.slides import need_mpp, open_slide
from pano_med.slides.plausible import Guess
from pano_med.slides.run import segment_slide

SIDE = 300


class Command:
    """The command on a slide in a folder."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch, self.env = folder, patch, {"COLUMNS": "400"}
        patch.setattr("pano_med.cli.slide.segment_slide", partial(segment_slide, tile=160, overlap=64))
        patch.setattr("pano_med.cli.slide.guess_mpp", lambda *_: None)

    def paint(self, mpp: float | None = 0.25, model_mpp: float = 0.25, **options: Any) -> Path:
        """A slide file, and a network that knows it."""
        painted = PaintedSlide((SIDE, SIDE), **{"tissue": 1, **options})
        self.perfect = PerfectPredictor(painted, model_mpp)
        self.patch.setattr("pano_med.cli.slide.load_segmenter", lambda *_, **__: self.perfect)
        return write_pyramid(self.folder / "a.tif", painted.region(0, 0, SIDE, SIDE), mpp, 1)

    def run(self, path: Path, *options: str) -> Result:
        """What it says and how it ends."""
        words = ["slide", str(path), "--out", str(self.folder / "out"), *options]
        return CliRunner(env=self.env).invoke(app, words)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(tmp_path, monkeypatch)


def test_it_says_what_it_found_and_does_not_write_over_it(command: Command) -> None:
    path = command.paint()
    done = command.run(path)
    manifest = json.loads((command.folder / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert done.exit_code == 0, done.output
    assert f"a.tif: {sum(manifest['counts'].values())} nuclei (" in done.output
    assert "warning" not in done.output
    again = command.run(path)
    assert again.exit_code == 1
    assert "holds a result of this slide already, it is finished: choose another folder" in again.output
    same = command.run(path, "--resume", "--json")
    assert same.exit_code == 0
    assert json.loads(same.stdout)["counts"] == manifest["counts"]


def test_a_slide_without_a_pixel_size_is_asked_for_before_anything_is_written(command: Command) -> None:
    path = command.paint(None)
    done = command.run(path)
    assert done.exit_code == 1
    assert "does not say how large its pixels are: give the micrometres per pixel with --mpp" in done.output
    assert not (command.folder / "out").exists()
    assert command.run(path, "--mpp", "0.25").exit_code == 0


def test_damage_is_named_and_makes_the_exit_code_1(command: Command) -> None:
    path = command.paint()
    damage(path, 0)
    done = command.run(path)
    assert done.exit_code == 1
    assert "tile 0 was skipped: " in done.output
    assert "is damaged at rows 0-" in done.output


@pytest.mark.parametrize(("options", "warning"), [
    ({"tissue": 0}, "no tissue was found on this slide, so nothing was looked at"),
    ({"giants": [(150, 150, 100)]}, "1 object of 16 um or more was left out"),
])  # fmt: skip
def test_nothing_to_see_and_too_much_of_it_are_warned_of(command: Command, options: Any, warning: str) -> None:
    path = command.paint(**options)
    if not options.get("tissue", 1):
        write_pyramid(path, np.full((600, 600, 3), 243, np.uint8), 0.25, 1)
    done = command.run(path)
    assert done.exit_code == 0
    assert f"warning: {warning}" in done.output


def test_doubts_about_the_pixel_size_are_told_before_the_work(command: Command) -> None:
    path = command.paint()
    command.patch.setattr("pano_med.cli.slide.guess_mpp", lambda *_: Guess(0.51, 88))

    def begins(*_: Any, **__: Any) -> None:
        raise ValueError("the work begins")

    command.patch.setattr("pano_med.cli.slide.segment_slide", begins)
    said = command.run(path).output
    warning = said.index("warning: a.tif looks like 20x (about 0.51 um per pixel, guessed from 88 nuclei)")
    assert warning < said.index("the work begins")


def test_pixels_too_coarse_to_show_nuclei_are_warned_of(command: Command) -> None:
    path = command.paint(1.0)
    done = command.run(path)
    assert "warning: a pixel of a.tif is 1 um wide, 4 times what these weights are made for (0.25)" in done.output
    command.folder = command.folder / "fine"
    command.folder.mkdir()
    assert "warning" not in command.run(command.paint(0.5)).output


def test_quiet_says_nothing_and_a_terminal_sees_a_bar(command: Command) -> None:
    path = command.paint()
    command.env["FORCE_COLOR"] = "1"  # as in a terminal
    quiet = command.run(path, "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    command.folder = command.folder / "loud"
    command.folder.mkdir()
    loud = command.run(command.paint())
    assert "9/9" in loud.stderr
    assert "left" in loud.stderr
    assert "nuclei" in loud.stdout
    assert "9/9" not in loud.stdout


def test_the_folder_of_another_slide_is_not_touched(command: Command) -> None:
    assert command.run(command.paint()).exit_code == 0
    before = (command.folder / "out" / "manifest.json").read_bytes()
    for options in ((), ("--resume",)):
        other = command.run(command.paint(seed=1), *options)
        assert other.exit_code == 1
        assert "out holds the result of another slide, a.tif: choose another folder for a.tif" in other.output
    assert (command.folder / "out" / "manifest.json").read_bytes() == before


def test_files_that_are_no_slides_are_one_sentence(command: Command) -> None:
    text = command.folder / "notes.svs"
    text.write_text("a letter " * 500)
    cut = command.paint()
    cut.write_bytes(cut.read_bytes()[:2000])
    for path, sentence in (
        (text, "notes.svs has the name of a slide, but its content is not that of one"),
        (cut, "a.tif looks like a slide but can't be opened: "),
        (command.folder / "none.svs", "none.svs; check the name and the folder"),
    ):
        done = command.run(path)
        assert (done.exit_code, done.stdout, done.output.count("\n")) == (1, "", 1)
        assert sentence in done.stderr
    assert not (command.folder / "out").exists()


def test_ctrl_c_keeps_what_was_done_and_resume_goes_on(command: Command) -> None:
    path = command.paint()
    real, calls = command.perfect.predict, [0]

    def predict(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    command.patch.setattr(command.perfect, "predict", predict)
    stopped = command.run(path)
    assert stopped.exit_code == 130
    assert "pano-med: stopped; what was done is kept in " in stopped.stderr
    assert "the same command with --resume goes on from there" in stopped.stderr
    again = command.run(path)
    assert again.exit_code == 1
    assert " of 9 tiles: go on with --resume, choose another folder or remove this one" in again.stderr
    assert command.run(path, "--resume").exit_code == 0
    assert calls[0] == 1 + 9  # the tile in work was lost, no other


@pytest.mark.slow
def test_the_real_network_on_a_piece_of_the_real_slide(tmp_path: Path, data_root: Path) -> None:
    with open_slide(data_root / "wsi_cmu1_small_region" / "CMU-1-Small-Region.svs") as slide:
        mpp = need_mpp(slide)
        path = write_pyramid(tmp_path / "piece.tif", slide.region(1500, 1000, 500, 500), mpp, 1)
    words = ["slide", str(path), "--out", str(tmp_path / "out"), "--device", "cpu", "--json"]
    done = CliRunner(env={"COLUMNS": "400"}).invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "warning" not in done.stderr
    facts = json.loads(done.stdout)
    nuclei, mm2 = sum(facts["counts"].values()), (500 * mpp / 1000) ** 2
    assert 1000 < nuclei / mm2 < 10_000
    assert sum(facts["areas_um2"].values()) <= mm2 * 1e6
    assert facts["tiles"] == {"all": 1, "tissue": 1, "done": 1, "failed": []}
