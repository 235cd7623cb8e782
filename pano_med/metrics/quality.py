"""Panoptic quality by the COCO rule, as counts that add over images, tiles and workers. NumPy only.

For each class c: PQ = sum of IoU over matches / (TP + FP/2 + FN/2) = SQ * RQ, with SQ = mean IoU of the matches and
RQ = TP / (TP + FP/2 + FN/2) (Kirillov et al. 2019, Panoptic Segmentation, CVPR; rules as in panopticapi).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pano_med.metrics.overlap import Overlap, alike, check_taxonomies, overlap, thing_class
from pano_med.types import Panoptic, Taxonomy

Kind = Literal["all", "things", "stuff"]


@dataclass(frozen=True)
class PQCounts:
    """What PQ is made of, per class. Counts of two images add: `a + b`, `sum(counts)`.

    Attributes:
        taxonomy: its `all` gives the order of the arrays.
        tp: (C,) int64, matched pairs.
        fp: (C,) int64, predicted segments without a match.
        fn: (C,) int64, true segments without a match.
        iou: (C,) float64, sum of IoU over the matched pairs.
    """

    taxonomy: Taxonomy
    tp: npt.NDArray[np.int64]
    fp: npt.NDArray[np.int64]
    fn: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]

    @classmethod
    def zero(cls, taxonomy: Taxonomy) -> PQCounts:
        """Counts of no image at all."""
        c = len(taxonomy.all)
        return cls(taxonomy, np.zeros(c, np.int64), np.zeros(c, np.int64), np.zeros(c, np.int64), np.zeros(c))

    def __add__(self, other: PQCounts) -> PQCounts:
        """Counts of both sets of images.

        Raises:
            ValueError: they speak different taxonomies.
        """
        if not isinstance(other, PQCounts):
            return NotImplemented
        check_taxonomies(self.taxonomy, other.taxonomy)
        return PQCounts(
            self.taxonomy, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou + other.iou
        )

    def __radd__(self, other: int) -> PQCounts:
        return self if other == 0 else NotImplemented  # sum() starts at 0

    def only(self, categories: Collection[int]) -> PQCounts:
        """The same with every other category's counts at zero.

        Raises:
            KeyError: a category id that the taxonomy lacks.
        """
        ids = {self.taxonomy[c].id for c in categories}
        keep = np.array([c.id in ids for c in self.taxonomy.all])
        return PQCounts(self.taxonomy, self.tp * keep, self.fp * keep, self.fn * keep, self.iou * keep)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(C,) bool: classes with at least one TP, FP or FN; only these enter a mean."""
        return np.asarray(self.tp + self.fp + self.fn > 0)

    @property
    def pq(self) -> dict[int, float]:
        """Panoptic quality of each category id, nan where the class is not `present`."""
        return self._by_class(0)

    @property
    def sq(self) -> dict[int, float]:
        """Segmentation quality of each category id; 0 without a match, nan where the class is not `present`."""
        return self._by_class(1)

    @property
    def rq(self) -> dict[int, float]:
        """Recognition quality of each category id, nan where the class is not `present`."""
        return self._by_class(2)

    def scores(self) -> npt.NDArray[np.float64]:
        """(3, C) float64: PQ, SQ and RQ in 0..1; nan where the class is not `present`."""
        whole = self.tp + self.fp / 2 + self.fn / 2
        whole = np.where(self.present, whole, np.nan)
        sq = np.where(self.present, self.iou / np.maximum(self.tp, 1), np.nan)
        return np.stack([self.iou / whole, sq, self.tp / whole])

    def mean(self, kind: Kind = "all") -> tuple[float, float, float]:
        """(PQ, SQ, RQ), each the mean over the classes of that kind that are `present`; nan if none is.

        Raises:
            ValueError: `kind` is not "all", "things" or "stuff".
        """
        if kind not in ("all", "things", "stuff"):
            raise ValueError(f"a mean goes over 'all', 'things' or 'stuff', got {kind!r}")
        wanted = np.array([kind == "all" or c.isthing == (kind == "things") for c in self.taxonomy.all])
        chosen = wanted & self.present
        if not chosen.any():
            return (math.nan, math.nan, math.nan)
        pq, sq, rq = self.scores()[:, chosen].mean(axis=1)
        return float(pq), float(sq), float(rq)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: PQ, SQ and RQ of each kind and of each class with its counts; None where undefined."""
        kinds: tuple[Kind, ...] = ("all", "things", "stuff")
        means: dict[str, Any] = {kind: _named(self.mean(kind)) for kind in kinds}
        scores = self.scores()
        classes = [
            {
                "id": c.id,
                "name": c.name,
                "isthing": c.isthing,
                "tp": int(self.tp[i]),
                "fp": int(self.fp[i]),
                "fn": int(self.fn[i]),
                "iou_sum": float(self.iou[i]),
                **_named(scores[:, i]),
            }
            for i, c in enumerate(self.taxonomy.all)
        ]
        return {**means, "classes": classes}

    def _by_class(self, row: int) -> dict[int, float]:
        return {c.id: float(v) for c, v in zip(self.taxonomy.all, self.scores()[row], strict=True)}


def panoptic_quality(
    truth: Panoptic,
    prediction: Panoptic,
    *,
    categories: Collection[int] | None = None,
    void_is_background: bool = False,
    ignore: npt.NDArray[np.bool_] | None = None,
) -> PQCounts:
    """Count matches and misses of one image by the COCO rule.

    - A predicted and a true segment match if they have the same class and IoU > 0.5, strictly; so no segment can have
      two matches. The union leaves out the predicted pixels that lie on the truth's void.
    - Unmatched true segments are FN, except crowds, which never match and are never missed. Crowd pixels stay in the
      union.
    - Unmatched predicted segments are FP, unless more than half of them lies on void and crowds of their own class.
    - What the prediction leaves void is simply not found: it costs the true segment and is never an FP.

    Where an image has several crowds of one class, panopticapi looks at the last one only; here all of them excuse.
    COCO has one per class and image, so both give the same there.

    Void in the truth means "nobody knows". A set that draws every nucleus but no tissue has void between its nuclei
    all the same, and there a predicted nucleus is wrong. Say so: `categories` = the exhaustively drawn classes
    (`Sample.known`) and `void_is_background=True`; `ignore` (`Sample.ignore`) keeps what is truly unknown out.

    Args:
        truth: what the annotators drew.
        prediction: what is judged.
        categories: ids of the categories to count, None = all.
        void_is_background: unlabelled pixels of the truth hold none of the categories, instead of being unknown.
        ignore: (H, W) bool, pixels that are void whatever the truth holds there, or None.

    Raises:
        ValueError: sizes or taxonomies differ.
        KeyError: `categories` names an id that the taxonomy lacks.
    """
    counts = count(overlap(truth, prediction, ignore), void_is_background)
    return counts if categories is None else counts.only(categories)


class Matches(NamedTuple):
    """Which segments of an `Overlap` match, and which are left alone.

    Attributes:
        t: (M,) int64, row of each match in `truth`.
        p: (M,) int64, its row in `prediction`.
        iou: (M,) float64, above 0.5.
        wrong: (P,) bool, rows of `prediction` that are false positives.
        missed: (T,) bool, rows of `truth` that are false negatives.
    """

    t: npt.NDArray[np.int64]
    p: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]
    wrong: npt.NDArray[np.bool_]
    missed: npt.NDArray[np.bool_]


def match(pairs: Overlap, void_is_background: bool = False) -> Matches:
    """The rule of `panoptic_quality` on a table of overlaps, segment by segment."""
    truth, prediction, t, p, n = pairs.truth, pairs.prediction, pairs.t, pairs.p, pairs.n
    void = pairs.void(void_is_background)[t]
    same = (truth.klass[t] == prediction.klass[p]) & (truth.klass[t] >= 0)
    union = truth.area[t] + prediction.area[p] - n - pairs.on(void)[p]
    hit = same & ~truth.crowd[t] & (2 * n > union)  # IoU > 1/2 in whole numbers
    excused = 2 * pairs.on(void | (same & truth.crowd[t])) > prediction.area
    missed = truth.real & ~truth.crowd
    missed[t[hit]] = False
    wrong = prediction.real & ~excused
    wrong[p[hit]] = False
    return Matches(t[hit], p[hit], n[hit] / union[hit], wrong, missed)


def count(pairs: Overlap, void_is_background: bool = False) -> PQCounts:
    """The rule of `panoptic_quality` on a table of overlaps."""
    found = match(pairs, void_is_background)
    truth, prediction = pairs.truth.klass, pairs.prediction.klass
    return tally(pairs, truth[found.t], found.iou, prediction[found.wrong], truth[found.missed])


def tally(
    pairs: Overlap,
    hits: npt.NDArray[np.int64],
    ious: npt.NDArray[np.float64],
    wrong: npt.NDArray[np.int64],
    missed: npt.NDArray[np.int64],
) -> PQCounts:
    """Counts from the classes of the matches (with their IoU), of the false positives and of the false negatives."""
    c = len(pairs.taxonomy.all)
    tp, fp, fn = (np.bincount(classes, minlength=c) for classes in (hits, wrong, missed))
    return PQCounts(pairs.taxonomy, tp, fp, fn, np.bincount(hits, ious, c).astype(np.float64))


def total(counts: Iterable[PQCounts]) -> PQCounts:
    """Sum of at least one PQCounts; like `sum`, and quicker for many.

    Raises:
        ValueError: there are none, or they speak different taxonomies.
    """
    items = list(counts)
    if not items:
        raise ValueError("a sum of counts needs at least one image, got none")
    for other in items[1:]:
        check_taxonomies(items[0].taxonomy, other.taxonomy)
    tp, fp, fn = (np.sum([getattr(c, k) for c in items], axis=0) for k in ("tp", "fp", "fn"))
    return PQCounts(items[0].taxonomy, tp, fp, fn, np.sum([c.iou for c in items], axis=0))


def things_quality(
    truth: Panoptic, prediction: Panoptic, ignore: npt.NDArray[np.bool_] | None = None
) -> PQCounts:
    """Things without their types ("are the nuclei found?"), where the truth draws every thing.

    Every thing counts as the one class `thing_class(taxonomy)`; stuff is not scored; unlabelled pixels hold no thing.
    `.mean("things")` gives (PQ, SQ, RQ). One of the maps may be plain already (`Panoptic.plain`).
    """
    if not alike(truth.taxonomy, prediction.taxonomy):
        truth, prediction = truth.plain(), prediction.plain()
    one = {thing_class(truth.taxonomy).id}
    return count(overlap(truth, prediction, ignore).merged(), void_is_background=True).only(one)


def things_only(panoptic: Panoptic) -> Panoptic:
    """The same map with its stuff turned into void."""
    return replace(panoptic, ids=panoptic.lookup({s.id: s.id for s in panoptic.things}), segments=panoptic.things)


def _named(values: Iterable[float]) -> dict[str, float | None]:
    return {k: None if math.isnan(v) else float(v) for k, v in zip(("pq", "sq", "rq"), values, strict=True)}
