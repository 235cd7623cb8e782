"""Tissue of a slide as outlines without gaps: every border between two regions is one line, simplified once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from scipy import ndimage

from pano_med.slides.store import Result
from pano_med.types import Taxonomy

#: Tissue is read from the finest level of the map whose longer side is at most this many pixels, and whose pixels are
#: not finer than this: borders of tissue are not known to a micrometre.
LONGEST, FINEST_UM = 4096, 1.0


@dataclass(frozen=True)
class TissueMap:
    """Which tissue lies where, nuclei filled with the tissue around them.

    Attributes:
        classes: (h, w) uint8, category id of stuff; 0 = nothing was looked at.
        step: level-0 pixels for each of its pixels.
    """

    classes: np.ndarray
    step: float


def tissue_map(result: Result, longest: int = LONGEST) -> TissueMap:
    """The stuff of a result, with each pixel of a thing given to the nearest stuff.

    Args:
        result: an opened folder.
        longest: the finest level that is not longer than this, nor finer than `FINEST_UM`, is taken; the coarsest
            where none is.
    """
    fits = [max(lv.size) <= longest and result.map_mpp * lv.downsample > 0.9 * FINEST_UM for lv in result.levels]
    number = fits.index(True) if any(fits) else len(fits) - 1
    classes = np.asarray(result.classes(number)[:])
    return TissueMap(fill_things(classes, result.taxonomy), result.scale * result.levels[number].downsample)


def fill_things(classes: np.ndarray, taxonomy: Taxonomy) -> np.ndarray:
    """(h, w) uint8 with things replaced by the nearest stuff; void where there is no stuff at all."""
    things = np.isin(classes, [c.id for c in taxonomy.all if c.isthing])
    if not things.any():
        return classes.copy()
    bare = np.where(things, 0, classes).astype(np.uint8)
    if not bare.any():
        return bare
    # Void is not a tissue, so a nucleus is never filled with it: the nearest pixel that is stuff counts.
    rows, columns = ndimage.distance_transform_edt(bare == 0, return_distances=False, return_indices=True)
    bare[things] = bare[rows[things], columns[things]]
    return bare


def outlines(labels: np.ndarray, step: float = 1.0, tolerance: float | None = None) -> dict[int, list[shapely.Polygon]]:
    """Polygons of each label that cover the labelled pixels without gap or overlap.

    The edges between unlike pixels are joined to lines from one junction to the next, which two neighbours share;
    `coverage_simplify` (GEOS; Visvalingam & Whyatt 1993, topology kept) thins each line once, for both of them.

    Args:
        labels: (h, w) integers; 0 is left out.
        step: units for each pixel.
        tolerance: corners that span a triangle of less than tolerance^2 go, in units; None: 1.5 pixels, which smooths
            the pixels' stairs; 0 keeps every corner.

    Returns:
        For each label in the map its polygons, in units, (x, y).
    """
    faces = shapely.get_parts(shapely.polygonize(_arcs(labels)))
    if not len(faces):
        return {}
    x, y = np.floor(shapely.get_coordinates(shapely.point_on_surface(faces))).astype(int).T
    owner = labels[y, x]  # a face may also be a hole of the whole map, which 0 owns
    faces, owner = faces[owner > 0], owner[owner > 0]
    thin = shapely.coverage_simplify(faces, 1.5 if tolerance is None else tolerance / step)
    scaled = shapely.transform(thin, lambda xy: xy * step)
    return {int(label): list(scaled[owner == label]) for label in np.unique(owner)}


def _arcs(labels: np.ndarray) -> np.ndarray:
    """The lines between unlike pixels and around the map, each from one junction to the next, or round."""
    p = np.pad(labels, 1)
    (y, left, right), (x, top, bottom) = _runs(p), _runs(p.T)
    width = p.shape[1]
    start = np.concatenate([y * width + left, top * width + x])
    end = np.concatenate([y * width + right, bottom * width + x])
    walks = list(_chains(np.concatenate([start, end]), np.concatenate([end, start])))
    corners = np.concatenate([*walks, np.zeros(0, np.int64)])
    owner = np.repeat(np.arange(len(walks)), [len(w) for w in walks])
    places = np.stack([corners % width, corners // width], -1).astype(float)
    return np.asarray(shapely.linestrings(places, indices=owner))


def _runs(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level edges between unlike pixels, joined while both sides go on: (row, first column, last column) of corners."""
    above, below = p[:-1], p[1:]
    edge = above != below
    joined = edge[:, 1:] & (above[:, 1:] == above[:, :-1]) & (below[:, 1:] == below[:, :-1])
    starts, ends = edge.copy(), edge.copy()
    starts[:, 1:] &= ~joined
    ends[:, :-1] &= ~joined
    row, first = starts.nonzero()
    return row, first - 1, ends.nonzero()[1]  # the padding shifts columns by one


def _chains(start: np.ndarray, end: np.ndarray) -> Iterator[np.ndarray]:
    """The corners of each line, of 2N directed edges of which number i + N is number i backwards."""
    number = len(start) // 2
    back = np.roll(np.arange(2 * number), -number)
    corners, place, degree = np.unique(start, return_inverse=True, return_counts=True)
    order, first = np.argsort(place, kind="stable"), np.cumsum(degree) - degree
    target = np.searchsorted(corners, end)
    pair = first[target]  # at a corner of two edges, the way on is the one that is not the way back
    following = np.where(degree[target] == 2, order[pair] + order[np.minimum(pair + 1, 2 * number - 1)] - back, -1)
    junctions = np.flatnonzero(degree[place] != 2)
    go_on, reverse, seen = following.tolist(), back.tolist(), bytearray(2 * number)
    for i in (*junctions.tolist(), *range(2 * number)):  # lines between junctions first, then what goes round
        walk = []
        while i >= 0 and not seen[i]:
            seen[i] = seen[reverse[i]] = 1
            walk.append(i)
            i = go_on[i]
        if walk:
            yield np.append(start[walk], end[walk[-1]])
