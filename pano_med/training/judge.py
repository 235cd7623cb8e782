"""The validation part of a run: how good the averaged weights are, which are the best, when to give up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from pano_med.training.batches import Skip, check_taxonomy, read
from pano_med.training.config import TrainConfig
from pano_med.training.sampler import name_of
from pano_med.training.validate import Fuse, Scores, at_mpp, predict_sample
from pano_med.types import LazySample, Sample, Taxonomy


class Judge:
    """Scores models on the validation samples of a run.

    Args:
        samples: in memory (brought to the model's resolution once) or lazy (read at each validation).
        config: gives mpp, `best_by`, `patience`.
        taxonomy: of the model.
        to_map: fusion.
    """

    def __init__(self, samples: Sequence[Sample | LazySample], config: TrainConfig, taxonomy: Taxonomy, to_map: Fuse
                 ) -> None:
        self.config, self.taxonomy, self._to_map = config, taxonomy, to_map
        self._names = [name_of(s, i) for i, s in enumerate(samples)]
        for sample, name in zip(samples, self._names, strict=True):
            if isinstance(sample, Sample):
                check_taxonomy(sample, name, taxonomy)
        self.samples = [at_mpp(s, config.model_mpp) if isinstance(s, Sample) else s for s in samples]

    def row(self, model: nn.Module, step: int, stop: Callable[[], bool]) -> tuple[dict[str, Any] | None, list[Skip]]:
        """(row of the validation table, samples that could not be read); (None, []) where `stop` says True."""
        scores, skips = Scores(self.taxonomy, self._to_map), list[Skip]()
        for item, name in zip(self.samples, self._names, strict=True):
            if stop():
                return None, []
            try:
                sample = at_mpp(read(item), self.config.model_mpp) if isinstance(item, LazySample) else item
            except (OSError, ValueError, EOFError) as error:
                skips.append((name, " ".join(str(error).split()) or type(error).__name__))
                continue
            check_taxonomy(sample, name, self.taxonomy)
            scores.add(sample, predict_sample(model, sample, self.config.model_mpp))
        return {"step": step, **{k: None if math.isnan(v) else v for k, v in scores.row().items()}}, skips

    def better(self, row: Mapping[str, Any], best: Mapping[str, Any] | None) -> bool:
        """Whether a row is at least as good as the best one so far."""
        now, before = (r and r[self.config.best_by] for r in (row, best))
        return before is None or (now is not None and now >= before)

    def tired(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the last `patience` validations brought nothing better; never where patience is 0."""
        values = [-math.inf if r[self.config.best_by] is None else r[self.config.best_by] for r in history]
        patience = self.config.patience
        return bool(patience and values and len(values) - 1 - values.index(max(values)) >= patience)

    def seconds(self, model: nn.Module) -> float:
        """About how long a validation takes, told from its first sample; 0 without samples."""
        if not self.samples:
            return 0.0
        began = time.monotonic()
        try:
            first = read(self.samples[0])
        except (OSError, ValueError, EOFError):
            return 0.0
        predict_sample(model, first, self.config.model_mpp)
        took = time.monotonic() - began
        if any(isinstance(s, LazySample) for s in self.samples):
            return took * len(self.samples)
        return took * sum(math.prod(s.size) for s in self.samples) / math.prod(first.size)
