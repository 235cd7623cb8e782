"""A run that was killed and gone on with leaves the same bytes as one that was not; Ctrl-C and a full disk keep all."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from slide_cases import PaintedSlide, PerfectPredictor

from pano_med.slides.run import segment_slide
from pano_med.slides.work import Work

TESTS = Path(__file__).parent
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from test_slides_resume import whole
whole(sys.argv[2], resume=sys.argv[3] == "resume", delay=float(sys.argv[4]))
"""


def whole(out: str | Path, resume: bool = False, delay: float = 0.0, on_tile: object = None) -> None:
    """Segment the slide of these tests; one of its places can't be read."""
    slide = PaintedSlide((420, 420), tissue=1, damaged=[(400, 10, 410, 20)])
    segment_slide(slide, PerfectPredictor(slide, delay=delay), out, tile=160, overlap=64, resume=resume,
                  on_tile=on_tile)  # type: ignore[arg-type]  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The result of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("untouched") / "r"
    whole(out)
    return content(out)


@pytest.mark.slow
def test_kill_at_several_moments_leaves_the_same_bytes(tmp_path: Path, untouched: dict[str, bytes]) -> None:
    """Four kills in one run, each a little later; every one costs at most the tile in work."""
    out, kept = tmp_path / "r", 0
    for wanted in (1, 4, 8, 13):
        words = [sys.executable, "-c", PROGRAM, str(TESTS), str(out), "resume", "0.05"]
        running = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while running.poll() is None and _done(out) < wanted and time.monotonic() < deadline:
            time.sleep(0.003)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert _done(out) >= max(kept, wanted)
        kept = _done(out)
    whole(out, resume=True)
    assert content(out) == untouched


def _done(out: Path) -> int:
    return len(list(out.glob("work/pieces/*[!p]"))) + len(list(out.glob("work/cells/*.arrow"))) if out.exists() else 0


@pytest.mark.parametrize("step", ["keep", "finish", "drop", "decide"])
@pytest.mark.parametrize("call", [1, 7])
def test_a_stop_before_any_file_is_written_leaves_the_same_bytes(
    tmp_path: Path, untouched: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    calls, real = [0], getattr(Work, step)

    def stop(*args: object) -> object:
        calls[0] += 1
        if calls[0] == call:
            raise RuntimeError("the lights went out")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Work, step, stop)
        if step == "decide" and call > 1:
            whole(tmp_path)
        else:
            with pytest.raises(RuntimeError, match="the lights went out"):
                whole(tmp_path)
    whole(tmp_path, resume=True)
    assert content(tmp_path) == untouched


@pytest.mark.parametrize(("stop", "place"), [
    (3, (10, 10, 20, 20)), (7, (200, 200, 210, 210)), (15, (10, 10, 20, 20)), (15, (200, 200, 210, 210)),
])  # fmt: skip
def test_a_tile_that_can_be_read_again_is_no_longer_missing(
    tmp_path: Path, stop: int, place: tuple[int, int, int, int]
) -> None:
    """The share came back: the same bytes as of a slide that was never damaged."""

    def press(done: int, *_: object) -> None:
        if done == stop:
            raise KeyboardInterrupt

    slide = PaintedSlide((420, 420), tissue=1)
    options: dict[str, Any] = {"tile": 160, "overlap": 64}
    segment_slide(slide, PerfectPredictor(slide), tmp_path / "whole", **options)
    slide.damaged = (place,)
    with pytest.raises(KeyboardInterrupt):
        segment_slide(slide, PerfectPredictor(slide), tmp_path / "r", on_tile=press, **options)
    failed, joined = Work(tmp_path / "r" / "work").known()[1:]
    assert failed
    assert (stop < 15) == (max(joined, default=0) < 8)  # where it was late, most was joined without them
    slide.damaged = ()
    result = segment_slide(slide, PerfectPredictor(slide), tmp_path / "r", resume=True, **options)
    assert result.manifest["tiles"]["failed"] == []
    found, wanted = content(tmp_path / "r"), content(tmp_path / "whole")
    assert found.pop("thumbnail.png") != wanted.pop("thumbnail.png")  # made once, while the slide was damaged
    assert found == wanted


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, untouched: dict[str, bytes]) -> None:
    def press(done: int, *_: object) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="what was done is kept in .*: the same command with --resume goes on"):
        whole(tmp_path, on_tile=press)
    again: list[int] = []
    whole(tmp_path, resume=True, on_tile=lambda done, *_: again.append(done))
    assert again[0] >= 4
    assert content(tmp_path) == untouched


@pytest.mark.parametrize(("reason", "sentence"), [
    (OSError(errno.ENOSPC, "No space left"), "r: the disk is full; what was done is kept: make room, then go on"),
    (PermissionError(errno.EACCES, "Not allowed"), "Not allowed; what was done is kept: put that right, then go on"),
])  # fmt: skip
def test_a_disk_that_gives_out_keeps_what_was_done(
    tmp_path: Path, untouched: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, reason: OSError, sentence: str
) -> None:
    out = tmp_path / "r"
    calls, real = [0], Work.keep

    def full(*args: object) -> None:
        calls[0] += 1
        if calls[0] == 4:
            raise reason
        real(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Work, "keep", full)
        with pytest.raises(OSError, match=sentence):
            whole(out)
    whole(out, resume=True)
    assert content(out) == untouched
