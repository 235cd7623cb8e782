"""Which samples a step sees: a pure function of (seed, step), prepared one step ahead in the background."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from pano_med.training.config import TrainConfig
from pano_med.types import Sample


class Pipeline(Protocol):
    """Turns one sample into (image, target), as `pano_med.transforms.train_pipeline` does."""

    def set_random_state(self, seed: int) -> object:
        """From here on, all randomness comes from this seed."""

    def __call__(self, sample: Sample) -> tuple[Tensor, Mapping[str, Tensor]]:
        """One crop and its targets."""


# Streams of randomness that must not meet.
_ORDER, _AUGMENT, _NETWORK = range(3)


def derive_seed(seed: int, step: int, stream: int, index: int = 0) -> int:
    """A 32-bit seed that depends on all four numbers and on nothing else."""
    return int(np.random.SeedSequence([seed, step, stream, index]).generate_state(1)[0])


def network_seed(seed: int, step: int) -> int:
    """Seed of the sampling inside the network (proposals, regions, dropout) in one step."""
    return derive_seed(seed, step, _NETWORK)


class Sampler:
    """Draws samples with replacement: first a source by weight, then one of its samples.

    Args:
        samples: at least one, each with a truth.
        weights: share of draws per source; empty = equal shares. Sources without a weight are not drawn.

    Raises:
        ValueError: nothing to draw from, a sample without truth, or a weight for a source that has no sample.
    """

    def __init__(self, samples: Sequence[Sample], weights: Mapping[str, float]) -> None:
        bare = [s.name or f"number {i}" for i, s in enumerate(samples) if s.truth is None]
        if bare:
            raise ValueError(f"every training sample needs a truth, {len(bare)} have none (first: {bare[0]})")
        by_source: dict[str, list[int]] = {}
        for i, sample in enumerate(samples):
            by_source.setdefault(sample.source, []).append(i)
        weights = weights or dict.fromkeys(by_source, 1.0)
        absent = sorted(k for k, w in weights.items() if w and k not in by_source)
        if absent or not by_source:
            raise ValueError(f"there are no training samples of {', '.join(absent) or 'any source'}; "
                             f"sources present: {', '.join(sorted(by_source)) or 'none'}")
        names = sorted(k for k, w in weights.items() if w)
        self._members = [np.array(by_source[k]) for k in names]
        self._shares = np.array([weights[k] for k in names], float)
        self._shares /= self._shares.sum()

    def indices(self, seed: int, step: int, count: int) -> list[int]:
        """Positions of the samples that a step draws."""
        rng = np.random.default_rng(derive_seed(seed, step, _ORDER))
        chosen = rng.choice(len(self._members), size=count, p=self._shares)
        return [int(self._members[s][rng.integers(len(self._members[s]))]) for s in chosen]


@dataclass(frozen=True)
class Batch:
    """What one forward pass eats."""

    images: list[Tensor]
    targets: list[Mapping[str, Tensor]]
    names: tuple[str, ...]


class Batches:
    """Batches of a run by step, the next one prepared in a background thread while the network works.

    One thread is enough: reading a crop takes a small part of a step, and a second process would copy every sample.
    """

    def __init__(self, samples: Sequence[Sample], pipeline: Pipeline, config: TrainConfig) -> None:
        self._samples, self._pipeline, self._config = samples, pipeline, config
        self._sampler = Sampler(samples, config.source_weights)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: dict[int, Future[list[Batch]]] = {}

    def make(self, step: int) -> list[Batch]:
        """The `accumulate` batches of a step, from (seed, step) alone."""
        c = self._config
        chosen = self._sampler.indices(c.seed, step, c.batch_size * c.accumulate)
        ready = [self._one(self._samples[i], derive_seed(c.seed, step, _AUGMENT, n)) for n, i in enumerate(chosen)]
        names = [self._samples[i].name or f"{self._samples[i].source} number {i}" for i in chosen]
        cuts = [slice(n, n + c.batch_size) for n in range(0, len(chosen), c.batch_size)]
        return [
            Batch([image for image, _ in ready[cut]], [target for _, target in ready[cut]], tuple(names[cut]))
            for cut in cuts
        ]

    def get(self, step: int) -> list[Batch]:
        """The batches of a step; the next step starts in the background."""
        future = self._ahead.pop(step, None) or self._pool.submit(self.make, step)
        self._ahead = {step + 1: self._pool.submit(self.make, step + 1)}
        return future.result()

    def _one(self, sample: Sample, seed: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        self._pipeline.set_random_state(seed)
        return self._pipeline(sample)

    def close(self) -> None:
        """Stop the background thread."""
        self._pool.shutdown(cancel_futures=True)


def fingerprint(samples: Sequence[Sample]) -> str:
    """A short hash of the samples' names, sources and sizes, so that a run is not resumed on other images."""
    text = "\n".join(f"{s.source}\t{s.group}\t{s.name}\t{s.size}" for s in samples)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
