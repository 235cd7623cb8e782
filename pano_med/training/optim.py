"""Learning rate, parameter groups and the moving average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from pano_med.training.config import TrainConfig


def lr_at(step: int, total: int | None, config: TrainConfig) -> float:
    """Learning rate of a step: linear warm-up, then a cosine down to `final_lr` (Loshchilov & Hutter 2017).

    Args:
        step: 0-based.
        total: steps of the whole run; None while a run in minutes still measures its step time.
        config: gives lr, warmup and final_lr.
    """
    warmup = config.warmup if total is None else min(config.warmup, total // 2)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if total is None:
        return config.lr
    way = (step - warmup) / max(1, total - 1 - warmup)  # 0 after the warm-up, 1 at the last step
    return config.lr * (config.final_lr + (1 - config.final_lr) * (1 + math.cos(math.pi * min(1.0, way))) / 2)


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over everything that learns; norms and biases (one dimension or none) do not decay."""
    learns = [p for p in model.parameters() if p.requires_grad]
    if not learns:
        raise ValueError("the model has no parameter that learns; is everything frozen?")
    groups = [
        {"params": [p for p in learns if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learns if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr)


class Ema:
    """Exponential moving average of a model's weights and buffers (Polyak & Juditsky 1992).

    Attributes:
        model: a copy of the model in eval mode that holds the average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self._pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the model; early steps move faster, so that the random start is forgotten."""
        pull = 1 - min(self.decay, (1 + step) / (10 + step))
        for mean, now in self._pairs:
            if mean.is_floating_point():
                mean.lerp_(now, pull)
            else:
                mean.copy_(now)
