"""What is measured where two results of one place are compared: PQ, straight edges, tissue, nuclei that lie twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from scipy import ndimage

from pano_med.metrics import PQCounts
from pano_med.metrics.overlap import overlap
from pano_med.metrics.quality import tally
from pano_med.slides.seam_places import BAND, INSIDE, NOWHERE, Place, Seams, distance
from pano_med.types import Panoptic

#: A run of boundary is straight when it has this many pixels and at least this share of its object's box.
STRAIGHT_PX, STRAIGHT_SHARE = 8, 0.5
#: A run lies on a line that it is at most this many pixels away from.
ON_LINE = 2
#: Two nuclei from two tiles are one that was counted twice when they share more than this of the smaller.
TWICE = 0.5
ZONES = (BAND, INSIDE)


@dataclass(frozen=True)
class Look:
    """What one place says; in every array the first row is the band, the second the inside.

    Attributes:
        quality: nuclei of the shifted tile found again in the stitched map, whatever their class.
        straight: (2, 3) boundary pixels that run straight, all of them, and the sum of the squared lengths of all runs.
        objects: (2, 2) nuclei of the stitched map, and of the shifted tile.
        tissue: (2, 2) pixels without a nucleus on which both say the same tissue, and all of them.
        twice: pairs of ids that lie in the band on the same ground.
    """

    quality: tuple[PQCounts, PQCounts]
    straight: np.ndarray
    objects: np.ndarray
    tissue: np.ndarray
    twice: frozenset[tuple[int, int]]


def look(place: Place, seams: Seams, stitched: Panoptic, shifted: Panoptic, table: pa.Table, scale: float) -> Look:
    """Compare two results of one place.

    Args:
        place: where.
        seams: of the stitched map.
        stitched: (h, w) the part of the stitched map under `place.window`.
        shifted: (h, w) what a tile laid there says.
        table: the rows of `instances.parquet` there: id, tile, row, column, contour.
        scale: level-0 pixels per pixel of the map.
    """
    quality, objects = _quality(place, seams, stitched, shifted)
    return Look(quality, _straight(place, seams, stitched), objects, _tissue(place, seams, stitched, shifted),
                twice(table, place, seams, scale))


def _zone(place: Place, seams: Seams, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Zone of points in pixels of the map, NOWHERE outside of the part that is compared."""
    return np.where(place.sees(rows, columns), seams.zone(rows, columns), NOWHERE)


def _quality(place: Place, seams: Seams, stitched: Panoptic, shifted: Panoptic) -> tuple[tuple[PQCounts, PQCounts],
                                                                                      np.ndarray]:
    """PQ by the COCO rule with the shifted tile as truth; a pair counts where the shifted tile's nucleus lies."""
    pairs = overlap(shifted, stitched).merged()
    true, found, t, p, n = pairs.truth, pairs.prediction, pairs.t, pairs.p, pairs.n
    things = pairs.isthing(true), pairs.isthing(found)
    union = true.area[t] + found.area[p] - n
    hit = things[0][t] & things[1][p] & (2 * n > union)
    missed, wrong = things[0].copy(), things[1].copy()
    missed[t[hit]], wrong[p[hit]] = False, False
    zone_t = _zones_of(place, seams, shifted, len(missed))
    zone_p = _zones_of(place, seams, stitched, len(wrong))
    out = []
    for zone in ZONES:
        h = hit & (zone_t[t] == zone)
        out.append(tally(pairs, true.klass[t[h]], n[h] / union[h], found.klass[wrong & (zone_p == zone)],
                         true.klass[missed & (zone_t == zone)]))
    counts = [[np.count_nonzero(mine & (zones == zone)) for mine, zones in
               ((things[1], zone_p), (things[0], zone_t))] for zone in ZONES]
    return (out[0], out[1]), np.array(counts)


def _zones_of(place: Place, seams: Seams, panoptic: Panoptic, length: int) -> np.ndarray:
    """(length,) zone of each row of an overlap table by the centre of its segment; of what is no segment NOWHERE."""
    order = panoptic.lookup({s.id: i for i, s in enumerate(panoptic.segments, 1)}).ravel()
    count = np.bincount(order, minlength=length)
    rows = np.repeat(np.arange(*place.rows), panoptic.size[1])
    columns = np.tile(np.arange(*place.columns), panoptic.size[0])
    y, x = (np.bincount(order, axis, length) / np.maximum(count, 1) for axis in (rows, columns))
    zone = _zone(place, seams, y + 0.5, x + 0.5)
    zone[0], zone[len(panoptic.segments) + 1 :] = NOWHERE, NOWHERE
    return zone


