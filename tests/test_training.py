"""The training loop: schedule, sampling, checkpoints, resume, validation, and what it says when things go wrong."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from training_fakes import CPU, FakeNet, FakePipeline, samples

from pano_med.models.sampling import own_randomness
from pano_med.training import Interrupted, TrainConfig, checkpoint, fit, load_weights
from pano_med.training.batches import Batches, fingerprint
from pano_med.training.log import StepLog
from pano_med.training.optim import Ema, adamw, lr_at
from pano_med.training.sampler import Sampler

try:
    import resource
except ImportError:  # Windows
    resource = None

#: Few painted squares do not show every class, and `fit` says so; one test looks at that.
pytestmark = pytest.mark.filterwarnings("ignore:no training sample shows")

HERE = Path(__file__).parent


def run(folder: Path, steps: int = 6, net: nn.Module | None = None, val: int = 0, resume: bool = False, **more):
    """One small run; `more` goes to the config, hooks to fit."""
    torch.manual_seed(0)
    net = net if net is not None else FakeNet()
    hooks = {k: more.pop(k) for k in ("on_step", "on_validation", "stop") if k in more}
    train = more.pop("train", samples(4))
    config = TrainConfig(**({"steps": steps} | CPU | more))
    return net, fit(net, train, samples(val, 50), config, folder, resume, pipeline=FakePipeline(), **hooks)


def weights_of(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(folder / json.loads((folder / f"{name}.json").read_text())["tensors"])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


# --- config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minutes": 3}, "either steps or minutes, got steps=5 and minutes=3"),
        ({"steps": None}, "either steps or minutes, got steps=None"),
        ({"steps": 0}, "steps must lie between 1 and"),
        ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
        ({"seed": True}, "seed must be a whole number, got True"),
        ({"lr": math.nan}, "lr must lie between .* got nan"),
        ({"lr": "fast"}, "lr must be a number, got 'fast'"),
        ({"crop_size": 16}, "crop_size must lie between 32"),
        ({"precision": "16"}, "precision must be one of auto, 32-true, bf16-mixed, 16-mixed, got '16'"),
        ({"best_by": "luck"}, "best_by must be one of .*objects_pq.* got 'luck'"),
        ({"source_weights": {"a": -1.0}}, "source_weights must be at least 0 and not all 0"),
        ({"source_weights": {"a": 0.0}}, "source_weights must be at least 0 and not all 0"),
    ],
)
def test_a_config_checks_itself(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**({"steps": 5} | change))


def test_a_config_survives_json_and_knows_what_matters() -> None:
    config = TrainConfig(steps=5, source_weights={"a": 2.0})
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.differences(TrainConfig(steps=5, source_weights={"a": 2.0}, log_every=1)) == []
    assert config.differences(TrainConfig(steps=5, lr=0.1)) == ["lr", "source_weights"]
    with pytest.raises(ValueError, match="has no field momentum"):
        TrainConfig.from_dict({"steps": 1, "momentum": 0.9})


# --- learning rate, decay, average


@settings(deadline=None, derandomize=True)
@given(total=st.integers(1, 300), warmup=st.integers(0, 400), final=st.floats(0, 1))
def test_the_rate_rises_then_falls_and_never_leaves_its_range(total: int, warmup: int, final: float) -> None:
    config = TrainConfig(steps=total, warmup=warmup, final_lr=final, lr=0.5)
    rates = [lr_at(i, total, config) for i in range(total)]
    peak = rates.index(max(rates))
    assert all(0 <= r <= 0.5 + 1e-12 for r in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_rate_by_head() -> None:
    config = TrainConfig(steps=8, warmup=4, lr=1.0, final_lr=0.0)
    np.testing.assert_allclose(
        [lr_at(i, 8, config) for i in range(8)], [0.25, 0.5, 0.75, 1, 1, 0.75, 0.25, 0], atol=1e-12
    )
    assert [lr_at(i, None, config) for i in (1, 50)] == [0.5, 1.0]  # the total is not known yet


def test_norms_and_biases_do_not_decay() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    groups = adamw(net, TrainConfig(steps=1, weight_decay=0.1)).param_groups
    decays = {len(g["params"]): g["weight_decay"] for g in groups}
    assert decays == {1: 0.1, 3: 0.0}
    with pytest.raises(ValueError, match="no parameter that learns"):
        adamw(net.requires_grad_(False), TrainConfig(steps=1))


def test_the_average_follows_weights_and_buffers() -> None:
    net = nn.BatchNorm1d(1)
    ema = Ema(net, decay=0.9)
    with torch.no_grad():
        net.weight.fill_(11.0)
        net.running_mean.fill_(10.0)
        net.num_batches_tracked.fill_(7)
    ema.update(10_000)
    torch.testing.assert_close(ema.model.weight, torch.tensor([2.0]))  # 0.9 * 1 + 0.1 * 11
    torch.testing.assert_close(ema.model.running_mean, torch.tensor([1.0]))
    assert ema.model.num_batches_tracked == 7
    ema.update(0)  # an early step moves by 1 - 1/10
    torch.testing.assert_close(ema.model.running_mean, torch.tensor([9.1]))
    assert not ema.model.training


# --- which samples


def test_sources_are_drawn_by_their_weight() -> None:
    pool = samples(1, source="rare") + samples(9, source="common") + samples(3, source="never")
    sampler = Sampler(pool, {"rare": 3.0, "common": 1.0})
    drawn = [pool[i].source for step in range(500) for i in sampler.indices(0, step, 4)]
    assert drawn.count("never") == 0
    assert abs(drawn.count("rare") / len(drawn) - 0.75) < 0.03  # three standard deviations of 2,000 draws
    equal = [pool[i].source for step in range(500) for i in Sampler(pool, {}).indices(0, step, 4)]
    assert abs(equal.count("rare") / len(equal) - 1 / 3) < 0.035


def test_a_step_is_a_pure_function_of_seed_and_step() -> None:
    config = TrainConfig(steps=9, accumulate=2, **CPU)
    one, other = (Batches(samples(5), FakePipeline(), config) for _ in range(2))
    in_order = [one.get(i) for i in range(4)]
    late = other.get(3)  # without the steps before
    one.close()
    other.close()
    assert [len(b.images) for b in late] == [2, 2]
    assert late[0].names == in_order[3][0].names
    torch.testing.assert_close(late[1].images, in_order[3][1].images, rtol=0, atol=0)
    assert not torch.equal(in_order[0][0].images[0], in_order[1][0].images[0])


def test_the_sampler_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="no training samples of b; sources present: a"):
        Sampler(samples(1, source="a"), {"b": 1.0})
    with pytest.raises(ValueError, match="no training samples of any source; sources present: none"):
        Sampler([], {})
    with pytest.raises(ValueError, match=r"needs a truth, 1 have none \(first: bare\)"):
        Sampler([*samples(1), samples(1, bare=True)[0]], {})


def test_the_global_generators_stay_as_they_were() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    with own_randomness(1, torch.device("cpu")):
        inside = torch.rand(3)
    torch.testing.assert_close(torch.rand(3), wanted, rtol=0, atol=0)
    assert not torch.equal(inside, wanted)


# --- log and checkpoints


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = StepLog(path, every=2)
    for step in (1, 2, 3):
        log.add({"step": step, "loss": 0.123456789})
    assert [r["step"] for r in rows(path)] == ["1", "2"]  # flushed every two rows
    log.close()
    with path.open("a") as file:
        file.write("4,0.0")  # a kill in the middle of a row
    again = StepLog(path, keep=2)
    again.add({"step": 3, "loss": 1.0, "extra": 5})
    again.close()
    assert [tuple(r.values()) for r in rows(path)] == [("1", "0.123457"), ("2", "0.123457"), ("3", "1")]


def test_a_checkpoint_gives_everything_back(tmp_path: Path) -> None:
    net, _ = run(tmp_path)
    facts = json.loads((tmp_path / "last.json").read_text())
    assert (facts["step"], facts["config"]["batch_size"], facts["model"]) == (6, 2, {"name": "fake"})
    fresh, optimizer = FakeNet(), adamw(FakeNet(), TrainConfig(steps=1))
    optimizer = adamw(fresh, TrainConfig(steps=1))
    average = FakeNet()
    flat = weights_of(tmp_path)
    checkpoint.unpack(flat, fresh, average, optimizer)
    packed = checkpoint.pack(fresh, average, optimizer)
    assert packed.keys() == flat.keys()
    assert any(k.endswith("exp_avg_sq") for k in flat)
    for name, tensor in flat.items():
        torch.testing.assert_close(packed[name], tensor, rtol=0, atol=0)
    assert not net.training


def test_a_broken_checkpoint_says_so(tmp_path: Path) -> None:
    run(tmp_path)
    data = tmp_path / json.loads((tmp_path / "last.json").read_text())["tensors"]
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"last\.json cannot be read"):
        run(tmp_path, resume=True)
    data.unlink()
    with pytest.raises(ValueError, match=r"last\.json cannot be read"):
        run(tmp_path, resume=True)
    (tmp_path / "last.json").write_text("{")
    with pytest.raises(ValueError, match=r"last\.json cannot be read"):
        run(tmp_path, resume=True)
    (tmp_path / "last.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99 where this version reads format 1"):
        run(tmp_path, resume=True)


def test_a_failed_write_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match=r"could not be written to .*No space left on device.*the one before is kept"):
        checkpoint.write(tmp_path, "last", {}, {"step": 9})
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.skipif(resource is None, reason="this system cannot limit the size of files")
def test_a_disk_that_fills_while_writing_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    run(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # a real write that fails half way
    try:
        with pytest.raises(OSError, match=r"could not be written to .*the one before is kept"):
            checkpoint.write(tmp_path, "last", {"a": torch.zeros(9999)}, {"step": 9})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(FileExistsError, match="already holds a run; resume it or choose another folder"):
        run(tmp_path)


def test_resume_needs_the_same_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint to resume in .*last\.json is missing"):
        run(tmp_path / "nowhere", resume=True)
    run(tmp_path, train=samples(4))
    with pytest.raises(ValueError, match="the config it began with, lr, seed changed"):
        run(tmp_path, resume=True, lr=0.5, seed=3)
    with pytest.raises(ValueError, match="on the samples it began with"):
        run(tmp_path, resume=True, train=samples(4, 9))
    with pytest.raises(ValueError, match="belongs to another network"):
        run(tmp_path, resume=True, net=FakeNet(width=5))
    with pytest.raises(ValueError, match="belongs to another network"):
        load_weights(FakeNet(width=5), tmp_path, "last")
    assert fingerprint(samples(2)) != fingerprint(samples(3))


# --- the loop


def test_it_learns_and_reports_each_step(tmp_path: Path) -> None:
    seen = []
    _, result = run(tmp_path, steps=40, lr=0.05, on_step=lambda row: seen.append(dict(row)))
    assert [r["step"] for r in seen] == list(range(1, 41)) == [int(r["step"]) for r in rows(tmp_path / "log.csv")]
    assert np.mean([r["loss"] for r in seen[-5:]]) < 0.6 * np.mean([r["loss"] for r in seen[:5]])
    np.testing.assert_allclose([r["loss"] for r in seen], [r["semantic"] + r["noise"] for r in seen])
    assert (result.steps, result.best, result.history) == (40, None, ())


def test_accumulation_equals_a_larger_batch(tmp_path: Path) -> None:
    for name, batch_size, accumulate in (("one", 4, 1), ("two", 2, 2)):
        torch.manual_seed(0)
        net = FakeNet(noise=0)
        net.norm = nn.Identity()  # a batch norm sees its batch
        run(tmp_path / name, net=net, batch_size=batch_size, accumulate=accumulate, steps=3)
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    for name in (n for n in one if n.startswith("model.conv")):
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    first = run(tmp_path / "a", steps=1, clip=1e-6)[1] and weights_of(tmp_path / "a")
    exp_avg = torch.cat([v.flatten() for k, v in first.items() if k.endswith("exp_avg")])
    torch.testing.assert_close(exp_avg.norm(), torch.tensor(1e-7), rtol=1e-2, atol=0)  # (1 - beta1) * clip


def test_the_best_average_is_kept(tmp_path: Path) -> None:
    net, result = run(tmp_path, steps=6, val=2, val_every=2)
    table = rows(tmp_path / "validation.csv")
    assert [r["step"] for r in result.history] == [2, 4, 6] == [int(r["step"]) for r in table]
    assert result.best is not None
    assert result.best["objects_pq"] == max(r["objects_pq"] for r in result.history)
    best = weights_of(tmp_path, "best")
    assert all(k.startswith("ema.") for k in best)
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(best[f"ema.{name}"], tensor, rtol=0, atol=0)
    other = FakeNet()
    assert load_weights(other, tmp_path)["best"]["step"] == result.best["step"]
    torch.testing.assert_close(other.conv.weight, net.conv.weight, rtol=0, atol=0)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2  # last and best, nothing older


def test_nan_stops_before_it_reaches_the_weights(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"the loss semantic became nan in step 4 on syn\d+, syn\d+; the last"):
        run(tmp_path, net=FakeNet(break_at=4), checkpoint_minutes=0)
    kept = weights_of(tmp_path)
    assert all(v.isfinite().all() for v in kept.values())
    assert json.loads((tmp_path / "last.json").read_text())["step"] == 3
    with pytest.raises(FloatingPointError, match="a gradient became nan or inf in step 2"):
        run(tmp_path / "g", net=FakeNet(break_at=2, kind="gradient"))


def test_a_budget_in_minutes_fixes_the_steps_and_stores_them(tmp_path: Path) -> None:
    began = time.monotonic()
    _, result = run(tmp_path, steps=None, minutes=0.05, val=1, val_every=100)
    took = time.monotonic() - began
    total = json.loads((tmp_path / "last.json").read_text())["total"]
    assert result.steps == total > TrainConfig.MEASURE
    assert 1.0 < took < 15  # 3 s were asked for; the machine may be busy


def test_ctrl_c_keeps_a_checkpoint_and_resume_ends_the_same(tmp_path: Path) -> None:
    run(tmp_path / "whole", steps=8, val=1, val_every=3)

    def press(row: dict) -> None:
        if row["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"stopped after step 3 of 8; run the same command with --resume"):
        run(tmp_path / "cut", steps=8, val=1, val_every=3, on_step=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert json.loads((tmp_path / "cut/last.json").read_text())["step"] == 3
    _, result = run(tmp_path / "cut", steps=8, val=1, val_every=3, resume=True)
    assert [r["step"] for r in result.history] == [3, 6, 8]
    same_end(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
def test_after_kill_9_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    args, env = [sys.executable, str(HERE / "training_fakes.py")], os.environ | {"PYTHONPATH": str(HERE.parent)}
    subprocess.run([*args, str(tmp_path / "whole"), "0"], check=True, env=env)
    for resume, delay in ((False, 0.1), (True, 0.4)):
        cut = tmp_path / "cut"
        was = step_of(cut)
        process = subprocess.Popen([*args, str(cut), "0.05", *(["--resume"] if resume else [])], env=env)
        wait_for(lambda: step_of(cut) > was or process.poll() is not None)  # noqa: B023 (called at once)
        time.sleep(delay)
        process.kill()
        process.wait()
        assert 0 < step_of(cut) < 40, "killed too early or too late to show anything"
    subprocess.run([*args, str(cut), "0", "--resume"], check=True, env=env)
    same_end(tmp_path / "whole", cut)


def same_end(one: Path, other: Path) -> None:
    """Both runs ended with the same bytes and the same rows (times aside)."""
    for name in ("last", "best"):
        a, b = weights_of(one, name), weights_of(other, name)
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=0, atol=0, msg=f"{name}: {key}")
    times = ("seconds", "left")
    for log in ("log.csv", "validation.csv"):
        a, b = ([{k: v for k, v in r.items() if k not in times} for r in rows(f / log)] for f in (one, other))
        assert a == b


def step_of(folder: Path) -> int:
    table = folder / "last.json"
    return json.loads(table.read_text())["step"] if table.exists() else 0


def wait_for(ready, limit: float = 60) -> None:
    end = time.monotonic() + limit
    while not ready():
        assert time.monotonic() < end, "the run did not get going"
        time.sleep(0.01)
