"""Several processes, float16, the lock of a folder, a kill inside of writing, a disk that fills during a run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_training import resource, rows, run, same_end, step_of
from training_fakes import FakeNet

from pano_med import weights
from pano_med.training import TrainConfig
from pano_med.training.devices import make_fabric
from pano_med.training.lock import LOCK

pytestmark = pytest.mark.filterwarnings("ignore:no training sample shows")

TESTS = Path(__file__).parent
HALF = {"precision": "16-mixed"}


def program(*words: object, threads: int = 1) -> subprocess.CompletedProcess[str]:
    """Runs `training_programs.py`."""
    env = os.environ | {"PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(TESTS / "training_programs.py"), *map(str, words)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def last(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / json.loads((folder / "last.json").read_text())["tensors"])


# --- several processes


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Gloo on the CPU, the shipped network: 2 processes x 2 crops, 1 x 4, and 2 passes x 2 crops are one training."""
    said = program("dealt", tmp_path / "two", 2, 2, 1).stdout
    assert "rank 0: 3 steps, validated [2, 3], told of [1, 2, 3]" in said
    assert "rank 1: 3 steps, validated [2, 3], told of []" in said  # the first alone speaks
    program("dealt", tmp_path / "one", 1, 4, 1)
    program("dealt", tmp_path / "passes", 1, 2, 2)
    start = weights.load("he-nano").model.state_dict()
    one = last(tmp_path / "one")
    for other in ("two", "passes"):
        assert json.loads((tmp_path / other / "last.json").read_text())["processes"] == (2 if other == "two" else 1)
        for a, b in zip(rows(tmp_path / "one" / "log.csv"), rows(tmp_path / other / "log.csv"), strict=True):
            for name in a.keys() - {"seconds", "left"}:
                assert float(a[name]) == pytest.approx(float(b[name]), rel=2e-3, abs=1e-5), (other, name, a["step"])
        found = last(tmp_path / other)
        away = moved = 0.0
        for name, value in start.items():
            if value.is_floating_point():
                away += float((found[f"model.{name}"] - one[f"model.{name}"]).square().sum())
                moved += float((one[f"model.{name}"] - value).square().sum())
        assert moved > 0
        assert (away / moved) ** 0.5 < 0.02, other  # of the way that the weights went


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_processes_forked_from_a_notebook(tmp_path: Path) -> None:
    assert "finished 5 3 True" in program("notebook", tmp_path / "run").stdout


def test_a_run_resumes_with_as_many_processes(tmp_path: Path) -> None:
    run(tmp_path)
    table = tmp_path / "last.json"
    table.write_text(json.dumps(json.loads(table.read_text()) | {"processes": 4}))
    with pytest.raises(ValueError, match="as many processes as it began with, 4, these are 1; ask for as many devices"):
        run(tmp_path, resume=True)


