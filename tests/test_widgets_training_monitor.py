"""TrainingMonitor without a browser: rows in, curves out; runs in the cell and in the background; the picture kept."""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from widget_cases import from_page

from pano_med.widgets import TrainingMonitor
from pano_med.widgets.training_curves import POINTS, thinned, told


def row(step: int, loss: float = 1.0, **more: float | None) -> dict:
    return {"step": step, "lr": 1e-3, "loss": loss, "semantic": loss / 2, "mask": loss / 2, "grad_norm": 1.0,
            "skipped": 0, "seconds": 0.1, "left": 90.0 - step, **more}  # fmt: skip


def fake_fit(
    steps: int, *, on_step: Callable, on_validation: Callable, stop: Callable, progress: bool, wait: Callable = list
) -> SimpleNamespace:
    """What `fit` does, as far as a monitor sees it."""
    assert progress is False
    for step in range(1, steps + 1):
        if stop():
            return SimpleNamespace(ended="stopped", steps=step - 1)
        on_step(row(step, 2 / step) | {"total": steps})
        wait()
    on_validation({"step": steps, "objects_pq": 0.5, "things_pq": None, "stuff_pq": 0.25})
    return SimpleNamespace(ended="finished", steps=steps)


# --- curves


def test_a_long_log_becomes_few_points_that_tell_the_same() -> None:
    rng = np.random.default_rng(0)
    long = [row(i + 1, 3.0 + rng.normal(0, 0.1)) for i in range(20_000)]
    curve = thinned(long)
    assert len(curve["step"]) == POINTS
    assert curve["step"][-1] == 20_000
    assert curve["lines"].keys() == {"loss", "semantic", "mask"}
    assert max(abs(v - 3) for v in curve["lines"]["loss"]) < 0.05
    assert min(curve["high"]) > 3.1  # the spread inside of a bin is kept
    assert max(curve["low"]) < 2.9


def test_short_logs_losses_of_zero_and_columns_without_a_value() -> None:
    assert thinned([])["step"] == []
    curve = thinned([row(1, 4.0), row(2, 2.0, mask=0.0), row(3, 1.0, semantic=None)])
    assert curve["step"] == [1, 2, 3]
    assert curve["lines"]["mask"][1] is None  # a log axis has no 0
    assert curve["lines"]["semantic"][2] is None
    assert curve["lines"]["loss"][0] == 4.0  # no pull towards 0 at the start
    assert 2.0 < curve["lines"]["loss"][1] < 4.0
    assert curve["first"]["loss"] == 4.0
    assert curve["last"]["loss"] == 1.0


# --- a run


def test_a_run_in_its_cell() -> None:
    monitor = TrainingMonitor()
    assert monitor.state["phase"] == "waiting"
    result = monitor.run(fake_fit, 5)
    assert result.steps == 5
    assert monitor.curve["step"] == [1, 2, 3, 4, 5]
    assert monitor.scores == [{"step": 5.0, "objects_pq": 0.5, "things_pq": None, "stuff_pq": 0.25}]
    assert monitor.state == {"step": 5, "total": 5, "left": "", "phase": "ended", "words": "Finished."}


def test_the_time_left_in_words() -> None:
    monitor = TrainingMonitor()
    monitor.on_step(row(1, left=600.0) | {"total": None})
    assert (monitor.state["left"], monitor.state["total"]) == ("10 min left", None)
    assert [told(s) for s in (5, 600, 7500)] == ["5 s", "10 min", "2 h 05 min"]


