"""Segment and Panoptic: a map in which every pixel has one class and one instance. NumPy only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pano_med.types.taxonomy import Taxonomy


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map: a stuff region or one thing.

    Attributes:
        id: its number in `Panoptic.ids`, at least 1.
        category_id: its class in the taxonomy.
        score: 0..1, or None where nobody gave one (truth, stuff).
        area: number of pixels.
        iscrowd: True for a region of things that the annotators did not separate (COCO).
    """

    id: int
    category_id: int
    score: float | None = None
    area: int = 0
    iscrowd: bool = False

    def __post_init__(self) -> None:
        if self.id < 1:
            raise ValueError(f"a segment id must be at least 1 (0 is void), got {self.id}")
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError(f"a score lies between 0 and 1, segment {self.id} has {self.score}")


@dataclass(frozen=True)
class Panoptic:
    """A panoptic map: every pixel has one segment, every segment one class.

    The map keeps its own read-only view of `ids`; the caller's array is never edited.

    Attributes:
        ids: (H, W) int32, the segment of each pixel, 0 = void.
        segments: one for each id in the map, in the order of ids.
        taxonomy: the table the category ids belong to.
        pixel_size_um: side of a pixel in micrometres, or None if unknown.

    Raises:
        ValueError: ids and segments disagree, an area is wrong, a category is not in the taxonomy.
        TypeError: `ids` is not a two-dimensional integer array.
    """

    ids: np.ndarray
    segments: tuple[Segment, ...]
    taxonomy: Taxonomy
    pixel_size_um: float | None = None

    def __post_init__(self) -> None:
        self._take(self.ids)
        self._agree(count_ids(self.ids))

    def _take(self, ids: np.ndarray) -> None:
        """Keep a read-only int32 view of the ids."""
        ids = np.asarray(ids)
        if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
            raise TypeError(f"panoptic ids must be an (H, W) integer array, got shape {ids.shape} of {ids.dtype}")
        check_pixel_size(self.pixel_size_um)
        if ids.size and (ids.min() < 0 or ids.max() > np.iinfo(np.int32).max):
            raise ValueError(f"panoptic ids must fit 0..2^31-1, got {ids.min()}..{ids.max()}")
        ids = ids.astype(np.int32, copy=False).view()
        ids.flags.writeable = False
        object.__setattr__(self, "ids", ids)

    def _agree(self, found: Mapping[int, int]) -> None:
        """Sort the segments and refuse those that are not the ids and areas `found` in the map."""
        object.__setattr__(self, "segments", tuple(sorted(self.segments, key=lambda s: s.id)))
        listed = [s.id for s in self.segments]
        if len(set(listed)) < len(listed):
            twice = [i for i in listed if listed.count(i) > 1][:2]
            raise ValueError(f"each segment id may be listed once, got {twice}")
        if set(listed) != set(found):
            raise ValueError(
                "the map and the list of segments must name the same ids; only in the map: "
                f"{sorted(set(found) - set(listed))[:5]}, only in the list: {sorted(set(listed) - set(found))[:5]}"
            )
        known = {c.id for c in self.taxonomy.all}
        for s in self.segments:
            if s.category_id not in known:
                raise ValueError(
                    f"segment {s.id} has category {s.category_id}, taxonomy {self.taxonomy.name!r} has {known}"
                )
            if s.area != found[s.id]:
                raise ValueError(f"segment {s.id} says it covers {s.area} px, the map holds {found[s.id]}")

    @classmethod
    def from_ids(
        cls,
        ids: np.ndarray,
        category_ids: Mapping[int, int],
        taxonomy: Taxonomy,
        pixel_size_um: float | None = None,
        scores: Mapping[int, float] | None = None,
        crowds: Iterable[int] = (),
    ) -> Panoptic:
        """Make a map from segment ids and their categories; areas are counted here.

        Args:
            ids: (H, W) integers, 0 = void.
            category_ids: category of each segment id; ids that cover no pixel are left out.
            taxonomy: the table of the categories.
            pixel_size_um: side of a pixel, or None.
            scores: score of a segment id, where there is one.
            crowds: segment ids that are crowds.

        Raises:
            ValueError: an id in the map has no category.
        """
        areas = count_ids(np.asarray(ids))
        return cls._of_areas(ids, areas, category_ids, taxonomy, pixel_size_um, scores, crowds)

    @classmethod
    def _of_areas(
        cls,
        ids: np.ndarray,
        areas: Mapping[int, int],
        category_ids: Mapping[int, int],
        taxonomy: Taxonomy,
        pixel_size_um: float | None = None,
        scores: Mapping[int, float] | None = None,
        crowds: Iterable[int] = (),
    ) -> Panoptic:
        """`from_ids` for those in this package who have just counted the pixels of each id; nobody counts again."""
        scores, crowds = scores or {}, set(crowds)
        missing = sorted(set(areas) - set(category_ids))
        if missing:
            raise ValueError(f"each id in the map needs a category, {missing[:5]} have none")
        segments = tuple(Segment(i, category_ids[i], scores.get(i), a, i in crowds) for i, a in areas.items())
        new = object.__new__(cls)  # past `__post_init__`, which would count
        for name, value in (("segments", segments), ("taxonomy", taxonomy), ("pixel_size_um", pixel_size_um)):
            object.__setattr__(new, name, value)
        new._take(ids)
        new._agree(areas)
        return new

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.ids.shape

    @property
    def things(self) -> tuple[Segment, ...]:
        """The segments that are things."""
        return tuple(s for s in self.segments if self.taxonomy[s.category_id].isthing)

    @property
    def stuff(self) -> tuple[Segment, ...]:
        """The segments that are stuff."""
        return tuple(s for s in self.segments if not self.taxonomy[s.category_id].isthing)

    def plain(self) -> Panoptic:
        """The same segments without the types of things, see `Taxonomy.plain`."""
        taxonomy = self.taxonomy.plain()
        if taxonomy is self.taxonomy:
            return self
        (one,) = taxonomy.things
        things = {s.id for s in self.things}
        segments = tuple(replace(s, category_id=one.id) if s.id in things else s for s in self.segments)
        return replace(self, segments=segments, taxonomy=taxonomy)

    def semantic(self) -> np.ndarray:
        """(H, W) int32: the category id of each pixel, `Taxonomy.VOID` where there is none."""
        return self.lookup({s.id: s.category_id for s in self.segments})

    def lookup(self, table: Mapping[int, int]) -> np.ndarray:
        """(H, W) int32: `table` applied to each pixel's segment id; ids not in the table become 0."""
        old = np.array([0, *(s.id for s in self.segments)])
        new = np.array([0, *(table.get(s.id, 0) for s in self.segments)], np.int32)
        if old[-1] <= 4 * self.ids.size + 1024:  # a dense table beats a search wherever it is small
            dense = np.zeros(old[-1] + 1, np.int32)
            dense[old] = new
            spread: np.ndarray = dense[self.ids]
            return spread
        found: np.ndarray = new[np.searchsorted(old, self.ids)]
        return found


def check_pixel_size(pixel_size_um: float | None) -> None:
    """Raise ValueError unless the pixel size is None or a positive, finite number of micrometres."""
    if pixel_size_um is not None and not (np.isfinite(pixel_size_um) and pixel_size_um > 0):
        raise ValueError(f"pixel_size_um must be a positive number of micrometres or None, got {pixel_size_um}")


def count_ids(ids: np.ndarray) -> dict[int, int]:
    """Pixels of each id other than 0 in an integer array, in the order of ids."""
    flat = ids.ravel()
    if flat.size and flat.min() >= 0 and flat.max() <= 4 * flat.size + 1024:  # counting beats sorting
        counts = np.bincount(flat)
        found = np.flatnonzero(counts)
        return {int(i): int(counts[i]) for i in found if i}
    found, counts = np.unique(flat, return_counts=True)
    return {int(i): int(n) for i, n in zip(found, counts, strict=True) if i}
