"""What a codec is given and what it gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Code = int | str


@dataclass(frozen=True)
class Codes:
    """What the codes in the files of a set mean, as category ids of the taxonomy that is wanted.

    Attributes:
        things: id of each code of a thing; 0 = an object that the taxonomy has no place for (its pixels are void).
        stuff: id of each code of a region; 0 = a region that the taxonomy has no place for.
        void: codes that say nothing is known there.
    """

    things: Mapping[Code, int] = field(default_factory=dict)
    stuff: Mapping[Code, int] = field(default_factory=dict)
    void: frozenset[Code] = frozenset()

    def check(self, found: Iterable[Code], known: Iterable[Code], what: str, path: Path) -> None:
        """Refuse codes that nobody wrote down.

        Raises:
            ValueError: a code in `found` is neither in `known` nor void.
        """
        known = set(known)
        strangers = sorted(set(found) - known - self.void, key=str)
        if strangers:
            raise ValueError(f"{path} has {what} codes {strangers[:9]}, known are {sorted(known, key=str)[:99]}")


@dataclass(frozen=True)
class Labels:
    """The labels of one image.

    Attributes:
        things: (H, W) int, number of the object at each pixel, 0 = none.
        classes: category id of each object; 0 = void.
        stuff: (H, W) int, category id of the region at each pixel, 0 = not labelled; or None.
        void: (H, W) bool, True where nothing is known; or None.
        crowds: numbers of objects that are crowds.
    """

    things: np.ndarray
    classes: Mapping[int, int]
    stuff: np.ndarray | None = None
    void: np.ndarray | None = None
    crowds: frozenset[int] = frozenset()


def majority(things: np.ndarray, types: np.ndarray, codes: Codes, path: Path) -> dict[int, int]:
    """The category of each object: that of most of its pixels, the higher code at a tie.

    Raises:
        ValueError: maps of two sizes, or an unknown code.
    """
    if things.shape != types.shape:
        raise ValueError(f"maps of one image must have one size, {path.name} has {types.shape}, not {things.shape}")
    inside = things > 0
    pairs, counts = np.unique(np.stack([things[inside], types[inside]]), axis=1, return_counts=True)
    best: dict[int, tuple[int, int]] = {}
    for thing, code, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        best[thing] = max(best.get(thing, (0, 0)), (count, code))
    codes.check({code for _, code in best.values()}, codes.things, "type", path)
    return {thing: codes.things.get(code, 0) for thing, (_, code) in best.items()}


def stuff_of(regions: np.ndarray, codes: Codes, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Category ids and void pixels of a map of region codes; 0 is "not labelled" unless the table says else.

    Raises:
        ValueError: an unknown code.
    """
    present, place = np.unique(regions, return_inverse=True)
    found = present.tolist()
    codes.check(found, {0, *codes.stuff}, "region", path)
    place = place.reshape(regions.shape)
    ids = np.array([codes.stuff.get(code, 0) for code in found], np.int32)
    hidden = np.array([code in codes.void or codes.stuff.get(code) == 0 for code in found], bool)
    return ids[place], hidden[place] if hidden.any() else None


def one_class(things: np.ndarray, codes: Codes, code: Code = 1, **more: object) -> Labels:
    """Labels in which every object has the class of one code."""
    numbers = np.unique(things[things > 0]).tolist()
    return Labels(things, dict.fromkeys(numbers, codes.things[code]), **more)  # type: ignore[arg-type]


def joined(*masks: np.ndarray | None) -> np.ndarray | None:
    """Where any of the masks is True; None if there is none."""
    there = [m for m in masks if m is not None]
    return np.logical_or.reduce(there) if there else None