def test_the_page_stops_a_run_in_the_background() -> None:
    monitor, going, seen = TrainingMonitor(), threading.Event(), threading.Event()

    def wait() -> None:
        seen.set()
        going.wait(10)

    monitor.start(fake_fit, 1000, wait=wait)
    assert seen.wait(10)
    with pytest.raises(RuntimeError, match="this monitor's run has not ended yet; stop it first, or make another"):
        monitor.start(fake_fit, 1)
    from_page(monitor, stop=True)
    assert monitor.state["phase"] == "stopping"
    going.set()
    assert monitor.wait().steps == 1
    assert monitor.state["words"].startswith("Stopped by you; the checkpoint is kept")
    monitor.start(fake_fit, 2)  # a second run begins with the button up
    assert monitor.wait().steps == 2


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system sends no signals to threads")
def test_ctrl_c_while_waiting_ends_the_run_and_then_the_wait() -> None:
    def press() -> None:
        if waiting.is_set():
            waiting.clear()
            time.sleep(0.3)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.02)

    monitor, waiting = TrainingMonitor(), threading.Event()
    monitor.start(fake_fit, 5000, wait=press)
    waiting.set()
    assert monitor.wait().ended == "stopped"


def test_an_error_in_the_background_is_shown_and_raised_where_somebody_waits() -> None:
    def broken(**_: object) -> None:
        raise FloatingPointError("the loss became nan in step 7 on tile3")

    monitor = TrainingMonitor()
    monitor.start(broken)
    with pytest.raises(FloatingPointError, match="step 7 on tile3"):
        monitor.wait()
    assert monitor.fault == "FloatingPointError: the loss became nan in step 7 on tile3"
    assert "ended early" in monitor.state["words"]
    with pytest.raises(RuntimeError, match=r"nothing was started; call start\(fit, ...\) first"):
        TrainingMonitor().wait()


def test_a_resumed_run_goes_on_from_its_checkpoint() -> None:
    monitor = TrainingMonitor([row(i, 9.0) for i in range(1, 8)], [{"step": 4, "objects_pq": 0.1}, {"step": 6}])
    monitor.on_step(row(5, 1.0))  # killed after 7, the checkpoint was of 4
    monitor.on_validation({"step": 6, "objects_pq": 0.2})
    assert monitor.curve["step"] == [1, 2, 3, 4, 5]
    assert [s["step"] for s in monitor.scores] == [4, 6]


def test_a_run_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no training run: log.csv is missing"):
        TrainingMonitor.read(tmp_path)
    (tmp_path / "log.csv").write_text("step,lr,loss,mask\n1,0.1,2,1.5\n2,0.1,1,0.5\n3,0.")  # cut by a kill
    assert TrainingMonitor.read(tmp_path).curve["step"] == [1, 2]
    (tmp_path / "validation.csv").write_text("step,objects_pq,things_pq\n2,0.4,\n")
    monitor = TrainingMonitor.read(tmp_path)
    assert monitor.scores == [{"step": 2.0, "objects_pq": 0.4, "things_pq": None}]
    assert "the loss went from 2 to" in monitor.alt()


# --- without a kernel


def test_the_picture_and_its_words() -> None:
    empty = TrainingMonitor()
    assert empty.alt() == "A training that has not begun."
    white = (empty.still() == 255).all(-1).mean()
    monitor = TrainingMonitor([row(i, 5 / i) for i in range(1, 50)], [{"step": 20, "objects_pq": 0.6},
                                                                      {"step": 40, "objects_pq": 0.5}])  # fmt: skip
    picture = monitor.still()
    assert picture.dtype == np.uint8
    assert (picture == 255).all(-1).mean() < white - 0.01  # curves
    assert monitor.alt() == ("A training after 49 steps: the loss went from 5 to 0.102; validation PQ of objects 0.50, "
                             "the best 0.60 in step 20.")  # fmt: skip
    assert monitor.alt() in monitor.page()


def test_the_saved_notebook_keeps_the_last_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The static picture is drawn anew when the run ends: a notebook on GitHub shows the curves, not an empty frame."""
    kept: list[str] = []
    handle = SimpleNamespace(update=lambda data, raw: kept.append(data["text/plain"]))
    shown: list[dict] = []

    def show(data: dict, **options: object) -> object:
        shown.append(data)
        return handle if options.get("display_id") else None

    monkeypatch.setattr("pano_med.widgets.training_monitor.display", show)
    monitor = TrainingMonitor()
    monitor._ipython_display_()
    assert shown[-1]["text/plain"] == "A training that has not begun."
    monitor.run(fake_fit, 3)
    assert kept[-1].startswith("A training after 3 steps")
