"""The rows of `instances.parquet`: area, place, box and contour of each thing of a tile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pano_med.formats.contours import rings
from pano_med.slides.store import SCHEMA
from pano_med.tiles import Grid, Joined, Piece, Tile
from pano_med.types import Taxonomy

#: A contour may leave the outline by this many pixels of the map.
TOLERANCE = 0.5


def rows(index: int, tile: Tile, piece: Piece, joined: Joined, taxonomy: Taxonomy, scale: float,
         mpp: float) -> pa.Table:
    """The things that a tile placed, in order of ids.

    Args:
        index: the tile's number.
        tile: the tile, in pixels of the map.
        piece: what it found.
        joined: what was placed of it.
        taxonomy: of the categories.
        scale: level-0 pixels per pixel of the map.
        mpp: micrometres per pixel of the map.
    """
    placed = np.flatnonzero(joined.numbers)
    if not len(placed):
        return SCHEMA.empty_table()
    first, count = int(joined.numbers[placed[0]]), len(placed)
    # uint32 wraps around: what is not this tile's becomes huge
    own = joined.canvas - np.uint32(first - 1)
    labels = np.where(own <= count, own, 0).astype(np.int32)
    spans = ndimage.find_objects(labels)
    corner = np.array([tile.rows[0], tile.columns[0]])
    area, centre = _moments(labels, count)
    box = np.array([(s[0].start, s[1].start, s[0].stop, s[1].stop) for s in spans]) + np.tile(corner, 2)
    centre = (centre + corner) * scale
    kinds, names = piece.arrays["categories"][placed], {c.id: c.name for c in taxonomy.all}
    values = {
        "id": np.arange(first, first + count),
        "category_id": kinds,
        "class": [names[k] for k in kinds.tolist()],
        "score": pa.array(piece.arrays["scores"][placed], pa.float32(), from_pandas=True),
        "area_um2": area * mpp**2,
        "row": centre[:, 0],
        "column": centre[:, 1],
        **{name: box[:, i] * scale for i, name in enumerate(("top", "left", "bottom", "right"))},
        "contour": contours(labels, count, corner, scale),
        "tile": np.full(count, index),
    }
    return pa.table([pa.array(values[f.name]).cast(f.type) for f in SCHEMA], schema=SCHEMA)


def too_large(index: int, piece: Piece, taxonomy: Taxonomy, scale: float) -> list[dict[str, Any]]:
    """The objects that a tile would own if it saw them whole: what it sees of them, in level-0 pixels."""
    names, found = {c.id: c.name for c in taxonomy.all}, piece.arrays
    return [
        {"tile": index, "class": names[int(found["categories"][i])], "box": (found["boxes"][i] * scale).tolist()}
        for i in np.flatnonzero(~found["whole"])
    ]


def one_each(large: Sequence[dict[str, Any]], grid: Grid) -> list[dict[str, Any]]:
    """One entry for each object that many tiles saw a part of, as far as can be told: what tiles side by side saw of
    one class, in boxes that touch, is one object.

    Args:
        large: see `too_large`, in the order of the grid.
        grid: the tiles.

    Returns:
        Entries of the same form, in order of their first tiles; the boxes are around all that was seen.
    """
    of_tile: dict[int, list[int]] = defaultdict(list)
    pairs: list[tuple[int, int]] = []
    for n, entry in enumerate(large):
        near = (m for tile in grid.earlier(entry["tile"]) for m in of_tile[tile])
        pairs += [(m, n) for m in near if large[m]["class"] == entry["class"] and _touch(large[m]["box"], entry["box"])]
        of_tile[entry["tile"]].append(n)
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    links = coo_array((np.ones(len(first), bool), (first, second)), (len(large), len(large)))
    whole: dict[int, dict[str, Any]] = {}
    for label, entry in zip(connected_components(links)[1].tolist(), large, strict=True):
        box, seen = whole.setdefault(label, dict(entry))["box"], entry["box"]
        whole[label]["box"] = [*map(min, box[:2], seen[:2]), *map(max, box[2:], seen[2:])]
    return list(whole.values())


def _touch(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes (top, left, bottom, right) have a point in common."""
    return all(a[i] <= b[i + 2] and b[i] <= a[i + 2] for i in (0, 1))


