"""Confidence intervals by drawing images, or whole patients, again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Statistic = Callable[[Sequence[T]], float]


@dataclass(frozen=True)
class Interval:
    """A number and the range in which it falls when the images (or patients) are drawn anew.

    Attributes:
        value: the statistic of the items as they are.
        low: lower end of the interval; nan if no draw had a value.
        high: upper end.
        level: share of the draws inside, e.g. 0.95.
        units: images, or groups where groups were given; with fewer than two nothing can vary.
        undefined: share of the draws without a value (nan), which are left out.
    """

    value: float
    low: float
    high: float
    level: float
    units: int
    undefined: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    items: Sequence[T],
    statistic: Statistic[T],
    *,
    groups: Sequence[Hashable] | None = None,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic (Efron & Tibshirani 1993).

    Images of one patient resemble each other; with `groups` whole patients are drawn, which is honest and wider. With
    very few units, say under ten, the interval is too narrow.

    Args:
        items: one entry per image, e.g. PQCounts or Records.
        statistic: from a list of items to a number; it may be nan.
        groups: patient or case of each item, or None to draw single items.
        samples: number of draws, at least 1.
        level: share inside the interval, between 0 and 1.
        seed: the same seed gives the same interval.

    Raises:
        ValueError: no items, groups of another length, samples or level out of range.
    """
    units = _units(len(items), groups, samples, level)
    draws = [statistic([items[i] for i in drawn]) for drawn in _draws(units, samples, seed)]
    return _interval(statistic(items), draws, level, len(units))


def paired_bootstrap(
    ours: Sequence[T],
    theirs: Sequence[T],
    statistic: Statistic[T],
    *,
    groups: Sequence[Hashable] | None = None,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of statistic(ours) - statistic(theirs), two methods on the same images, drawn together.

    An image that is hard for both then moves both, so the interval of the difference is narrower than two separate
    ones. If the whole interval is above 0, ours is better on such images. Arguments as in `bootstrap`.

    Raises:
        ValueError: the lists differ in length; else as `bootstrap`.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"a paired comparison needs the same images on both sides, got {len(ours)} and {len(theirs)}")

    def difference(pairs: Sequence[tuple[T, T]]) -> float:
        return statistic([a for a, _ in pairs]) - statistic([b for _, b in pairs])

    pairs = list(zip(ours, theirs, strict=True))
    return bootstrap(pairs, difference, groups=groups, samples=samples, level=level, seed=seed)


def _units(
    length: int, groups: Sequence[Hashable] | None, samples: int, level: float
) -> list[npt.NDArray[np.int64]]:
    """The places of each unit's items, in the order in which the units first appear."""
    if not length:
        raise ValueError("a bootstrap needs at least one image, got none")
    if groups is not None and len(groups) != length:
        raise ValueError(f"each image needs one group, got {length} images and {len(groups)} groups")
    if samples < 1 or not 0 < level < 1:
        raise ValueError(f"samples must be at least 1 and level between 0 and 1, got {samples} and {level}")
    members: dict[Hashable, list[int]] = {}
    for place, group in enumerate(range(length) if groups is None else groups):
        members.setdefault(group, []).append(place)
    return [np.array(places) for places in members.values()]


def _draws(units: list[npt.NDArray[np.int64]], samples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    for _ in range(samples):
        yield np.concatenate([units[k] for k in generator.integers(len(units), size=len(units))])


def _interval(value: float, draws: list[float], level: float, units: int) -> Interval:
    found = np.array(draws, np.float64)
    undefined = float(np.isnan(found).mean())
    if undefined == 1:
        return Interval(value, math.nan, math.nan, level, units, undefined)
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level, units, undefined)
