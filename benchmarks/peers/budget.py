"""The same budget for everyone: our training loop, stopped by the clock; what was spent is in the checkpoint.

Every network that torch trains goes through `pano_med.training.fit`: same crops in the same order, AdamW, warm-up and
cosine, averaged weights, a checkpoint each minute (safetensors and JSON), exact resume. The number of steps is planned
from the time of the first ones; a machine that gets busier later does not give a peer more time: the clock ends it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pano_med.training import FitResult, TrainConfig, fit
from pano_med.training.batches import Pipeline
from pano_med.training.recipe import Ingredients
from pano_med.transforms import things_known, train_pipeline
from pano_med.types import Sample

#: What a crop's targets become for a peer.
Convert = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class Deadline:
    """Says stop when the seconds of earlier parts of a run and those since now reach the budget."""

    def __init__(self, minutes: float, spent: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end = clock, clock() + 60 * minutes - spent

    def __call__(self) -> bool:
        return self._clock() >= self._end


def facts(folder: Path) -> dict[str, Any] | None:
    """What the last checkpoint of a run says ("step", "total", "seconds", ...), or None where there is none."""
    path = folder / "last.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def nuclei_only(parts: Ingredients) -> Ingredients:
    """The recipe without the images whose nuclei nobody drew; such peers can't learn from them."""
    train = [s for s in parts.train if isinstance(s, Sample) and s.truth and things_known(s.truth.taxonomy, s.known)]
    if not train:
        raise ValueError("a peer that knows nuclei only needs images whose nuclei are all drawn, the recipe has none")
    left = {s.source for s in train}
    return replace(parts, train=train, weights={k: w for k, w in parts.weights.items() if k in left})


class Converted:
    """Our pipeline, its targets turned into a peer's; in the background thread that prepares batches."""

    def __init__(self, pipeline: Pipeline, convert: Convert) -> None:
        self._pipeline, self._convert = pipeline, convert

    def set_random_state(self, seed: int) -> object:
        """From here on, all randomness comes from this seed."""
        return self._pipeline.set_random_state(seed)

    def __call__(self, sample: Sample) -> tuple[Tensor, dict[str, Tensor]]:
        """One crop and the peer's targets."""
        image, target = self._pipeline(sample)
        return image, self._convert(target)


def crops(config: TrainConfig, convert: Convert) -> Converted:
    """The crops of a run with a peer's targets."""
    return Converted(train_pipeline(config.crop_size, config.model_mpp, stain=config.stain), convert)


def train_network(model: nn.Module, parts: Ingredients, config: TrainConfig, folder: Path,
                  convert: Convert | None = None, clock: Callable[[], float] = time.monotonic) -> FitResult:
    """Train a network, or go on, until its budget is spent; nothing is validated, the last averaged weights count.

    Args:
        model: `model(images, targets) -> dict of losses`, with `taxonomy` and `config`.
        parts: the recipe, as far as the peer can learn from it.
        config: the run; its `minutes` (or `steps`) are the budget.
        folder: of the run.
        convert: from our targets to the model's; None = the model takes ours.
        clock: for tests.
    """
    config = replace(config, source_weights=parts.weights, checkpoint_minutes=min(1.0, config.checkpoint_minutes))
    before = facts(folder)
    stop = Deadline(config.minutes, before["seconds"] if before else 0.0, clock) if config.minutes else None
    pipeline = crops(config, convert) if convert else None
    return fit(model, parts.train, [], config, folder, before is not None, stop=stop, pipeline=pipeline)


def labels(masks: Tensor) -> Tensor:
    """(N, H, W) bool masks that do not overlap -> (H, W) int32 numbers 1..N, 0 = no nucleus."""
    numbers = torch.arange(1, len(masks) + 1, dtype=torch.int32)
    return (masks * numbers[:, None, None]).sum(0, dtype=torch.int32)
