"""Which samples a step draws: a pure function of (seed, step), balanced by data set and, if wished, by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pano_med.types import LazySample, Sample, Taxonomy

#: Streams of randomness that must not meet.
ORDER, AUGMENT, NETWORK, INSTEAD = range(4)
#: Draws that one place in a batch gets before a run of unreadable samples is called a fault of the whole set.
TRIES = 20


def derive_seed(seed: int, step: int, stream: int, index: int = 0) -> int:
    """A 32-bit seed that depends on all four numbers and on nothing else."""
    return int(np.random.SeedSequence([seed, step, stream, index]).generate_state(1)[0])


class Sampler:
    """Draws samples with replacement: first a source by weight, then (if balanced) a class, then a sample.

    Args:
        samples: at least one, each with a truth.
        weights: share of draws per source; empty = equal shares. Sources without a weight are not drawn.
        by_class: inside a source every thing class is drawn equally often, then one of the samples that show it, so
            that rare classes are seen as often as common ones. Samples without things count as a class of their own,
            samples whose classes nobody told as another.

    Raises:
        ValueError: nothing to draw from, a sample without truth, or a weight for a source that has no sample.
    """

    def __init__(
        self, samples: Sequence[Sample | LazySample], weights: Mapping[str, float], by_class: bool = False
    ) -> None:
        bare = [name_of(s, i) for i, s in enumerate(samples) if isinstance(s, Sample) and s.truth is None]
        if bare:
            raise ValueError(f"every training sample needs a truth, {len(bare)} have none (first: {bare[0]})")
        by_source: dict[str, list[int]] = {}
        for i, sample in enumerate(samples):
            by_source.setdefault(sample.source, []).append(i)
        weights = weights or dict.fromkeys(by_source, 1.0)
        absent = sorted(k for k, w in weights.items() if w and k not in by_source)
        if absent or not by_source:
            raise ValueError(
                f"there are no training samples of {', '.join(absent) or 'any source'}; "
                f"sources present: {', '.join(sorted(by_source)) or 'none'}"
            )
        names = sorted(k for k, w in weights.items() if w)
        self._pools = [_pools(samples, by_source[k], by_class) for k in names]
        self._shares = np.array([weights[k] for k in names], float)
        self._shares /= self._shares.sum()

    def indices(self, seed: int, step: int, count: int) -> list[int]:
        """Positions of the samples that a step draws."""
        return self._draw(derive_seed(seed, step, ORDER), count)

    def instead(self, seed: int, step: int, place: int, attempt: int) -> int:
        """Position of the sample that is drawn where the one at `place` of a step cannot be read."""
        return self._draw(derive_seed(seed, step, INSTEAD, place * TRIES + attempt), 1)[0]

    def _draw(self, seed: int, count: int) -> list[int]:
        rng = np.random.default_rng(seed)
        drawn = []
        for source in rng.choice(len(self._pools), size=count, p=self._shares):
            pools = self._pools[source]
            pool = pools[rng.integers(len(pools))] if len(pools) > 1 else pools[0]
            drawn.append(int(pool[rng.integers(len(pool))]))
        return drawn


def classes_of(sample: Sample | LazySample) -> frozenset[int] | None:
    """Ids of the categories that the truth of a sample shows, crowds aside; None where nobody knows."""
    if isinstance(sample, LazySample):
        return sample.classes
    return frozenset(s.category_id for s in sample.truth.segments if not s.iscrowd) if sample.truth else frozenset()


def name_of(sample: Sample | LazySample, number: int) -> str:
    """What messages call a sample."""
    return sample.name or f"{sample.source or 'sample'} number {number}"


def unseen(samples: Sequence[Sample | LazySample], taxonomy: Taxonomy) -> list[str]:
    """Names of the classes with a channel that no sample shows; empty where a sample's classes are not known."""
    shown = [classes_of(s) for s in samples]
    if any(classes is None for classes in shown):
        return []
    seen = frozenset[int]().union(*(classes for classes in shown if classes))
    return [c.name for c in taxonomy.channels if c.id not in seen]


def _pools(samples: Sequence[Sample | LazySample], members: list[int], by_class: bool) -> list[np.ndarray]:
    if not by_class:
        return [np.array(members)]
    pools: dict[int, list[int]] = {}
    tables = [s.truth.taxonomy for s in samples if isinstance(s, Sample) and s.truth]
    stuff = {c.id for table in tables[:1] for c in table.stuff}
    for i in members:
        classes = classes_of(samples[i])
        keys = [-1] if classes is None else sorted(classes - stuff) or [Taxonomy.VOID]
        for key in keys:
            pools.setdefault(key, []).append(i)
    return [np.array(pools[key]) for key in sorted(pools)]