def classes(joined: Joined, pieces: Mapping[int, Piece], numbers: Mapping[int, np.ndarray],
            taxonomy: Taxonomy) -> tuple[np.ndarray, dict[str, int]]:
    """The category of each pixel of a cell, and the pixels of each stuff class.

    Args:
        joined: the cell.
        pieces: of the tiles that may have placed something in it.
        numbers: the ids they gave.
        taxonomy: of the categories.

    Returns:
        (h, w) uint8, and pixels by name of the stuff that occurs.
    """
    table = np.zeros(256, np.uint8)
    table[: taxonomy.num_stuff] = [c.id for c in taxonomy.stuff]
    out, thing = table[joined.winner], joined.ids > 0
    counts = np.bincount(joined.winner[~thing], minlength=256)
    stuff = {c.name: int(n) for c, n in zip(taxonomy.stuff, counts[: taxonomy.num_stuff], strict=True) if n}
    given = np.concatenate([np.zeros(0, np.uint32), *(numbers[i] for i in pieces)])
    if given.any():
        low = given[given > 0].min()
        kinds = np.zeros(int(given.max() - low) + 1, np.uint8)
        for i, piece in pieces.items():
            placed = numbers[i] > 0
            kinds[numbers[i][placed] - low] = piece.arrays["categories"][placed]
        out[thing] = kinds[joined.ids[thing] - low]
    return out, stuff


def _moments(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and (row, column) centroid of labels 1..count; a pixel's centre is at .5."""
    r, c = labels.nonzero()
    at = labels[r, c]
    area, row, column = (np.bincount(at, weights, count + 1)[1:] for weights in (None, r, c))
    return area, np.stack([row, column], 1) / area[:, None] + 0.5


def contours(labels: np.ndarray, count: int, corner: np.ndarray, scale: float) -> pa.Array:
    """The outline of the largest part of each label 1..count, x0, y0, x1, y1, ... in level-0 pixels.

    The steps along pixel edges are cut at their middles, then corners that matter little are left out (Douglas and
    Peucker 1973, within `TOLERANCE`). What is left is grown to the area of the pixels.
    """
    largest: dict[int, tuple[float, np.ndarray]] = {}
    for label, ring in rings(labels):
        x, y = ring[:, 0], ring[:, 1]
        area = float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
        if area > largest.get(label, (0.0,))[0]:
            largest[label] = area, ring
    smooth = []
    for label in range(1, count + 1):
        ring = largest[label][1]
        middle = (ring + np.roll(ring, -1, 0)) / 2
        smooth.append(middle if len(ring) > 6 else ring)  # a square stays a square
    owner = np.repeat(np.arange(count), [len(s) for s in smooth])
    lines = shapely.linearrings(np.concatenate(smooth), indices=owner)
    points, part = shapely.get_coordinates(shapely.simplify(lines, TOLERANCE), return_index=True)
    last = np.append(part[1:] != part[:-1], True)  # shapely repeats the first corner
    points, part = points[~last], part[~last]
    points = _grown(points, part, np.array([largest[label][0] / 2 for label in range(1, count + 1)]))
    flat = ((points + corner[::-1]) * scale).astype(np.float32).ravel()
    offsets = np.concatenate([[0], np.cumsum(2 * np.bincount(part, minlength=count))])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat))


def _grown(points: np.ndarray, part: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Polygons scaled about their middles to these areas: cutting steps takes 5 % of a nucleus, and QuPath measures.

    Args:
        points: (N, 2) corners, x and y, polygon by polygon.
        part: (N,) the polygon of each, 0, 1, 2, ...
        areas: of each polygon, in square units.
    """
    number = np.bincount(part)
    following = np.arange(len(part)) + 1
    ends = np.cumsum(number)
    following[ends - 1] = ends - number
    x, y = points.T
    now = np.abs(np.bincount(part, x * y[following] - y * x[following])) / 2
    middle = np.stack([np.bincount(part, v) for v in (x, y)], 1) / number[:, None]
    grown: np.ndarray = middle[part] + (points - middle[part]) * np.sqrt(areas / now)[part, None]
    return grown
