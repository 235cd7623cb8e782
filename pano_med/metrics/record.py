"""Record: all that the conventions need to know of one image, without its pixels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pano_med.metrics.overlap import Overlap, overlap
from pano_med.metrics.quality import PQCounts, count
from pano_med.types import Panoptic

#: How far the centroids of one nucleus may lie apart: 12 px at 40x in HoVer-Net's scripts, which is 3 um.
RADIUS_UM, RADIUS_PX = 3.0, 12.0


@dataclass(frozen=True)
class Objects:
    """The things of one image in both maps, without crowds and without what lies on them or on ignored pixels.

    Attributes:
        truth_klass: (T,) int64, place of each true thing's category in `taxonomy.all`.
        prediction_klass: (P,) int64.
        truth_area: (T,) int64, pixels.
        prediction_area: (P,) int64.
        truth_centroid: (T, 2) float64, (row, column) in pixels.
        prediction_centroid: (P, 2) float64.
        t: (M,) int64, index of each overlapping pair into the truth.
        p: (M,) int64, into the prediction.
        n: (M,) int64, pixels shared.
    """

    truth_klass: npt.NDArray[np.int64]
    prediction_klass: npt.NDArray[np.int64]
    truth_area: npt.NDArray[np.int64]
    prediction_area: npt.NDArray[np.int64]
    truth_centroid: npt.NDArray[np.float64]
    prediction_centroid: npt.NDArray[np.float64]
    t: npt.NDArray[np.int64]
    p: npt.NDArray[np.int64]
    n: npt.NDArray[np.int64]

    @property
    def union(self) -> npt.NDArray[np.int64]:
        """(M,) int64: pixels of each pair together."""
        return np.asarray(self.truth_area[self.t] + self.prediction_area[self.p] - self.n)

    @property
    def empty(self) -> bool:
        """Nothing in the truth and nothing in the prediction."""
        return not (len(self.truth_area) or len(self.prediction_area))


@dataclass(frozen=True)
class Record:
    """One image, truth against prediction, as a convention sees it. Made by `Record.of`; it holds no pixels.

    Attributes:
        pairs: the table of overlaps.
        truth_centroid: (T + 2, 2) float64, (row, column), one row for each row of `pairs.truth`.
        prediction_centroid: (P + 1, 2) float64.
        radius: pixels that the centroids of one nucleus may lie apart.
        name: file or tile.
        tissue: organ, for the conventions that average over organs first.
        known: ids of the exhaustively drawn categories, or None for the COCO reading (void = unknown).
    """

    pairs: Overlap
    truth_centroid: npt.NDArray[np.float64]
    prediction_centroid: npt.NDArray[np.float64]
    radius: float = RADIUS_PX
    name: str = ""
    tissue: str = ""
    known: frozenset[int] | None = None

    @classmethod
    def of(
        cls,
        truth: Panoptic,
        prediction: Panoptic,
        *,
        name: str = "",
        tissue: str = "",
        known: Collection[int] | None = None,
        ignore: npt.NDArray[np.bool_] | None = None,
    ) -> Record:
        """Compare two maps of one image.

        The radius for centroids is 3 um where one of the maps knows its pixel size, else 12 px.

        Args:
            truth: what the annotators drew.
            prediction: what is judged.
            name: file or tile, for messages.
            tissue: organ.
            known: categories that the truth draws exhaustively (see `panoptic_quality`), or None.
            ignore: (H, W) bool, True where nothing is known, or None.

        Raises:
            ValueError: sizes or taxonomies differ.
        """
        try:
            pairs = overlap(truth, prediction, ignore)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") if name else error from None
        size = truth.pixel_size_um or prediction.pixel_size_um
        radius = RADIUS_PX if size is None else RADIUS_UM / size
        last = np.full((1, 2), np.nan)
        centroids = np.concatenate([_centroids(truth), last]), _centroids(prediction)
        return cls(pairs, *centroids, radius, name, tissue, None if known is None else frozenset(known))

    @cached_property
    def coco(self) -> PQCounts:
        """Counts by the COCO rule; where `known` is given, of these classes alone and void is background to them."""
        if self.known is None:
            return count(self.pairs)
        return count(self.pairs, void_is_background=True).only(self.known)

    @cached_property
    def typed(self) -> PQCounts:
        """Counts of the things by class; whatever is no thing in the truth is background."""
        return count(self.pairs, void_is_background=True).only([c.id for c in self.pairs.taxonomy.all if c.isthing])

    @cached_property
    def untyped(self) -> PQCounts:
        """Counts of the things as one class; whatever is no thing in the truth is background."""
        merged = count(self.pairs.merged(), void_is_background=True)
        return merged.only([c.id for c in self.pairs.taxonomy.all if c.isthing])

    @cached_property
    def objects(self) -> Objects:
        """The things of both maps as one table."""
        pairs, truth, prediction = self.pairs, self.pairs.truth, self.pairs.prediction
        unjudged = (truth.crowd | pairs.void(is_background=True))[pairs.t]
        lost = pairs.on(unjudged)
        keep_t = pairs.isthing(truth) & ~truth.crowd
        keep_p = pairs.isthing(prediction) & (2 * lost <= prediction.area)
        inside = keep_t[pairs.t] & keep_p[pairs.p]
        return Objects(
            truth.klass[keep_t],
            prediction.klass[keep_p],
            truth.area[keep_t],
            (prediction.area - lost)[keep_p],
            self.truth_centroid[keep_t],
            self.prediction_centroid[keep_p],
            (np.cumsum(keep_t) - 1)[pairs.t[inside]],
            (np.cumsum(keep_p) - 1)[pairs.p[inside]],
            pairs.n[inside],
        )


def _centroids(panoptic: Panoptic) -> npt.NDArray[np.float64]:
    """(N + 1, 2) float64: mean (row, column) of each thing, one line per segment; nan for void and for stuff."""
    things = {s.id for s in panoptic.things}
    rows = panoptic.lookup({s.id: i for i, s in enumerate(panoptic.segments, 1) if s.id in things}).ravel()
    where = np.flatnonzero(rows)
    rows, length = rows[where], len(panoptic.segments) + 1
    area = np.bincount(rows, minlength=length)
    sums = [np.bincount(rows, place, length) for place in np.divmod(where, panoptic.size[1])]
    return np.stack(sums, axis=1) / np.where(area, area, np.nan)[:, None]