@pytest.mark.parametrize(("change", "message"), [
    ({"devices": 0}, "devices must be at least 1, or -1 for all there are, got 0"),
    ({"strategy": "fsdp"}, "strategy must be one of auto, ddp, ddp_notebook, got 'fsdp'"),
    ({"patience": 2}, "patience counts validations, so it needs val_every, got patience=2 alone"),
])  # fmt: skip
def test_the_config_of_devices_checks_itself(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(steps=5, **change)


def test_frozen_norms_do_not_move(tmp_path: Path) -> None:
    before = FakeNet().norm.running_mean.clone()
    assert torch.equal(run(tmp_path / "frozen", freeze_norm=True)[0].norm.running_mean, before)
    assert not torch.equal(run(tmp_path / "free")[0].norm.running_mean, before)


# --- float16


def test_float16_leaves_out_a_step_that_overflows_and_goes_on(tmp_path: Path) -> None:
    net, result = run(tmp_path, net=FakeNet(break_at=3, kind="gradient"), **HALF)
    facts = json.loads((tmp_path / "last.json").read_text())
    assert result.steps == 6
    assert facts["scaler"]["scale"] == 2.0**15  # halved once
    assert [float(r["grad_norm"]) < 1e9 for r in rows(tmp_path / "log.csv")] == [True, True, False, True, True, True]
    assert all(p.isfinite().all() for p in net.parameters())
    steps = {float(v) for k, v in last(tmp_path).items() if k.endswith(".step")}
    assert steps == {5.0}  # one update fewer than steps


def test_float16_stops_where_no_scale_helps(tmp_path: Path) -> None:
    net = FakeNet(break_at=1, kind="gradient", forever=True)
    with pytest.raises(FloatingPointError, match="a gradient became nan or inf in step 17 on syn"):
        run(tmp_path, steps=40, net=net, **HALF)  # 65536 is halved 16 times
    with pytest.raises(FloatingPointError, match=r"the loss semantic became nan in step 2 on syn\d+, syn\d+; the last"):
        run(tmp_path / "loss", net=FakeNet(break_at=2), **HALF)


def test_float16_resumes_with_its_scale(tmp_path: Path) -> None:
    def stop(row: dict) -> None:
        if row["step"] == 4:
            raise RuntimeError("stop")

    run(tmp_path / "whole", steps=8, val=1, net=FakeNet(break_at=2, kind="gradient"), **HALF)
    with pytest.raises(RuntimeError, match="stop"):
        run(tmp_path / "cut", steps=8, val=1, net=FakeNet(break_at=2, kind="gradient"), on_step=stop,
            checkpoint_minutes=0, **HALF)
    run(tmp_path / "cut", steps=8, val=1, resume=True, checkpoint_minutes=0, **HALF)
    same_end(tmp_path / "whole", tmp_path / "cut")
    scales = [json.loads((tmp_path / n / "last.json").read_text())["scaler"] for n in ("whole", "cut")]
    assert scales[0] == scales[1]
    assert scales[0]["scale"] == 2.0**15


def test_a_cpu_computes_in_float32_unless_told() -> None:
    assert make_fabric(TrainConfig(steps=1, accelerator="cpu"))._precision.precision == "32-true"
    assert make_fabric(TrainConfig(steps=1, accelerator="cpu", **HALF))._precision.scaler is not None


# --- one process at a time


HOLDER = """
import sys
from pathlib import Path
from pano_med.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_in_one_folder(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLDER, tmp_path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError, match="another process is training in .*; wait for it, stop"):
            run(tmp_path)
        one.kill()  # what a killed process held is free
    (tmp_path / LOCK).write_text("left by a crash")
    run(tmp_path)  # a file alone blocks nobody
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume"):
        run(tmp_path / "typo", resume=True)
    assert not (tmp_path / "typo").exists()


# --- kill and full disk


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_kill_9_inside_the_writing_of_a_checkpoint(tmp_path: Path) -> None:
    said = program("killed", tmp_path).stdout.splitlines()
    assert len(said) == 8
    assert any(".part" in line for line in said)
    assert {step_of(tmp_path / str(i)) for i in range(8)} == {6}
    for number in range(8):
        same_end(tmp_path / "whole", tmp_path / str(number))
        assert not list((tmp_path / str(number)).glob("*.part"))


@pytest.mark.skipif(resource is None, reason="this system cannot limit the size of files")
def test_a_disk_that_fills_in_the_middle_of_a_run(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(row: dict) -> None:
        if row["step"] == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # every file that grows beyond fails

    run(tmp_path / "whole", steps=6)
    try:
        with pytest.raises(OSError, match=r"could not be written.*the (one before|last checkpoint) is kept"):
            run(tmp_path / "cut", steps=6, on_step=fill, log_every=1, checkpoint_minutes=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert step_of(tmp_path / "cut") in (2, 3)
    run(tmp_path / "cut", steps=6, resume=True, log_every=1, checkpoint_minutes=0)
    whole, cut = last(tmp_path / "whole"), last(tmp_path / "cut")
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=0, atol=0, msg=name)
