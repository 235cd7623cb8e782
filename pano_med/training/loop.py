"""fit: the training loop on Lightning Fabric, from one CPU to several GPUs, with exact resume after a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn

from pano_med.training import checkpoint
from pano_med.training.batches import Pipeline
from pano_med.training.config import TrainConfig
from pano_med.training.devices import is_first, make_fabric
from pano_med.training.lock import locked
from pano_med.training.progress import listen, progress_bar
from pano_med.training.run import Hooks, OnRow, Run
from pano_med.training.validate import Fuse, fused
from pano_med.transforms import train_pipeline
from pano_med.types import LazySample, Sample


@dataclass(frozen=True)
class FitResult:
    """What a finished run leaves.

    Attributes:
        folder: holds log.csv, validation.csv, last.* (to resume) and best.* (averaged weights).
        steps: optimiser steps done.
        seconds: time spent, resumed parts included.
        history: one row per validation: step and the columns of `Scores.row`.
        best: the row of the best validation, or None without validation samples.
        ended: "finished", "no improvement" (`TrainConfig.patience`) or "stopped" (by `stop`; it can be resumed).
        skipped: name of each sample that could not be read -> how often, in the process that writes.
    """

    folder: Path
    steps: int
    seconds: float
    history: tuple[Mapping[str, float], ...]
    best: Mapping[str, float] | None
    ended: str = "finished"
    skipped: Mapping[str, int] | None = None


def fit(
    model: nn.Module,
    train_samples: Sequence[Sample | LazySample],
    val_samples: Sequence[Sample | LazySample],
    config: TrainConfig,
    out_dir: str | Path,
    resume: bool = False,
    on_step: OnRow | None = None,
    *,
    on_validation: OnRow | None = None,
    stop: Callable[[], bool] | None = None,
    progress: bool = True,
    pipeline: Pipeline | None = None,
    to_map: Fuse = fused,
) -> FitResult:
    """Train a model; afterwards it holds the best averaged weights (the last ones without validation samples).

    All randomness comes from (seed, step, place in the global batch), never from what happened before. So a run that
    was killed at any moment and resumed ends with the same weights, bit for bit, on the same CPU with the same
    versions and thread count. On other accelerators additions in changing order leave differences in the last bits.

    Several processes (`TrainConfig.devices`, `num_nodes`) are Fabric's data-parallel strategy. With
    `TrainConfig.freeze_norm`, N processes with batch size B take the same steps as one with batch size N x B, up to
    the rounding of sums in another order: every loss is a mean over images, the crop of an image and the regions drawn
    in it depend on its place in the global batch alone. Three things lie outside of this: batch norm that is not
    frozen (each process normalises by its own images, and the stored statistics are the first one's); what else a
    network draws, such as dropout; and crops of different sizes, which are padded to the largest of their own batch.

    The first process alone writes, validates and calls the hooks; the others wait for it.

    Args:
        model: `model(images, targets) -> dict of scalar losses` in train mode, `model(images) -> list[Prediction]`
            in eval mode, with `taxonomy` and `config` (see `pano_med.models.EfficientPS`).
        train_samples: each with a truth, in memory or to be read when needed. One that cannot be read is named in a
            warning, skipped (another one is drawn in its place) and counted.
        val_samples: may be empty; one that cannot be read is named, left out and counted.
        config: the run.
        out_dir: folder of the run, made if needed. One process at a time holds it.
        resume: go on from `out_dir`'s last checkpoint.
        on_step: called after each step with its row of the log and "total", the steps of the run (None while a
            budget in minutes is still being measured).
        on_validation: called after each validation with its row.
        stop: asked after each step; True ends the run with a checkpoint, as if Ctrl-C came without an exception.
        progress: draw a bar on a terminal.
        pipeline: from a sample to (image, target); default `train_pipeline` at the config's crop size and mpp.
        to_map: fusion used in validation.

    Raises:
        ValueError: samples, config or checkpoint that do not fit.
        FileExistsError: the folder holds a run and `resume` is False.
        BlockingIOError: another process is training in the folder.
        FloatingPointError: a loss or gradient is not finite; the message names the batch, the last checkpoint is kept.
        OSError: a checkpoint could not be written (the one before is kept), or no sample can be read any more.
        Interrupted: Ctrl-C; a checkpoint was written, the message says how to go on.
    """
    folder = Path(out_dir)
    pipeline = pipeline or train_pipeline(
        config.crop_size, config.model_mpp, by_class=config.balance_classes, stain=config.stain
    )
    fabric = make_fabric(config)
    if not resume and is_first() and (folder / "last.json").exists():
        raise FileExistsError(f"{folder} already holds a run; resume it or choose another folder")
    hooks = Hooks(on_step, on_validation, stop, progress)
    parts = (model, train_samples, val_samples, config, folder, pipeline, to_map)
    with locked(folder) if is_first() and _may_hold(folder, resume) else nullcontext():
        left = fabric.launch(_work, parts, resume, hooks)
    result = FitResult(folder, **left | {"history": tuple(left["history"])})
    # read back, because with forked processes this one has not trained
    checkpoint.load_weights(model, folder, "best" if result.best is not None else "last")
    model.eval()
    return result


def _may_hold(folder: Path, resume: bool) -> bool:
    """False where a run is to be resumed that is not there: no folder is made for the sake of a lock."""
    return folder.is_dir() or not resume


def _work(fabric: Fabric, parts: tuple[Any, ...], resume: bool, hooks: Hooks) -> dict[str, Any]:
    """What each process does; the fields of `FitResult`, as a table, because Fabric carries no frozen classes."""
    run = Run(fabric, *parts)
    try:
        run.resume() if resume else run.begin()
        with listen() as stop, progress_bar(hooks.progress and run.team.first) as bar:
            ended = run.go(stop, bar, hooks)
        fabric.barrier()  # the last files are written
    finally:
        run.close()
    return {"steps": run.step, "seconds": run.seconds, "history": run.history, "best": run.best, "ended": ended,
            "skipped": dict(run.skipped)}  # fmt: skip
