"""Scores of single images from the histology of nuclei: AJI, AJI+, Dice, Dice2, detection, counts.

Each takes a `Record`. An image with nothing in the truth and nothing in the prediction has no score: nan, and the
mean over images leaves it out. Names of the lists of conventions: `pano_med.metrics.conventions`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pano_med.metrics.record import Objects, Record

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Detection(NamedTuple):
    """Centroids of one image, matched without looking at types. Arrays have one entry per class of the taxonomy.

    Attributes:
        both: pairs in which both sides have the class.
        only_prediction: pairs in which only the prediction has it.
        only_truth: pairs in which only the truth has it.
        extra: predictions of the class without a partner.
        missed: true things of the class without a partner.
        pairs: number of pairs.
    """

    both: Ints
    only_prediction: Ints
    only_truth: Ints
    extra: Ints
    missed: Ints
    pairs: int


def aji(record: Record) -> float:
    """Aggregated Jaccard index: every true object takes the prediction of best IoU, which others may take as well.

    Sum of intersections / (sum of unions + areas of the objects that nobody took). Ties of IoU: the prediction with
    the smaller id (Kumar et al. 2017, IEEE TMI).
    """
    objects = record.objects
    order = np.lexsort((objects.p, -objects.n / objects.union, objects.t))  # best first within each true object
    _, first = np.unique(objects.t[order], return_index=True)
    return _jaccard(objects, order[first])


def aji_plus(record: Record) -> float:
    """AJI with one-to-one pairs: those of the assignment with the greatest sum of IoU (HoVer-Net, Graham 2019)."""
    objects = record.objects
    return _jaccard(objects, assign(objects.t, objects.p, objects.n / objects.union))


def dice(record: Record) -> float:
    """2 |T and P| / (|T| + |P|), T and P all pixels of things."""
    objects = record.objects
    return _ratio(2 * objects.n.sum(), objects.truth_area.sum() + objects.prediction_area.sum())


def dice2(record: Record) -> float:
    """Sum of 2 |t and p| over every pair that overlaps / sum of |t| + |p| over the same; 0 if no pair overlaps."""
    objects = record.objects
    if not len(objects.n):
        return math.nan if objects.empty else 0.0
    return _ratio(2 * objects.n.sum(), (objects.union + objects.n).sum())


def detection(record: Record) -> Detection:
    """Match centroids one-to-one within `record.radius`: as many pairs as possible, then the smallest total distance.

    HoVer-Net's script minimises the distance first and cuts at the radius afterwards, on centroids rounded down; it
    can lose pairs that lie within the radius.
    """
    objects = record.objects
    c = len(record.pairs.taxonomy.all)
    t, p = _near(objects.truth_centroid, objects.prediction_centroid, record.radius)
    true, seen = objects.truth_klass[t], objects.prediction_klass[p]
    agree = true == seen
    return Detection(
        both=np.bincount(true[agree], minlength=c),
        only_prediction=np.bincount(seen[~agree], minlength=c),
        only_truth=np.bincount(true[~agree], minlength=c),
        extra=np.bincount(np.delete(objects.prediction_klass, p), minlength=c),
        missed=np.bincount(np.delete(objects.truth_klass, t), minlength=c),
        pairs=len(t),
    )


def thing_counts(record: Record) -> Ints:
    """(2, C) int64: things of each class in the truth and in the prediction."""
    objects, c = record.objects, len(record.pairs.taxonomy.all)
    return np.stack([np.bincount(k, minlength=c) for k in (objects.truth_klass, objects.prediction_klass)])


def assign(rows: Ints, columns: Ints, gain: Floats) -> Ints:
    """Places of the one-to-one pairs with the greatest total gain among the listed ones (all gains > 0).

    Pairs are few and local, so the problem falls apart into small islands that are solved one by one.

    Args:
        rows: (M,) int64, at least 0.
        columns: (M,) int64.
        gain: (M,) float64, what a pair is worth.
    """
    if not len(rows):
        return np.zeros(0, np.int64)
    num = int(rows.max()) + 1
    size = num + int(columns.max()) + 1
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns + num)), shape=(size, size))
    island = connected_components(graph, directed=False)[1][rows]
    order = np.argsort(island, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(island[order])) + 1)
    return np.sort(np.concatenate([_assign_island(rows, columns, gain, places) for places in groups]))


def _assign_island(rows: Ints, columns: Ints, gain: Floats, places: Ints) -> Ints:
    if len(places) == 1:
        return places
    _, r = np.unique(rows[places], return_inverse=True)
    _, c = np.unique(columns[places], return_inverse=True)
    table = np.zeros((r.max() + 1, c.max() + 1))
    table[r, c] = gain[places]
    where = np.full(table.shape, -1)
    where[r, c] = places
    chosen = where[linear_sum_assignment(table, maximize=True)]
    return np.asarray(chosen[chosen >= 0])


def _near(truth: Floats, prediction: Floats, radius: float) -> tuple[Ints, Ints]:
    """Indices of the matched points."""
    if not (len(truth) and len(prediction)):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    near = cKDTree(truth).sparse_distance_matrix(cKDTree(prediction), radius, output_type="coo_matrix")
    t, p = near.row.astype(np.int64), near.col.astype(np.int64)
    worth = radius * (len(truth) + len(prediction)) + 1  # one pair more beats every saving in distance
    chosen = assign(t, p, worth - near.data)
    return t[chosen], p[chosen]


def _jaccard(objects: Objects, chosen: Ints) -> float:
    t, p = objects.t[chosen], objects.p[chosen]
    alone = np.delete(objects.truth_area, t).sum() + np.delete(objects.prediction_area, p).sum()
    return _ratio(objects.n[chosen].sum(), objects.union[chosen].sum() + alone)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan
