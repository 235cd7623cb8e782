"""Two other rules of panoptic quality, both on maps in which each stuff class is one segment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pano_med.metrics.overlap import Overlap, Side
from pano_med.metrics.quality import PQCounts, count, tally


def join_stuff(pairs: Overlap) -> Overlap:
    """The same table with all segments of one stuff class joined into one; crowds count as ordinary segments."""
    to_t, to_p = _joined(pairs, pairs.truth), _joined(pairs, pairs.prediction)
    num_p = len(to_p)
    keys, where = np.unique(to_t[pairs.t] * num_p + to_p[pairs.p], return_inverse=True)
    n = np.bincount(where, pairs.n, len(keys)).astype(np.int64)
    t, p = np.divmod(keys, num_p)
    return replace(pairs, truth=_move(pairs.truth, to_t), prediction=_move(pairs.prediction, to_p), t=t, p=p, n=n)


def torchmetrics_count(pairs: Overlap) -> PQCounts:
    """Counts by the rule of torchmetrics' PanopticQuality: void of *either* map is left out of the union.

    So a true segment that is mostly void in the prediction is forgiven, which rewards a model that abstains; crowds
    count as ordinary segments. Equal to the COCO rule where the prediction has no void and the truth no crowd.
    """
    pairs = join_stuff(pairs)
    truth, prediction, t, p, n = pairs.truth, pairs.prediction, pairs.t, pairs.p, pairs.n
    unknown = pairs.on(pairs.void()[t])
    abstained = np.bincount(t[p == 0], n[p == 0], len(truth.klass)).astype(np.int64)
    same = (truth.klass[t] == prediction.klass[p]) & (truth.klass[t] >= 0)
    union = truth.area[t] - abstained[t] + prediction.area[p] - unknown[p] - n
    hit = same & (2 * n > union)
    missed = truth.real & (2 * abstained <= truth.area)
    missed[t[hit]] = False
    wrong = prediction.real & (2 * unknown <= prediction.area)
    wrong[p[hit]] = False
    return tally(pairs, truth.klass[t[hit]], n[hit] / union[hit], prediction.klass[wrong], truth.klass[missed])


def dagger_count(pairs: Overlap) -> PQCounts:
    """Counts of PQ-dagger (Porzi et al. 2019, Seamless Scene Segmentation).

    Things as in PQ by the COCO rule. Stuff needs no match: the sum of IoU, however small, over the number of true
    segments. So that the same mean serves, stuff stores that number as `tp` and has no `fp` and no `fn`.
    """
    things = count(pairs).only([c.id for c in pairs.taxonomy.all if c.isthing])
    pairs = join_stuff(pairs)
    truth, prediction, t, p, n = pairs.truth, pairs.prediction, pairs.t, pairs.p, pairs.n
    stuff = truth.real & ~pairs.isthing(truth)
    same = stuff[t] & (truth.klass[t] == prediction.klass[p])
    union = truth.area[t] + prediction.area[p] - n - pairs.on(pairs.void()[t])[p]
    c = len(pairs.taxonomy.all)
    number = np.bincount(truth.klass[stuff], minlength=c)
    ious = np.bincount(truth.klass[t[same]], n[same] / union[same], c)
    return PQCounts(pairs.taxonomy, things.tp + number, things.fp, things.fn, things.iou + ious)


def _joined(pairs: Overlap, side: Side) -> npt.NDArray[np.int64]:
    """(N,) int64: the row that each row of `side` becomes part of."""
    to = np.arange(len(side.klass))
    stuff = np.flatnonzero(side.real & ~pairs.isthing(side))
    _, first, where = np.unique(side.klass[stuff], return_index=True, return_inverse=True)
    to[stuff] = stuff[first[where]]
    return to


def _move(side: Side, to: npt.NDArray[np.int64]) -> Side:
    area = np.bincount(to, side.area, len(to)).astype(np.int64)
    return Side(side.klass, area, np.zeros(len(to), np.bool_))
