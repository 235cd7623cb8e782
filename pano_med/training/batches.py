"""The batches of a step, prepared one step ahead in the background; unreadable samples are named and replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from pano_med.training.checkpoint import same_classes, tell
from pano_med.training.config import TrainConfig
from pano_med.training.sampler import AUGMENT, NETWORK, TRIES, Sampler, derive_seed, name_of
from pano_med.types import LazySample, Sample, Taxonomy

#: (name, reason) of a sample that could not be read.
Skip = tuple[str, str]


class Pipeline(Protocol):
    """Turns one sample into (image, target), as `pano_med.transforms.train_pipeline` does."""

    def set_random_state(self, seed: int) -> object:
        """From here on, all randomness comes from this seed."""

    def __call__(self, sample: Sample) -> tuple[Tensor, Mapping[str, Any]]:
        """One crop and its targets."""


@dataclass(frozen=True)
class Batch:
    """What one forward pass eats.

    Attributes:
        images: (3, H, W) each.
        targets: one per image, each with the image's own "seed".
        names: of the samples.
        seed: of whatever else the network draws in this pass.
        skipped: samples that could not be read and were replaced.
    """

    images: list[Tensor]
    targets: list[Mapping[str, Any]]
    names: tuple[str, ...]
    seed: int
    skipped: tuple[Skip, ...] = ()


class Batches:
    """Batches of a run by step, the next one prepared in a background thread while the network works.

    One thread is enough: reading a crop takes a small part of a step, and a second process would copy every sample.
    What an image looks like and what is drawn in it depend on (seed, step, place in the global batch) alone, so the
    share of one process is a part of what a single process would have made.

    Args:
        samples: to draw from.
        pipeline: from a sample to (image, target).
        config: the run.
        taxonomy: of the model; None = not checked.
        rank: number of this process.
        world: processes.
    """

    def __init__(self, samples: Sequence[Sample | LazySample], pipeline: Pipeline, config: TrainConfig,
                 taxonomy: Taxonomy | None = None, rank: int = 0, world: int = 1) -> None:
        self._samples, self._pipeline, self._config, self._taxonomy = samples, pipeline, config, taxonomy
        self._rank, self._world = rank, world
        self._sampler = Sampler(samples, config.source_weights, config.balance_classes)
        for i, sample in enumerate(samples):
            if isinstance(sample, Sample):
                check_taxonomy(sample, name_of(sample, i), taxonomy)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: dict[int, Future[list[Batch]]] = {}

    def make(self, step: int) -> list[Batch]:
        """The `accumulate` batches of this process in a step, from (seed, step) alone."""
        c = self._config
        share = c.batch_size * c.accumulate
        chosen = self._sampler.indices(c.seed, step, share * self._world)
        starts = range(self._rank * share, (self._rank + 1) * share, c.batch_size)
        return [self._batch(step, first, chosen[first : first + c.batch_size]) for first in starts]

    def get(self, step: int) -> list[Batch]:
        """The batches of a step; the next step starts in the background."""
        future = self._ahead.pop(step, None) or self._pool.submit(self.make, step)
        self._ahead = {step + 1: self._pool.submit(self.make, step + 1)}
        return future.result()

    def close(self) -> None:
        """Stop the background thread."""
        self._pool.shutdown(cancel_futures=True)

    def _batch(self, step: int, first: int, chosen: list[int]) -> Batch:
        """One batch; `first` is the place of its first image in the global batch of the step."""
        images, targets, names, skipped = [], [], [], []
        for place, index in enumerate(chosen, first):
            sample, name, failed = self._read(step, place, index)
            self._pipeline.set_random_state(derive_seed(self._config.seed, step, AUGMENT, place))
            image, target = self._pipeline(sample)
            images.append(image)
            targets.append({**target, "seed": derive_seed(self._config.seed, step, NETWORK, place)})
            names.append(name)
            skipped += failed
        seed = derive_seed(self._config.seed, step, NETWORK, first)
        return Batch(images, targets, tuple(names), seed, tuple(skipped))

    def _read(self, step: int, place: int, index: int) -> tuple[Sample, str, list[Skip]]:
        """The sample at `index`, or, where it cannot be read, another one that is drawn in its place."""
        failed: list[Skip] = []
        for attempt in range(TRIES):
            item, name = self._samples[index], name_of(self._samples[index], index)
            try:
                sample = read(item)
            except (OSError, ValueError, EOFError) as error:
                failed.append((name, " ".join(str(error).split()) or type(error).__name__))
                index = self._sampler.instead(self._config.seed, step, place, attempt)
                continue
            check_taxonomy(sample, name, self._taxonomy)
            return sample, name, failed
        raise OSError(f"{TRIES} samples in a row cannot be read, the last one is {name} ({failed[-1][1]}); "
                      "is the folder of the images still there? The last checkpoint is kept")


def read(item: Sample | LazySample) -> Sample:
    """The sample itself, read now if it is lazy.

    Raises:
        OSError, ValueError, EOFError: it cannot be read, or it has no truth.
    """
    sample = item.read() if isinstance(item, LazySample) else item
    if sample.truth is None:
        raise ValueError("it has no truth")
    return sample


def check_taxonomy(sample: Sample, name: str, taxonomy: Taxonomy | None) -> None:
    """Raise ValueError where truth and model speak different tables of classes."""
    theirs = sample.truth.taxonomy if sample.truth else None
    if taxonomy is not None and theirs is not None and theirs is not taxonomy and not same_classes(theirs, taxonomy):
        raise ValueError(f"truth and model must speak the same taxonomy, {name} has {tell(theirs)}, the model "
                         f"{tell(taxonomy)}; map the truth to the model's classes first")


def fingerprint(samples: Sequence[Sample | LazySample]) -> str:
    """A short hash of the samples' names, sources and sizes, so that a run is not resumed on other images."""
    text = "\n".join(f"{s.source}\t{s.group}\t{s.name}\t{s.size if isinstance(s, Sample) else ''}" for s in samples)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
