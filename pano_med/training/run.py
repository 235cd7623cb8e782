"""The state of a run between steps, and the steps themselves."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pano_med.models.sampling import own_randomness
from pano_med.training import checkpoint
from pano_med.training.batches import Batch, Batches, Pipeline, Skip, fingerprint
from pano_med.training.config import TrainConfig
from pano_med.training.devices import Team, freeze_norms
from pano_med.training.judge import Judge
from pano_med.training.log import StepLog, said, table
from pano_med.training.optim import Ema, adamw, lr_at
from pano_med.training.progress import Clock, Interrupted, Stop
from pano_med.training.sampler import unseen
from pano_med.training.validate import Fuse
from pano_med.types import LazySample, Sample

#: Called with a row of the log or of the validation table.
OnRow = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Hooks:
    """What the caller wants to hear and say during a run; see `fit`."""

    on_step: OnRow | None = None
    on_validation: OnRow | None = None
    stop: Callable[[], bool] | None = None
    progress: bool = True


class Run:
    """State of a run between steps. What a checkpoint holds is all that the next step depends on."""

    def __init__(self, fabric: Fabric, model: nn.Module, train: Sequence[Sample | LazySample],
                 val: Sequence[Sample | LazySample], config: TrainConfig, folder: Path, pipeline: Pipeline,
                 to_map: Fuse) -> None:
        self.fabric, self.team = fabric, Team(fabric)
        self.config, self.folder = config, folder
        self.net, self.optimizer = model, adamw(model, config)
        self.batches = Batches(train, pipeline, config, model.taxonomy, fabric.global_rank, fabric.world_size)
        self.judge = Judge(val, config, model.taxonomy, to_map)
        self.wrapped, self.wrapped_optimizer = fabric.setup(model, self.optimizer)
        self.scaler: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
        self.ema = Ema(model, config.ema)
        self.fingerprint, self.unseen = fingerprint(train), unseen(train, model.taxonomy)
        self.step, self.total, self.seconds = 0, config.steps, 0.0
        self.clock = Clock()
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.skipped: dict[str, int] = {}
        self.log: StepLog | None = None

    # -- begin, resume, save, close -----------------------------------------------------------------------------

    def begin(self) -> None:
        """A fresh run: an empty folder and, in it, a checkpoint of step 0."""
        if self.team.first:
            self.log = StepLog(self.folder / "log.csv", self.config.log_every)
            if self.unseen:
                warnings.warn(f"no training sample shows {', '.join(self.unseen)}: the model cannot learn it; add "
                              "samples or train with a taxonomy without it", stacklevel=2)
        self.save()

    def resume(self) -> None:
        """Take everything from the last checkpoint; a run that was killed before its first one begins again."""
        if self.folder.is_dir() and not (self.folder / "last.json").exists():
            self.fabric.barrier()
            return self.begin()
        flat, facts = checkpoint.read(self.folder, "last")
        changed = self.config.differences(TrainConfig.from_dict(facts["config"]))
        if changed:
            raise ValueError(f"a run resumes with the config it began with, {', '.join(changed)} changed; "
                             "use the values in last.json or start in another folder")
        if facts["samples"] != self.fingerprint:
            raise ValueError("a run resumes on the samples it began with, these are others; start in another folder")
        if facts.get("processes", 1) != self.team.size:
            raise ValueError(f"a run resumes with as many processes as it began with, {facts.get('processes', 1)}, "
                             f"these are {self.team.size}; ask for as many devices or start in another folder")
        checkpoint.same_taxonomy(facts, self.net)
        checkpoint.unpack(flat, self.net, self.ema.model, self.optimizer)
        if self.scaler is not None and facts.get("scaler"):
            self.scaler.load_state_dict(facts["scaler"])
        for name in ("step", "total", "seconds", "history", "best"):
            setattr(self, name, facts[name])
        self.skipped = facts.get("skipped", {})
        self.fabric.barrier()  # all have read before the first one writes
        if self.team.first:
            checkpoint.clean(self.folder)
            self.log = StepLog(self.folder / "log.csv", self.config.log_every, keep=self.step)
        return None

    def save(self) -> None:
        """Write the last checkpoint."""
        if self.log is not None:
            self.log.flush()
            tensors = checkpoint.pack(self.net, self.ema.model, self.optimizer)
            checkpoint.write(self.folder, "last", tensors, self._facts())

    def close(self) -> None:
        """Stop the background thread and close the log."""
        self.batches.close()
        if self.log is not None:
            self.log.close()

    def _facts(self) -> dict[str, Any]:
        return {
            "step": self.step, "total": self.total, "seconds": self.seconds, "history": self.history,
            "best": self.best, "skipped": self.skipped, "samples": self.fingerprint, "config": self.config.to_dict(),
            "processes": self.team.size, "scaler": self.scaler.state_dict() if self.scaler else None,
            "model": getattr(self.net, "config", None), "taxonomy": self.net.taxonomy.to_dict(),
            "torch": torch.__version__,
        }  # fmt: skip

    # -- the loop -----------------------------------------------------------------------------------------------

    def go(self, stop: Stop, bar: Callable[[int, int | None, float, float], None], hooks: Hooks) -> str:
        """Steps, validations and checkpoints until the end; how it ended, as in `FitResult.ended`."""
        began, saved, base = time.monotonic(), time.monotonic(), self.seconds
        while True:
            self.seconds = base + time.monotonic() - began
            late = self.team.first and time.monotonic() - saved > 60 * self.config.checkpoint_minutes
            asked = self.team.first and hooks.stop is not None and hooks.stop()
            interrupted, stopped, late = self.team.any(stop.asked, asked, late)
            if interrupted:
                self.save()
                raise Interrupted(f"stopped after step {self.step} of {self.total or '?'}; run the same command with "
                                  f"--resume to go on from {self.folder}")
            if stopped:
                self.save()
                return "stopped"
            if self._validation_due():
                self._validate(lambda: stop.asked or bool(hooks.stop and hooks.stop()), hooks.on_validation)
                continue
            if self.judge.tired(self.history):
                self.total = self.step
                self.save()
                return "no improvement"
            if self.total is None and self.step >= self.config.MEASURE:
                self._plan()
                continue
            if self.step == self.total:
                self.save()
                return "finished"
            if late:
                self.save()
                saved = time.monotonic()
            self._tell(self._step(), bar, hooks.on_step)

    def _tell(self, row: dict[str, Any], bar: Callable[[int, int | None, float, float], None],
              on_step: OnRow | None) -> None:
        if self.log is None:
            return
        budget = 60 * (self.config.minutes or 0) - self.seconds
        row["left"] = self.clock.left(self.step, self.total, self.config.val_every, budget)
        self.log.add(row)
        bar(self.step, self.total, row["loss"], row["left"])
        if on_step is not None:
            on_step({**row, "total": self.total})

    # -- a step -------------------------------------------------------------------------------------------------

    def _step(self) -> dict[str, Any]:
        """One optimiser step; its row of the log."""
        began, lr = time.monotonic(), lr_at(self.step, self.total, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        batches = self.batches.get(self.step)
        skips = [skip for batch in batches for skip in batch.skipped]
        self._count(skips)
        self.wrapped.train()
        if self.config.freeze_norm:
            freeze_norms(self.net)
        losses = [self._backward(batch, last=batch is batches[-1]) for batch in batches]
        norm = self._update(tuple(n for batch in batches for n in batch.names))
        self.step += 1
        self.clock.steps.append(time.monotonic() - began)
        means = {k: sum(part[k] for part in losses) / len(losses) for k in losses[0]}
        means = self.team.mean(means)
        return {"step": self.step, "lr": lr, "loss": sum(means.values()), **means, "grad_norm": norm,
                "skipped": sum(self.skipped.values()), "seconds": self.clock.steps[-1]}  # fmt: skip

    def _backward(self, batch: Batch, last: bool) -> dict[str, float]:
        """Forward and backward of one batch; its losses as numbers. Processes add gradients in the `last` one only."""
        images, targets = self.fabric.to_device((batch.images, batch.targets))
        with (
            own_randomness(batch.seed, self.fabric.device),
            self.fabric.no_backward_sync(self.wrapped, enabled=not last and self.team.size > 1),
        ):
            losses: dict[str, Tensor] = self.wrapped(images, targets)
            numbers = {k: float(v.detach()) for k, v in losses.items()}
            bad = [k for k, v in numbers.items() if not math.isfinite(v)]
            if bad:
                what, value, names = f"the loss {', '.join(bad)}", str(numbers[bad[0]]), batch.names
            if self.team.any(bool(bad))[0]:
                raise self._broken(*((what, value, names) if bad else ("a loss", "nan or inf", ("another process",))))
            total = torch.stack([v.float() for v in losses.values()]).sum() / self.config.accumulate
            self.fabric.backward(total)
        return numbers

    def _update(self, names: tuple[str, ...]) -> float:
        """Clip, step, average; the norm of the gradient.

        In float16 a gradient beyond its range is the scaler's business: it leaves the step out and tries a smaller
        scale. At scale 1 there is nothing left to scale down, so the gradient itself is broken.
        """
        scale = self.scaler.get_scale() if self.scaler else 1.0
        norm = float(self.fabric.clip_gradients(
            self.wrapped, self.wrapped_optimizer, max_norm=self.config.clip, error_if_nonfinite=False
        ))  # fmt: skip
        if not math.isfinite(norm) and scale <= 1:
            raise self._broken("a gradient", "nan or inf", names)
        self.wrapped_optimizer.step()
        self.wrapped_optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.step)
        return norm

    def _broken(self, what: str, value: str, names: tuple[str, ...]) -> FloatingPointError:
        return FloatingPointError(
            f"{what} became {value} in step {self.step + 1} on {', '.join(names)}; the last checkpoint is kept in "
            f"{self.folder}: look at these samples, or start again with a lower lr than {self.config.lr:g}"
        )

    def _count(self, skips: Sequence[Skip]) -> None:
        """Count samples that could not be read, and say so once for each."""
        for name, reason in skips:
            if name not in self.skipped:
                warnings.warn(f"{name} cannot be read and is skipped: {reason}", stacklevel=2)
            self.skipped[name] = self.skipped.get(name, 0) + 1

    # -- validation ---------------------------------------------------------------------------------------------

    def _validation_due(self) -> bool:
        done = self.history[-1]["step"] if self.history else 0
        every = self.config.val_every
        on_time = self.step == self.total or (every and self.step % every == 0)
        return bool(self.judge.samples and on_time and self.step > done)

    def _validate(self, stop: Callable[[], bool], on_validation: OnRow | None) -> None:
        """Judge the averaged weights in the first process; a stop leaves it undone, and the resumed run does it first.
        """
        began = time.monotonic()
        row, skips = self.judge.row(self.ema.model, self.step, stop) if self.team.first else (None, [])
        row = self.fabric.broadcast(row)
        if row is None:
            return
        self._count(skips)
        self.clock.validation = time.monotonic() - began
        self.history.append(row)
        if self.judge.better(row, self.best):
            self.best = row
            if self.team.first:
                averaged = {f"ema.{k}": v for k, v in self.ema.model.state_dict().items()}
                checkpoint.write(self.folder, "best", averaged, self._facts())
        if self.team.first:
            path = self.folder / "validation.csv"
            with said(path):
                checkpoint.write_text(path, table(self.history))
            if on_validation is not None:
                on_validation(row)
        self.save()

    def _plan(self) -> None:
        """Fix the number of steps from the time of the first ones and of one sample's validation."""
        total = 0
        if self.team.first:
            left, pace = 60 * (self.config.minutes or 0) - self.seconds, self.clock.pace
            once = self.clock.validation = self.judge.seconds(self.ema.model)
            left -= once  # at the end
            pace += once / self.config.val_every if self.config.val_every else 0
            total = self.step + max(1, int(left / pace))
        self.total = int(self.fabric.broadcast(total))
        self.save()
