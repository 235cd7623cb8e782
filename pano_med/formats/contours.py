"""Outlines of labelled regions along pixel edges, and back.

A pixel at row r, column c is the square from (c, r) to (c + 1, r + 1) in (x, y). Outlines run on the edges of these
squares, so a region is the same before and after, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

#: (dx, dy) of the headings east, south, west, north; y points down.
_STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])

Ring = np.ndarray
"""(N, 2) int (x, y) corners of a closed line; the first corner is not repeated."""


def outline(mask: np.ndarray) -> list[list[Ring]]:
    """Polygons of a mask, one for each 4-connected part.

    Outer rings run clockwise on the screen, holes the other way. Only corners are kept. Every polygon is simple in
    the sense of OGC: rings of one polygon meet in single points at most.

    Args:
        mask: (H, W) bool.

    Returns:
        For each part its rings, the outer one first, then its holes; in the order of the parts' first pixels.
    """
    parts, number = ndimage.label(mask)
    polygons: list[list[Ring]] = [[] for _ in range(number)]
    for part, ring in rings(parts):
        place = 0 if _area(ring) > 0 else len(polygons[part - 1])
        polygons[part - 1].insert(place, ring)
    return polygons


def rings(parts: np.ndarray) -> Iterable[tuple[int, Ring]]:
    """Every closed crack line of a label image, with the label on its right hand."""
    p = np.pad(parts, 1)
    nw, ne, sw, se = p[:-1, :-1], p[:-1, 1:], p[1:, :-1], p[1:, 1:]  # the four pixels that meet at a vertex
    leaving = np.stack(  # (4, H + 1, W + 1): label right of the edge that leaves a vertex by each heading, 0 = no edge
        [np.where(a != b, a, 0) for a, b in ((se, ne), (sw, se), (nw, sw), (ne, nw))]
    )
    heading, y, x = leaving.nonzero()
    label = leaving[heading, y, x]
    end_x, end_y = x + _STEPS[heading, 0], y + _STEPS[heading, 1]
    turn = heading.copy()
    # Where two pixels of a part meet at a corner only, the left turn closes the hole between them (their part is
    # connected elsewhere), so that no ring touches itself. Elsewhere just one way is open.
    for change in (1, 0, -1):
        way = (heading + change) % 4
        turn = np.where(leaving[way, end_y, end_x] == label, way, turn)
    place = np.ravel_multi_index((heading, y, x), leaving.shape)
    following = np.searchsorted(place, np.ravel_multi_index((turn, end_y, end_x), leaving.shape))
    corner = turn != heading
    ends = np.stack([end_x, end_y], -1)
    for walk in _cycles(following.tolist()):
        yield int(label[walk[0]]), ends[walk][corner[walk]]


def _cycles(following: list[int]) -> Iterable[list[int]]:
    """The cycles of a permutation."""
    seen = bytearray(len(following))
    for start in range(len(following)):
        walk = []
        while not seen[start]:
            seen[start] = 1
            walk.append(start)
            start = following[start]
        if walk:
            yield walk


def _area(ring: Ring) -> float:
    """Shoelace area, positive if the ring runs clockwise on the screen."""
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def rasterise(rings: Iterable[np.ndarray], size: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray]:
    """The pixels whose centres lie inside an odd number of rings.

    Args:
        rings: (N, 2) float (x, y) corners each, closed or not; what lies beyond the map is cut off.
        size: (H, W) of the map.

    Returns:
        (rows, columns) of a box of the map, and the (h, w) bool mask in it.
    """
    starts, ends = _edges(rings)
    low = np.floor(np.minimum(starts.min(0), ends.min(0)))
    high = np.ceil(np.maximum(starts.max(0), ends.max(0)))
    (left, top), (right, bottom) = (np.clip(v, 0, size[::-1]).astype(int) for v in (low, high))
    box = (slice(top, bottom), slice(left, right))
    flips = np.zeros((max(bottom - top, 0), max(right - left, 0) + 1), np.uint8)
    rows, x = _crossings(starts, ends, top, bottom)
    columns = np.clip(np.ceil(x - 0.5), left, right).astype(int) - left  # the first centre at or right of the crossing
    np.bitwise_xor.at(flips, (rows - top, columns), 1)
    return box, np.bitwise_xor.accumulate(flips, 1)[:, :-1].astype(bool)


def _edges(rings: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    rings = [np.asarray(r, float) for r in rings]
    return np.concatenate(rings), np.concatenate([np.roll(r, -1, 0) for r in rings])


def _crossings(starts: np.ndarray, ends: np.ndarray, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows top..bottom - 1 whose centre line an edge crosses, and the x of each crossing."""
    (x0, y0), (x1, y1) = starts.T, ends.T
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), top, bottom).astype(int)
    last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), top, bottom).astype(int)  # exclusive
    count = last - first
    edge = np.repeat(np.arange(len(count)), count)
    rows = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]
    return rows, x0[edge] + (rows + 0.5 - y0[edge]) * slope
