"""Where tiles lie, which one owns an object, and how much each counts where several see a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

Span = tuple[int, int]

#: Centres may lie this far outside a core (pixels) and still count, so that no object falls between two cores.
CLAIM_MARGIN = 4


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image in pixels and the part of it that is the tile's own.

    Attributes:
        rows: first row and the row after the last.
        columns: likewise.
        core_rows: the rows whose objects this tile owns; inside `rows`.
        core_columns: likewise.
        cell_rows: the rows that are finished when this tile is joined: from its first to the next tile's first.
        cell_columns: likewise.
    """

    rows: Span
    columns: Span
    core_rows: Span
    core_columns: Span
    cell_rows: Span
    cell_columns: Span

    @property
    def window(self) -> tuple[slice, slice]:
        """The tile as an index of the image."""
        return slice(*self.rows), slice(*self.columns)

    @property
    def core(self) -> tuple[slice, slice]:
        """The core as an index of the image."""
        return slice(*self.core_rows), slice(*self.core_columns)

    @property
    def cell(self) -> tuple[slice, slice]:
        """The cell as an index of the image."""
        return slice(*self.cell_rows), slice(*self.cell_columns)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def cell_size(self) -> tuple[int, int]:
        """(H, W) of the cell in pixels."""
        return self.cell_rows[1] - self.cell_rows[0], self.cell_columns[1] - self.cell_columns[0]

    def inside(self, rows: Span, columns: Span) -> tuple[slice, slice]:
        """Rows and columns of the image as an index of an array of the tile's size."""
        top, left = self.rows[0], self.columns[0]
        return slice(rows[0] - top, rows[1] - top), slice(columns[0] - left, columns[1] - left)

    def cuts(self, rows: Span, columns: Span, image: tuple[int, int]) -> bool:
        """Whether a box in pixels of the (H, W) image touches an edge of this tile behind which the image goes on."""
        return any(
            (box[0] <= side[0] and side[0] > 0) or (box[1] >= side[1] and side[1] < length)
            for box, side, length in ((rows, self.rows, image[0]), (columns, self.columns, image[1]))
        )

    def claims(self, row: float, column: float, margin: float = CLAIM_MARGIN) -> bool:
        """Whether an object whose box is centred at (row, column) of the image may be this tile's."""
        (top, bottom), (left, right) = self.core_rows, self.core_columns
        return top - margin <= row < bottom + margin and left - margin <= column < right + margin


class Grid(Sequence[Tile]):
    """Tiles that cover an image, row by row; one tile where the image fits into it.

    Tiles begin at multiples of `tile - overlap` from `origin`, so with all three multiples of 32 the coarsest feature
    grid of a network falls on the same pixels in every tile. Those at the border of the image may be smaller, never
    thinner than the overlap.

    Args:
        size: (H, W) of the image.
        tile: side in pixels.
        overlap: pixels that neighbours share; an object that is not smaller may be seen whole by no tile.
        origin: row and column where one tile begins; the grid goes on in all directions.

    Attributes:
        shape: tiles down, tiles across.

    Raises:
        ValueError: an overlap that is negative or not below half of the tile.
    """

    def __init__(self, size: tuple[int, int], tile: int, overlap: int, origin: tuple[int, int] = (0, 0)) -> None:
        if not 0 <= 2 * overlap < tile:
            raise ValueError(f"the overlap must be at least 0 and below half of the tile, got {overlap} of {tile} px")
        self.size, self.overlap = size, overlap
        rows, columns = (_spans(n, tile, overlap, o) for n, o in zip(size, origin, strict=True))
        self.shape = len(rows), len(columns)
        self._tiles = [Tile(r[0], c[0], r[1], c[1], r[2], c[2]) for r in rows for c in columns]

    def __len__(self) -> int:
        return len(self._tiles)

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tile]: ...
    def __getitem__(self, index: int | slice) -> Tile | Sequence[Tile]:
        return self._tiles[index]

    def earlier(self, index: int) -> list[int]:
        """The neighbours that are joined before this tile, in order; with them it shares pixels."""
        return self._beside(index, ((-1, -1), (-1, 0), (-1, 1), (0, -1)))

    def later(self, index: int) -> list[int]:
        """The neighbours that are joined after this tile, in order."""
        return self._beside(index, ((0, 1), (1, -1), (1, 0), (1, 1)))

    def _beside(self, index: int, steps: Sequence[tuple[int, int]]) -> list[int]:
        row, column = divmod(index, self.shape[1])
        places = [(row + r, column + c) for r, c in steps]
        return [r * self.shape[1] + c for r, c in places if 0 <= r < self.shape[0] and 0 <= c < self.shape[1]]


def _spans(length: int, tile: int, overlap: int, origin: int) -> list[tuple[Span, Span, Span]]:
    """Along one side: (span, core, cell) of each tile; cores meet in the middle of the overlaps."""
    step = tile - overlap
    first = origin % step
    starts = list(range(first - step if first else 0, length - overlap, step)) or [0]
    inner = [max(0, s) for s in starts[1:]]
    cells = [0, *inner, length]
    cores = [0, *(s + (overlap + 1) // 2 for s in inner), length]
    return [
        ((cells[i], min(start + tile, length)), (cores[i], cores[i + 1]), (cells[i], cells[i + 1]))
        for i, start in enumerate(starts)
    ]


def taper(tile: Tile, image: tuple[int, int], overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a tile down and across, (h, 1) and (1, w) float32; their product is the weight of a pixel.

    1 inside, falling linearly to an edge that a neighbour shares, 1 at the border of the image.
    """
    sides = []
    for (start, end), length in ((tile.rows, image[0]), (tile.columns, image[1])):
        n = np.arange(end - start, dtype=np.float32)
        weight = np.ones(end - start, np.float32)
        if start > 0:
            weight = np.minimum(weight, (n + 1) / (overlap + 1))
        if end < length:
            weight = np.minimum(weight, (end - start - n) / (overlap + 1))
        sides.append(weight)
    return sides[0][:, None], sides[1][None]
