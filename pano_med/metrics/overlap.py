"""How the segments of two maps share pixels: the one pass over the image that every metric of this room starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pano_med.types import Category, Panoptic, Taxonomy

Array = npt.NDArray[np.generic]

#: Pixels counted in one go; the 64-bit pair numbers of a strip stay in the processor's cache.
_STRIP = 1 << 18
#: Up to this many cells a table of all pairs is counted directly; beyond it, only the pairs that occur are kept.
_MAX_CELLS = 1 << 23


@dataclass(frozen=True)
class Side:
    """The segments of one map as columns. Row 0 is what no segment covers; a truth's last row is what is ignored.

    Attributes:
        klass: (N,) int64, place of the row's category in `taxonomy.all`; -1 for the rows that are no segment.
        area: (N,) int64, pixels; ignored pixels are already taken out of a truth's segments.
        crowd: (N,) bool.
    """

    klass: npt.NDArray[np.int64]
    area: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]

    @property
    def real(self) -> npt.NDArray[np.bool_]:
        """(N,) bool: rows that are a segment with at least one pixel."""
        return np.asarray((self.klass >= 0) & (self.area > 0))


@dataclass(frozen=True)
class Overlap:
    """Two maps of one image as a table of overlapping pairs; it holds segments, not pixels, so it is small.

    Attributes:
        taxonomy: the table both maps speak.
        truth: the truth's segments.
        prediction: the prediction's segments.
        t: (M,) int64, row of the pair in `truth`.
        p: (M,) int64, row of the pair in `prediction`.
        n: (M,) int64, pixels they share, at least 1.
    """

    taxonomy: Taxonomy
    truth: Side
    prediction: Side
    t: npt.NDArray[np.int64]
    p: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]

    def void(self, is_background: bool = False) -> npt.NDArray[np.bool_]:
        """(N,) bool: the truth's rows on which nothing is judged; with `is_background` only what is ignored."""
        rows = np.zeros(len(self.truth.klass), np.bool_)
        rows[-1], rows[0] = True, not is_background
        return rows

    def isthing(self, side: Side) -> npt.NDArray[np.bool_]:
        """(N,) bool: the rows of `side` that are things with at least one pixel."""
        kinds = np.array([c.isthing for c in self.taxonomy.all] + [False])  # -1, no segment, finds the last entry
        return np.asarray(kinds[side.klass] & side.real)

    def on(self, pairs: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """(N,) int64: pixels of each predicted row that lie in the chosen pairs."""
        return _sum(self.p[pairs], self.n[pairs], len(self.prediction.klass))

    def merged(self) -> Overlap:
        """The same table with every thing in one class (see `thing_class`)."""
        one = self.taxonomy.all.index(thing_class(self.taxonomy))
        return replace(self, truth=self._merge(self.truth, one), prediction=self._merge(self.prediction, one))

    def _merge(self, side: Side, one: int) -> Side:
        return replace(side, klass=np.where(self.isthing(side), one, side.klass))


def thing_class(taxonomy: Taxonomy) -> Category:
    """The class that stands for every thing where types do not matter: `unclassed`, else the first thing.

    Raises:
        ValueError: the taxonomy has no things.
    """
    if taxonomy.unclassed is not None:
        return taxonomy.unclassed
    if not taxonomy.things:
        raise ValueError(f"merging things needs a thing in the taxonomy, {taxonomy.name!r} has stuff only")
    return taxonomy.things[0]


def overlap(truth: Panoptic, prediction: Panoptic, ignore: npt.NDArray[np.bool_] | None = None) -> Overlap:
    """Count the pixels that each segment of the truth shares with each segment of the prediction.

    Args:
        truth: what the annotators drew.
        prediction: what is judged, same size and same categories.
        ignore: (H, W) bool, True where nothing is known, or None.

    Raises:
        ValueError: the maps differ in size or in their categories, or `ignore` in size.
    """
    check_pair(truth, prediction, ignore)
    rows_t, rows_p = _rows(truth), _rows(prediction)
    if ignore is not None:
        rows_t = np.where(ignore, np.int32(len(truth.segments) + 1), rows_t)
    num_t, num_p = len(truth.segments) + 2, len(prediction.segments) + 1
    pairs, n = _count_pairs(rows_t.ravel(), rows_p.ravel(), num_t, num_p)
    t, p = np.divmod(pairs, num_p)
    return Overlap(truth.taxonomy, _side(truth, _sum(t, n, num_t)), _side(prediction, _sum(p, n, num_p)), t, p, n)


def check_pair(truth: Panoptic, prediction: Panoptic, ignore: npt.NDArray[np.bool_] | None = None) -> None:
    """Raise ValueError unless both maps (and the mask) cover the same pixels with the same categories."""
    if truth.size != prediction.size:
        raise ValueError(f"truth and prediction must be of one size, got {truth.size} and {prediction.size}")
    if ignore is not None and (ignore.shape != truth.size or ignore.dtype != np.bool_):
        raise ValueError(f"ignore must be a bool mask of size {truth.size}, got {ignore.shape} of {ignore.dtype}")
    check_taxonomies(truth.taxonomy, prediction.taxonomy)


def alike(one: Taxonomy, other: Taxonomy) -> bool:
    """Whether both tables have the same categories (id, name, kind, order); colours may differ."""
    return one is other or _rows_of(one) == _rows_of(other)


def _rows_of(taxonomy: Taxonomy) -> list[tuple[int, str, bool]]:
    return [(c.id, c.name, c.isthing) for c in taxonomy.all]


def check_taxonomies(one: Taxonomy, other: Taxonomy) -> None:
    """Raise ValueError unless both tables are `alike`."""
    if not alike(one, other):
        odd = sorted(set(_rows_of(one)) ^ set(_rows_of(other)))[:4] or "the same in another order"
        raise ValueError(f"both sides must have the same categories, {one.name!r} and {other.name!r} differ: {odd}")


def _rows(panoptic: Panoptic) -> npt.NDArray[np.int32]:
    """(H, W) int32: 0 outside every segment, else 1 + the place of the pixel's segment."""
    return panoptic.lookup({s.id: i for i, s in enumerate(panoptic.segments, 1)})


def _side(panoptic: Panoptic, area: npt.NDArray[np.int64]) -> Side:
    place = {c.id: i for i, c in enumerate(panoptic.taxonomy.all)}
    klass, crowd = np.full(len(area), -1, np.int64), np.zeros(len(area), np.bool_)
    inner = slice(1, 1 + len(panoptic.segments))
    klass[inner] = [place[s.category_id] for s in panoptic.segments]
    crowd[inner] = [s.iscrowd for s in panoptic.segments]
    return Side(klass, area, crowd)


def _count_pairs(
    t: npt.NDArray[np.int32], p: npt.NDArray[np.int32], num_t: int, num_p: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The pair numbers t * num_p + p that occur, in order, and how often each does."""
    strips = (t[i : i + _STRIP].astype(np.int64) * num_p + p[i : i + _STRIP] for i in range(0, t.size, _STRIP))
    if num_t * num_p <= _MAX_CELLS:
        table = np.zeros(num_t * num_p, np.int64)
        for strip in strips:
            low = int(strip.min())
            counts = np.bincount(strip - low)
            table[low : low + len(counts)] += counts
        pairs = np.flatnonzero(table)
        return pairs, table[pairs]
    found = [np.unique(strip, return_counts=True) for strip in strips]
    pairs, where = np.unique(np.concatenate([f[0] for f in found]), return_inverse=True)
    return pairs, _sum(where, np.concatenate([f[1] for f in found]), len(pairs))


def _sum(rows: npt.NDArray[np.int64], n: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """Sum of n for each row number; exact, because pixel counts stay far below 2^53."""
    return np.bincount(rows, n, length).astype(np.int64)
