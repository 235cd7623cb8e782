"""Do two heads tell one story? Pixels in which a semantic map and instance masks contradict each other. NumPy only.

A pixel that the semantic head calls stroma while an instance covers it, or calls nucleus while none does, is a
contradiction. Every merge hides it; here it is counted before one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pano_med.types import Taxonomy


class Story(IntEnum):
    """What the two heads say of one pixel together."""

    #: No instance, and the semantic head sees stuff: no contradiction.
    BOTH_STUFF = 0
    #: An instance, and the semantic head sees its class: no contradiction.
    BOTH_THING = 1
    #: An instance, where the semantic head sees stuff.
    INSTANCE_ON_STUFF = 2
    #: An instance, where the semantic head sees a thing of another class.
    OTHER_THING = 3
    #: The semantic head sees a thing, and no instance is there.
    NO_INSTANCE = 4


@dataclass(frozen=True)
class Contradictions:
    """Pixels of each kind. Counts of two images add: `a + b`, `sum(counts)`.

    Attributes:
        pixels: number of pixels of each `Story`, in its order.
    """

    pixels: tuple[int, ...] = (0,) * len(Story)

    @classmethod
    def of(cls, stories: npt.NDArray[np.uint8]) -> Contradictions:
        """Count a map made by `contradiction_map`."""
        return cls(tuple(int(n) for n in np.bincount(stories.ravel(), minlength=len(Story))))

    def __add__(self, other: Contradictions) -> Contradictions:
        """Counts of both sets of images."""
        if not isinstance(other, Contradictions):
            return NotImplemented
        return Contradictions(tuple(a + b for a, b in zip(self.pixels, other.pixels, strict=True)))

    def __radd__(self, other: int) -> Contradictions:
        """Lets `sum` begin at 0."""
        return self if other == 0 else NotImplemented

    @property
    def instance_px(self) -> int:
        """Pixels that at least one instance covers."""
        return self.pixels[Story.BOTH_THING] + self.pixels[Story.INSTANCE_ON_STUFF] + self.pixels[Story.OTHER_THING]

    @property
    def thing_px(self) -> int:
        """Pixels that the semantic head gives to things."""
        return self.pixels[Story.BOTH_THING] + self.pixels[Story.OTHER_THING] + self.pixels[Story.NO_INSTANCE]

    @property
    def on_stuff(self) -> float:
        """Share of the instances' pixels that the semantic head calls stuff, 0..1; nan without instances."""
        return _share(self.pixels[Story.INSTANCE_ON_STUFF], self.instance_px)

    @property
    def other_thing(self) -> float:
        """Share of the instances' pixels that the semantic head gives to another thing class, 0..1; nan likewise."""
        return _share(self.pixels[Story.OTHER_THING], self.instance_px)

    @property
    def no_instance(self) -> float:
        """Share of the semantic head's thing pixels that no instance covers, 0..1; nan if it sees no thing."""
        return _share(self.pixels[Story.NO_INSTANCE], self.thing_px)

    @property
    def contradicted(self) -> float:
        """Share of the pixels in which any head sees a thing on which the two disagree, 0..1; nan if there is none."""
        wrong = sum(self.pixels[Story.INSTANCE_ON_STUFF :])
        return _share(wrong, wrong + self.pixels[Story.BOTH_THING])


def contradiction_map(
    semantic: npt.NDArray[Any],
    masks: Sequence[npt.NDArray[Any]],
    category_ids: Sequence[int],
    taxonomy: Taxonomy,
    corners: Sequence[tuple[int, int]] | None = None,
) -> npt.NDArray[np.uint8]:
    """What the two heads say of each pixel together.

    Where instances overlap, one of the pixel's semantic class is enough for `BOTH_THING`. An instance whose type
    nobody knows (the taxonomy's `unclassed`) agrees with every thing.

    Args:
        semantic: (H, W) integers, the category id of each pixel (never `unclassed`; void counts as stuff).
        masks: one bool array per instance, (H, W), or its (h, w) window where `corners` are given.
        category_ids: category of each instance.
        taxonomy: the table of the categories.
        corners: (row, column) of each window's first pixel.

    Returns:
        (H, W) uint8, values of `Story`.

    Raises:
        ValueError: the numbers of masks, categories and corners differ, a mask leaves the map, or a category is no
            thing.
    """
    corners = [(0, 0)] * len(masks) if corners is None else corners
    if not len(masks) == len(category_ids) == len(corners):
        raise ValueError(
            f"each mask needs a category (and a corner, if any has one), got {len(masks)} masks, "
            f"{len(category_ids)} categories and {len(corners)} corners"
        )
    things = [c.id for c in taxonomy.all if c.isthing]
    sees_thing = np.isin(semantic, things)
    covered, agreed = np.zeros(semantic.shape, bool), np.zeros(semantic.shape, bool)
    for i, (mask, category, (y, x)) in enumerate(zip(masks, category_ids, corners, strict=True)):
        inside, window = np.asarray(mask, bool), (slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1]))
        if min(y, x) < 0 or covered[window].shape != inside.shape:
            where = f"mask {i} of {inside.shape} at {(y, x)}"
            raise ValueError(f"a mask must lie in the map {semantic.shape}, {where} does not")
        if category not in things:
            raise ValueError(f"an instance must be a thing of taxonomy {taxonomy.name!r}, instance {i} is {category}")
        unknown = taxonomy.unclassed is not None and category == taxonomy.unclassed.id
        covered[window] |= inside
        agreed[window] |= inside & (sees_thing[window] if unknown else semantic[window] == category)
    stories = np.full(semantic.shape, Story.BOTH_STUFF, np.uint8)
    stories[sees_thing & ~covered] = Story.NO_INSTANCE
    stories[sees_thing & covered] = Story.OTHER_THING
    stories[~sees_thing & covered] = Story.INSTANCE_ON_STUFF
    stories[agreed] = Story.BOTH_THING
    return stories


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