def _straight(place: Place, seams: Seams, stitched: Panoptic) -> np.ndarray:
    """(2, 3): boundary pixels of nuclei that run straight, all, squared lengths; on lines of seams, and inside."""
    ids = stitched.lookup({s.id: i for i, s in enumerate(stitched.things, 1)})
    boxes = ndimage.find_objects(ids)
    out = np.zeros((2, 3), np.int64)
    lines = seams.edges(seams.rows), seams.edges(seams.columns)
    for axis, (array, edges) in enumerate(zip((ids, ids.T), lines, strict=True)):
        extent = np.array([0, *(box[1 - axis].stop - box[1 - axis].start for box in boxes)])
        line, first, length, owner = _runs(array)
        along = place.columns[0] + first + length / 2, place.rows[0] + first + length / 2
        across = place.rows[0] + line, place.columns[0] + line
        rows, columns = (across[0], along[0]) if axis == 0 else (along[1], across[1])
        zone = _zone(place, seams, rows, columns)
        near = distance(across[axis], edges) <= ON_LINE
        straight = (length >= STRAIGHT_PX) & (length >= STRAIGHT_SHARE * extent[owner])
        for i, mine in enumerate(((zone != NOWHERE) & near, (zone == INSIDE) & ~near)):
            out[i] += length[mine & straight].sum(), length[mine].sum(), (length[mine] ** 2).sum()
    return out


def _runs(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Horizontal runs of boundary: line (it lies above that row), first column, length, and the id that it bounds."""
    width = ids.shape[1] + 1  # a column of zeros keeps the runs of two rows apart
    found = []
    for owner in (ids[:-1], ids[1:]):
        own = np.pad(np.where(ids[1:] != ids[:-1], owner, 0), ((0, 0), (0, 1))).ravel()
        start = np.flatnonzero(np.diff(own, prepend=0))
        length = np.diff(start, append=len(own))
        mine = own[start] > 0
        row, column = np.divmod(start[mine], width)
        found.append((row + 1, column, length[mine], own[start][mine]))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore[return-value]


def _tissue(place: Place, seams: Seams, stitched: Panoptic, shifted: Panoptic) -> np.ndarray:
    """(2, 2): pixels on which both say the same tissue, and pixels on which both say any tissue."""
    rows, columns = np.arange(*place.rows)[:, None] + 0.5, np.arange(*place.columns)[None] + 0.5
    zone = _zone(place, seams, rows, columns)
    a, b = (p.lookup({s.id: s.category_id for s in p.stuff}) for p in (stitched, shifted))
    both, same = (a > 0) & (b > 0), (a == b) & (a > 0)
    return np.array([[np.count_nonzero(m & (zone == z)) for m in (same, both)] for z in ZONES])


def twice(table: pa.Table, place: Place, seams: Seams, scale: float) -> frozenset[tuple[int, int]]:
    """Pairs of ids, from two tiles, of which one lies in the band and more than `TWICE` of the smaller is shared."""
    rows, columns = (table[name].to_numpy().astype(float) / scale for name in ("row", "column"))
    contours = [c for c in table["contour"].to_pylist()]
    usable = np.array([len(c) >= 6 for c in contours], bool)
    if usable.sum() < 2:
        return frozenset()
    ids, tiles = (table[name].to_numpy()[usable].astype(np.int64) for name in ("id", "tile"))
    band = (_zone(place, seams, rows, columns) == BAND)[usable]
    shapes = shapely.make_valid(np.array([shapely.Polygon(np.reshape(c, (-1, 2))) for c in contours if len(c) >= 6]))
    i, j = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    keep = (i < j) & (tiles[i] != tiles[j]) & (band[i] | band[j])
    i, j = i[keep], j[keep]
    shared = shapely.area(shapely.intersection(shapes[i], shapes[j]))
    same = shared > TWICE * np.minimum(shapely.area(shapes[i]), shapely.area(shapes[j]))
    return frozenset((int(ids[a]), int(ids[b])) for a, b in zip(i[same], j[same], strict=True))
