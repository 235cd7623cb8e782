"""How a run ends, and how it tells when: early stop, a stop button, time left, rows for whoever watches."""

import json
from pathlib import Path

import pytest
from test_training import rows, run, same_end

from pano_med.training import TrainConfig
from pano_med.training.judge import Judge
from pano_med.training.progress import Clock, duration
from pano_med.training.validate import fused
from pano_med.types import HE_CORE

pytestmark = pytest.mark.filterwarnings("ignore:no training sample shows")


def judge(patience: int) -> Judge:
    return Judge([], TrainConfig(steps=9, val_every=1, patience=patience), HE_CORE, fused)


def history(*values: float | None) -> list[dict]:
    return [{"step": i + 1, "objects_pq": v} for i, v in enumerate(values)]


def test_patience_counts_validations_that_bring_nothing() -> None:
    assert not judge(2).tired([])
    assert not judge(2).tired(history(0.5, 0.4))
    assert judge(2).tired(history(0.5, 0.4, 0.5))  # as good is not better
    assert not judge(2).tired(history(0.1, 0.5, 0.4))
    assert judge(1).tired(history(None, None))
    assert not judge(0).tired(history(0.5, 0.1, 0.1, 0.1))


def test_a_run_ends_early_and_stays_ended(tmp_path: Path) -> None:
    flat = {"steps": 30, "val": 1, "val_every": 2, "patience": 2, "lr": 1e-9, "ema": 0.0}
    _, result = run(tmp_path, **flat)
    assert (result.ended, result.steps) == ("no improvement", 6)  # 2 is the best, 4 and 6 bring nothing
    assert json.loads((tmp_path / "last.json").read_text())["total"] == 6
    assert run(tmp_path, resume=True, **flat)[1].steps == 6


def test_a_stop_ends_with_a_checkpoint_and_resume_ends_the_same(tmp_path: Path) -> None:
    seen: list[int] = []
    run(tmp_path / "whole", steps=8, val=1, val_every=3)
    net, result = run(tmp_path / "cut", steps=8, val=1, val_every=3, on_step=lambda row: seen.append(row["step"]),
                      stop=lambda: len(seen) == 4)
    assert (result.ended, result.steps, seen) == ("stopped", 4, [1, 2, 3, 4])
    assert not net.training
    _, result = run(tmp_path / "cut", steps=8, val=1, val_every=3, resume=True)
    assert (result.ended, result.steps) == ("finished", 8)
    same_end(tmp_path / "whole", tmp_path / "cut")


def test_a_stop_in_the_middle_of_a_validation_leaves_it_to_the_resumed_run(tmp_path: Path) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 4  # after steps 0, 1, 2 and the first validation sample

    run(tmp_path / "whole", steps=4, val=3, val_every=2)
    _, result = run(tmp_path / "cut", steps=4, val=3, val_every=2, stop=stop)
    assert (result.ended, result.steps, result.history) == ("stopped", 2, ())
    run(tmp_path / "cut", steps=4, val=3, val_every=2, resume=True)
    same_end(tmp_path / "whole", tmp_path / "cut")


def test_whoever_watches_gets_rows_with_the_time_left(tmp_path: Path) -> None:
    steps, validations = [], []
    run(tmp_path, steps=6, val=1, val_every=3, on_step=steps.append, on_validation=validations.append)
    assert [row["total"] for row in steps] == [6] * 6
    assert steps[-1]["left"] == 0
    assert all(row["left"] > 0 for row in steps[:-1])
    assert [row["step"] for row in validations] == [3, 6]
    assert "left" in rows(tmp_path / "log.csv")[0]


def test_the_clock_counts_steps_and_validations() -> None:
    clock = Clock()
    assert clock.left(0, None, 0, 90.0) == 90  # only the budget is known
    clock.steps.extend([9.0, 9.0, 2.0, 2.0, 2.0])  # the first two warm up
    clock.validation = 10.0
    assert clock.left(5, 20, 0, 0) == 15 * 2 + 10  # one validation at the end
    assert clock.left(5, 20, 6, 0) == 15 * 2 + 4 * 10  # after 6, 12, 18 and 20
    assert clock.left(20, 20, 6, 0) == 0
    assert [duration(s) for s in (0.4, 89, 91, 3540, 11100)] == ["0 s", "89 s", "2 min", "59 min", "3 h 05 min"]
