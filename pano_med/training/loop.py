"""fit: the training loop on Lightning Fabric. One process, one device, exact resume after a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pano_med.training import checkpoint
from pano_med.training.batches import Batch, Batches, Pipeline, fingerprint, network_seed
from pano_med.training.config import TrainConfig
from pano_med.training.log import StepLog, table
from pano_med.training.optim import Ema, adamw, lr_at
from pano_med.training.progress import Interrupted, Stop, listen, progress_bar
from pano_med.training.validate import Fuse, Scores, at_mpp, fused, predict_sample
from pano_med.transforms import train_pipeline
from pano_med.types import Sample

#: Called after each step with the row of the log.
OnStep = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class FitResult:
    """What a finished run leaves.

    Attributes:
        folder: holds log.csv, validation.csv, last.* (to resume) and best.* (averaged weights).
        steps: optimiser steps done.
        seconds: time spent, resumed parts included.
        history: one row per validation: step and the columns of `Scores.row`.
        best: the row of the best validation, or None without validation samples.
    """

    folder: Path
    steps: int
    seconds: float
    history: tuple[Mapping[str, float], ...]
    best: Mapping[str, float] | None


def fit(
    model: nn.Module,
    train_samples: Sequence[Sample],
    val_samples: Sequence[Sample],
    config: TrainConfig,
    out_dir: str | Path,
    resume: bool = False,
    on_step: OnStep | None = None,
    *,
    pipeline: Pipeline | None = None,
    to_map: Fuse = fused,
) -> FitResult:
    """Train a model; afterwards it holds the best averaged weights (the last ones without validation samples).

    All randomness comes from (seed, step, place in the batch), never from what happened before. So a run that was
    killed at any moment and resumed ends with the same weights, bit for bit, on the same CPU with the same versions
    and thread count. On other accelerators additions in changing order leave differences in the last bits.

    Args:
        model: `model(images, targets) -> dict of scalar losses` in train mode, `model(images) -> list[Prediction]`
            in eval mode, with `taxonomy` and `config` (see `pano_med.models.EfficientPS`).
        train_samples: each with a truth.
        val_samples: may be empty.
        config: the run.
        out_dir: folder of the run, made if needed.
        resume: go on from `out_dir`'s last checkpoint.
        on_step: called after each step.
        pipeline: from a sample to (image, target); default `train_pipeline` at the config's crop size and mpp.
        to_map: fusion used in validation.

    Raises:
        ValueError: samples, config or checkpoint that do not fit.
        FileExistsError: the folder holds a run and `resume` is False.
        FloatingPointError: a loss or gradient is not finite; the last checkpoint is kept.
        OSError: a checkpoint could not be written.
        Interrupted: Ctrl-C; a checkpoint was written, the message says how to go on.
    """
    pipeline = pipeline or train_pipeline(config.crop_size, config.model_mpp)
    run = _Run(model, train_samples, val_samples, config, Path(out_dir), pipeline, to_map)
    run.resume() if resume else run.begin()
    try:
        with listen() as stop, progress_bar() as bar:
            run.go(stop, bar, on_step)
    finally:
        run.close()
    return run.result()


class _Run:
    """State of a run between steps. What a checkpoint holds is all that the next step depends on."""

    def __init__(self, model: nn.Module, train: Sequence[Sample], val: Sequence[Sample], config: TrainConfig,
                 folder: Path, pipeline: Pipeline, to_map: Fuse) -> None:
        self.config, self.folder, self.to_map = config, folder, to_map
        self.fabric = _fabric(config)
        self.net, self.optimizer = model, adamw(model, config)
        self.wrapped, self.wrapped_optimizer = self.fabric.setup(model, self.optimizer)
        self.ema = Ema(model, config.ema)
        self.batches = Batches(train, pipeline, config)
        self.val = [at_mpp(s, config.model_mpp) for s in val]
        self.fingerprint = fingerprint(train)
        self.step, self.total, self.seconds = 0, config.steps, 0.0
        self.times: list[float] = []
        self.history: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None
        self.log: StepLog | None = None

    def begin(self) -> None:
        """A fresh run: an empty folder and, in it, a checkpoint of step 0."""
        if (self.folder / "last.json").exists():
            raise FileExistsError(f"{self.folder} already holds a run; resume it or choose another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = StepLog(self.folder / "log.csv", self.config.log_every)
        self.save()

    def resume(self) -> None:
        """Take everything from the last checkpoint; a run that was killed before its first one begins again."""
        if self.folder.is_dir() and not (self.folder / "last.json").exists():
            return self.begin()
        flat, facts = checkpoint.read(self.folder, "last")
        changed = self.config.differences(TrainConfig.from_dict(facts["config"]))
        if changed:
            raise ValueError(f"a run resumes with the config it began with, {', '.join(changed)} changed; "
                             "use the values in last.json or start in another folder")
        if facts["samples"] != self.fingerprint:
            raise ValueError("a run resumes on the samples it began with, these are others; start in another folder")
        checkpoint.unpack(flat, self.net, self.ema.model, self.optimizer)
        for name in ("step", "total", "seconds", "history", "best"):
            setattr(self, name, facts[name])
        self.log = StepLog(self.folder / "log.csv", self.config.log_every, keep=self.step)

    def go(self, stop: Stop, bar: Callable[[int, int | None, float], None], on_step: OnStep | None) -> None:
        """Steps, validations and checkpoints until the end or Ctrl-C."""
        began, saved, base = time.monotonic(), time.monotonic(), self.seconds
        while True:
            self.seconds = base + time.monotonic() - began
            if stop.asked:
                self.save()
                raise Interrupted(f"stopped after step {self.step} of {self.total or '?'}; run the same command with "
                                  f"--resume to go on from {self.folder}")
            if self._validation_due():
                self._validate(stop)
                continue
            if self.total is None and self.step >= self.config.MEASURE:
                self._plan()
                continue
            if self.step == self.total:
                self.save()
                return
            if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
            row = self._step()
            self.log.add(row)
            bar(self.step, self.total, row["loss"])
            if on_step is not None:
                on_step(row)

    def save(self) -> None:
        """Write the last checkpoint."""
        self.log.flush()
        checkpoint.write(
            self.folder, "last", checkpoint.pack(self.net, self.ema.model, self.optimizer), self._facts()
        )

    def close(self) -> None:
        """Stop the background thread and close the log."""
        self.batches.close()
        if self.log is not None:
            self.log.close()

    def result(self) -> FitResult:
        """The finished run; the caller's model now holds the averaged weights."""
        if self.best is not None:
            checkpoint.load_weights(self.net, self.folder, "best")
        else:
            self.net.load_state_dict(self.ema.model.state_dict())
        self.net.eval()
        return FitResult(self.folder, self.step, self.seconds, tuple(self.history), self.best)

    def _facts(self) -> dict[str, Any]:
        return {
            "step": self.step, "total": self.total, "seconds": self.seconds, "history": self.history,
            "best": self.best, "samples": self.fingerprint, "config": self.config.to_dict(),
            "model": getattr(self.net, "config", None), "taxonomy": self.net.taxonomy.to_dict(),
            "torch": torch.__version__,
        }

    def _step(self) -> dict[str, Any]:
        """One optimiser step; its row of the log."""
        began, lr = time.monotonic(), lr_at(self.step, self.total, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        batches = self.batches.get(self.step)
        self.wrapped.train()
        with _own_randomness(network_seed(self.config.seed, self.step), self.fabric.device):
            losses = [self._backward(batch) for batch in batches]
        names = tuple(n for batch in batches for n in batch.names)
        norm = float(self.fabric.clip_gradients(
            self.wrapped, self.wrapped_optimizer, max_norm=self.config.clip, error_if_nonfinite=False
        ))
        if not math.isfinite(norm):
            raise self._broken("a gradient", "nan or inf", names)
        self.wrapped_optimizer.step()
        self.wrapped_optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.step)
        self.step += 1
        self.times.append(time.monotonic() - began)
        means = {k: sum(part[k] for part in losses) / len(losses) for k in losses[0]}
        return {"step": self.step, "lr": lr, "loss": sum(means.values()), **means, "grad_norm": norm,
                "seconds": self.times[-1]}

    def _backward(self, batch: Batch) -> dict[str, float]:
        """Forward and backward of one batch; its losses as numbers."""
        images, targets = self.fabric.to_device((batch.images, batch.targets))
        losses: dict[str, Tensor] = self.wrapped(images, targets)
        numbers = {k: float(v.detach()) for k, v in losses.items()}
        bad = [k for k, v in numbers.items() if not math.isfinite(v)]
        if bad:
            raise self._broken(f"the loss {', '.join(bad)}", str(numbers[bad[0]]), batch.names)
        self.fabric.backward(torch.stack([v.float() for v in losses.values()]).sum() / self.config.accumulate)
        return numbers

    def _broken(self, what: str, value: str, names: tuple[str, ...]) -> FloatingPointError:
        return FloatingPointError(
            f"{what} became {value} in step {self.step + 1} on {', '.join(names)}; the last checkpoint is kept in "
            f"{self.folder}: look at these samples, or start again with a lower lr than {self.config.lr:g}"
        )

    def _validation_due(self) -> bool:
        done = self.history[-1]["step"] if self.history else 0
        every = self.config.val_every
        on_time = self.step == self.total or (every and self.step % every == 0)
        return bool(self.val and on_time and self.step > done)

    def _validate(self, stop: Stop) -> None:
        """Judge the averaged weights; Ctrl-C leaves it undone, and the resumed run does it first."""
        scores = Scores(self.net.taxonomy, self.to_map)
        for sample in self.val:
            if stop.asked:
                return
            scores.add(sample, predict_sample(self.ema.model, sample, self.config.model_mpp))
        row = {k: None if math.isnan(v) else v for k, v in scores.row().items()}
        self.history.append({"step": self.step, **row})
        now, best = (r and r[self.config.best_by] for r in (self.history[-1], self.best))
        if best is None or (now is not None and now >= best):
            self.best = self.history[-1]
            averaged = {f"ema.{k}": v for k, v in self.ema.model.state_dict().items()}
            checkpoint.write(self.folder, "best", averaged, self._facts())
        checkpoint.write_text(self.folder / "validation.csv", table(self.history))
        self.save()

    def _plan(self) -> None:
        """Fix the number of steps from the time of the first ones and of one sample's validation."""
        left = 60 * self.config.minutes - self.seconds
        pace = median(self.times[2:] or self.times or [1.0])  # the first steps also warm up caches
        if self.val:
            began = time.monotonic()
            predict_sample(self.ema.model, self.val[0], self.config.model_mpp)
            once = (time.monotonic() - began) * sum(_area(s) for s in self.val) / _area(self.val[0])
            left -= once  # at the end
            pace += once / self.config.val_every if self.config.val_every else 0
        self.total = self.step + max(1, int(left / pace))
        self.save()


def _fabric(config: TrainConfig) -> Fabric:
    probe = Fabric(accelerator=config.accelerator, devices=1)
    if config.precision != "auto":
        return Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)
    return probe if probe.device.type == "cpu" else Fabric(config.accelerator, devices=1, precision="bf16-mixed")


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """torchvision's samplers know the global generator only: seed it inside, give it back as it was."""
    others = [] if device.type in ("cpu", "mps") else [device.index or 0]
    with torch.random.fork_rng(devices=others, device_type=device.type):
        torch.manual_seed(seed)
        yield


def _area(sample: Sample) -> int:
    return math.prod(sample.size)
