"""Where to look at seams: places of a stitched map, each with a tile of its own that has no seam there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pano_med.slides.begin import STRIDE
from pano_med.tiles import Tile

#: The two zones in which results are compared, and the rest.
NOWHERE, BAND, INSIDE = 0, 1, 2


@dataclass(frozen=True)
class Seams:
    """The seams of a grid, in pixels of the map.

    Attributes:
        rows: rows at which a core ends and the next begins.
        columns: likewise.
        overlap: pixels that neighbouring tiles share; the band along a seam is as wide, the seam in its middle.
        tile: side of a tile.
        size: (H, W) of the map.
    """

    rows: np.ndarray
    columns: np.ndarray
    overlap: int
    tile: int
    size: tuple[int, int]

    @classmethod
    def of(cls, tiles: Sequence[Tile], size: tuple[int, int], tile: int, overlap: int) -> Seams:
        """The seams of a grid of tiles."""
        rows, columns = (np.array(sorted({core[0] for core in cores}), np.int64)[1:]
                         for cores in ((t.core_rows for t in tiles), (t.core_columns for t in tiles)))
        return cls(rows, columns, overlap, tile, size)

    def edges(self, lines: np.ndarray) -> np.ndarray:
        """The lines along which a tile could cut: the seams, and the edges of the two tiles that meet there."""
        first = lines - self.overlap // 2
        return np.unique(np.concatenate([lines, first, first + self.overlap]))

    @property
    def reach(self) -> int:
        """How far from its centre a shifted tile is looked at: where it sees at least the overlap in every direction.

        Where the overlap is a large part of the tile, this is the tile's core.
        """
        far = self.tile // 2 - self.overlap
        return far if far >= self.overlap else (self.tile - self.overlap) // 2

    def zone(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Zone of points of the map: BAND at most half an overlap away from a seam, else INSIDE."""
        near = np.minimum(distance(rows, self.rows), distance(columns, self.columns))
        return np.where(near <= self.overlap / 2, BAND, INSIDE)


def distance(points: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """How far each point is from the nearest of the sorted lines; infinite where there is no line."""
    if not len(lines):
        return np.full(np.shape(points), np.inf)
    after = np.searchsorted(lines, points)
    before, behind = lines[np.maximum(after - 1, 0)], lines[np.minimum(after, len(lines) - 1)]
    return np.minimum(np.abs(points - before), np.abs(points - behind))


@dataclass(frozen=True)
class Place:
    """A place on seams and the tile that is laid around it.

    Attributes:
        centre: row and column in pixels of the map.
        rows: first row of the shifted tile and the row after its last.
        columns: likewise.
        reach: how far from the centre the two results are compared.
    """

    centre: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    reach: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The shifted tile as an index of the map."""
        return slice(*self.rows), slice(*self.columns)

    def sees(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Which points of the map are compared here."""
        return (np.abs(rows - self.centre[0]) < self.reach) & (np.abs(columns - self.centre[1]) < self.reach)


def all_places(seams: Seams, origin: tuple[int, int]) -> list[Place]:
    """Every crossing of two seams; where a grid has seams in one direction only, points along these.

    Args:
        seams: of the grid.
        origin: first row and column of any tile of the grid; shifted tiles keep to its stride.
    """
    if not len(seams.rows) and not len(seams.columns):
        return []
    rows, columns = (lines.tolist() if len(lines) else list(range(min(seams.tile, n) // 2, n, seams.tile))
                     for lines, n in zip((seams.rows, seams.columns), seams.size, strict=True))
    return [
        Place((row, column), _span(row, origin[0], seams.tile, seams.size[0]),
              _span(column, origin[1], seams.tile, seams.size[1]), seams.reach)
        for row in rows for column in columns
    ]


def _span(centre: int, origin: int, tile: int, length: int) -> tuple[int, int]:
    """A tile with the centre in its middle, up to half a stride; cut off where the map ends, as any tile is."""
    first = origin + STRIDE * round((centre - tile / 2 - origin) / STRIDE)
    return max(0, first), min(length, first + tile)


def choose(places: Sequence[Place], tissue: np.ndarray, number: int, seed: int) -> list[Place]:
    """Draw places without repetition, each as likely as much tissue it shows; those without tissue never.

    Args:
        places: to draw from.
        tissue: share of each place that holds tissue, 0..1.
        number: how many at most.
        seed: the same seed draws the same places.
    """
    alive = int(np.count_nonzero(tissue))
    if not alive:
        return []
    drawn = np.random.default_rng(seed).choice(
        len(places), min(number, alive), replace=False, p=tissue / tissue.sum()
    )
    return [places[i] for i in sorted(drawn)]
