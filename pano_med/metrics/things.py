"""Every thing of one image by itself: found or missed, right or wrong, and how well. NumPy, no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pano_med.metrics.overlap import overlap
from pano_med.metrics.quality import match
from pano_med.types import Panoptic


@dataclass(frozen=True)
class ThingTable:
    """The things of one image that PQ counts, one row each; types play no part. Made by `things_table`.

    Sums over the rows are the counts of `things_quality`: TP = `iou > 0` on either side, FN and FP = `iou == 0`.

    Attributes:
        truth_id: (T,) int64, segment ids of the true things, crowds and what is ignored left out.
        truth_iou: (T,) float64, IoU with the predicted thing that it matches (above 0.5), 0 where it is missed.
        found_id: (P,) int64, segment ids of the predicted things, those that nobody judges left out.
        found_iou: (P,) float64, IoU with the true thing that it matches, 0 where it is a false positive.
        score: (P,) float64, 0..1, nan where a predicted thing has none.
    """

    truth_id: npt.NDArray[np.int64]
    truth_iou: npt.NDArray[np.float64]
    found_id: npt.NDArray[np.int64]
    found_iou: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]


def things_table(
    truth: Panoptic, prediction: Panoptic, ignore: npt.NDArray[np.bool_] | None = None
) -> ThingTable:
    """Match the things of one image as `things_quality` does, and say it of each.

    Args:
        truth: what the annotators drew; it draws every thing, so unlabelled pixels hold none.
        prediction: what is judged, same size and categories.
        ignore: (H, W) bool, True where nothing is known, or None.

    Raises:
        ValueError: sizes or categories differ.
    """
    pairs = overlap(truth, prediction, ignore).merged()
    found = match(pairs, void_is_background=True)
    thing_t, thing_p = pairs.isthing(pairs.truth), pairs.isthing(pairs.prediction)
    iou_t, iou_p = np.zeros(len(thing_t)), np.zeros(len(thing_p))
    iou_t[found.t], iou_p[found.p] = found.iou, found.iou
    keep_t, keep_p = thing_t & (found.missed | (iou_t > 0)), thing_p & (found.wrong | (iou_p > 0))
    name_t = np.array([0, *(s.id for s in truth.segments), 0], np.int64)
    name_p = np.array([0, *(s.id for s in prediction.segments)], np.int64)
    score = np.array([np.nan, *(np.nan if s.score is None else s.score for s in prediction.segments)])
    return ThingTable(name_t[keep_t], iou_t[keep_t], name_p[keep_p], iou_p[keep_p], score[keep_p])
