"""TrainConfig: everything a training run depends on besides its images and its model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: "auto" is plain float32 on a CPU; elsewhere bfloat16 mixed where the device has it, else float16 mixed. The gradient
#: scaler of float16 is part of the checkpoint.
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")

#: How several processes come to be: started by running the script again, or forked from a notebook.
STRATEGIES = ("auto", "ddp", "ddp_notebook")

#: Columns of the validation table that may choose the best checkpoint.
BEST_BY = ("objects_pq", "things_pq", "stuff_pq", "stuff_iou", "mean_pq")

# Fields that change when a run is written or where it runs, but not what it computes.
_HARMLESS = ("checkpoint_minutes", "log_every", "strategy")


@dataclass(frozen=True)
class TrainConfig:
    """One training run, saved in its checkpoints.

    Attributes:
        steps: optimiser steps, or None where `minutes` is given.
        minutes: time budget, validation included. The step time is measured in the first `MEASURE` steps; then the
            number of steps is fixed and stored, so that a resumed run keeps the same schedule (and the same result).
        batch_size: images per forward pass and process; a step sees batch_size x accumulate x processes images.
        accumulate: forward passes per optimiser step.
        crop_size: side of a training crop in pixels.
        model_mpp: micrometres per pixel that the network works at.
        lr: peak learning rate of AdamW (Loshchilov & Hutter 2019).
        weight_decay: of weights; norms and biases have none.
        warmup: steps in which the rate rises linearly.
        final_lr: share of `lr` at the end of the cosine.
        clip: largest gradient norm.
        ema: decay of the moving average of the weights; the average is what is validated and shipped.
        precision: one of `PRECISIONS`.
        accelerator: "auto", "cpu" or any accelerator name that Lightning Fabric knows.
        devices: processes on this machine, one per GPU (or several on a CPU); -1 = as many as there are GPUs.
        strategy: one of `STRATEGIES`; "auto" is one process, or "ddp" where there are several.
        num_nodes: machines; the run's folder must be seen by all.
        freeze_norm: batch norm uses its stored statistics and does not move them. Then a step is the same however its
            images are dealt to processes and accumulated passes; without, each pass normalises by its own images.
        seed: of the order of samples, augmentation and sampling inside the network.
        val_every: steps between validations, 0 = only at the end.
        best_by: the column of the validation table that chooses the best checkpoint.
        checkpoint_minutes: time between checkpoints; one is also written at each validation and at the end.
        log_every: steps between flushes of the CSV log.
        source_weights: share of draws per `Sample.source`; empty = every source equally often. A source that is not
            named is not drawn.
        balance_classes: draw the thing classes of a source equally often: a sample that shows the class, then a crop
            around a thing of a class.
        stain: change the amounts of the stains from crop to crop (`RandHEDJitterd`).
        patience: validations without a better `best_by` after which the run ends; 0 = never.

    Raises:
        ValueError: a value outside its range; the message names the field.
    """

    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 4
    accumulate: int = 1
    crop_size: int = 256
    model_mpp: float = 0.25
    lr: float = 7e-4
    weight_decay: float = 0.02
    warmup: int = 150
    final_lr: float = 0.01
    clip: float = 5.0
    ema: float = 0.998
    precision: str = "auto"
    accelerator: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    num_nodes: int = 1
    freeze_norm: bool = False
    seed: int = 0
    val_every: int = 0
    best_by: str = "objects_pq"
    checkpoint_minutes: float = 5.0
    log_every: int = 10
    source_weights: Mapping[str, float] = field(default_factory=dict)
    balance_classes: bool = False
    stain: bool = True
    patience: int = 0

    #: Steps whose time is measured when the budget is in minutes.
    MEASURE = 20

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError(f"give either steps or minutes, got steps={self.steps} and minutes={self.minutes}")
        for name, low, high, whole in _RANGES:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise ValueError(f"{name} must be a {'whole ' if whole else ''}number, got {value!r}")
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} must lie between {low} and {high}, got {value}")
        for name, choices in (("precision", PRECISIONS), ("best_by", BEST_BY), ("strategy", STRATEGIES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.devices == 0:
            raise ValueError("devices must be at least 1, or -1 for all there are, got 0")
        if self.patience and not self.val_every:
            raise ValueError(f"patience counts validations, so it needs val_every, got patience={self.patience} alone")
        object.__setattr__(self, "source_weights", dict(self.source_weights))
        bad = {k: w for k, w in self.source_weights.items() if not (math.isfinite(w) and w >= 0)}
        if bad or (self.source_weights and not sum(self.source_weights.values())):
            raise ValueError(f"source_weights must be at least 0 and not all 0, got {bad or self.source_weights}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `from_dict` gives the same config back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> TrainConfig:
        """Inverse of `to_dict`.

        Raises:
            ValueError: a field that this version does not know, or a broken value.
        """
        strangers = sorted(set(table) - {f.name for f in dataclasses.fields(cls)})
        if strangers:
            raise ValueError(f"a training config has no field {', '.join(strangers)}; was it saved by another version?")
        return cls(**table)

    def differences(self, other: TrainConfig) -> list[str]:
        """Names of the fields that would make the two runs compute something else."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [k for k in mine if k not in _HARMLESS and mine[k] != theirs[k]]


# field, lowest, highest, whole number
_RANGES = (
    ("steps", 1, 10**8, True),
    ("minutes", 0.01, 10**6, False),
    ("batch_size", 1, 4096, True),
    ("accumulate", 1, 4096, True),
    ("crop_size", 32, 8192, True),
    ("model_mpp", 0.01, 100, False),
    ("lr", 1e-9, 10, False),
    ("weight_decay", 0, 1, False),
    ("warmup", 0, 10**6, True),
    ("final_lr", 0, 1, False),
    ("clip", 1e-6, 1e6, False),
    ("ema", 0, 0.999999, False),
    ("seed", 0, 2**32 - 1, True),
    ("val_every", 0, 10**8, True),
    ("checkpoint_minutes", 0, 10**6, False),
    ("log_every", 1, 10**6, True),
    ("devices", -1, 4096, True),
    ("num_nodes", 1, 4096, True),
    ("patience", 0, 10**6, True),
)
