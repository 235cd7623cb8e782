"""Tiles: where they lie, which one owns an object, and how their logits are averaged. No model, no files, no torch.

The stitching rule in three sentences. Things: of all tiles that see an object, the one whose *core* holds the centre
of the object's box owns it, and the cores divide the image without gap or overlap. Stuff: logits of overlapping tiles
are averaged with weights that fall to the tile's edge, because a network knows least there. An object that two tiles
still claim (its centre differs a little between them) is placed once: the second claim is dropped when most of it is
taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Span = tuple[int, int]

#: Centres may lie this far outside a core (pixels) and still count, so that no object falls between two cores.
CLAIM_MARGIN = 4
#: A claim is dropped when more than this share of its pixels is taken already.
TAKEN = 0.5


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image in pixels and the part of it that is the tile's own.

    Attributes:
        rows: first row and the row after the last.
        columns: likewise.
        core_rows: the rows whose objects this tile owns; inside `rows`.
        core_columns: likewise.
    """

    rows: Span
    columns: Span
    core_rows: Span
    core_columns: Span

    @property
    def window(self) -> tuple[slice, slice]:
        """The tile as an index of the image."""
        return slice(*self.rows), slice(*self.columns)

    @property
    def core(self) -> tuple[slice, slice]:
        """The core as an index of the image."""
        return slice(*self.core_rows), slice(*self.core_columns)

    @property
    def core_inside(self) -> tuple[slice, slice]:
        """The core as an index of an array of the tile's size."""
        top, left = self.rows[0], self.columns[0]
        return (slice(self.core_rows[0] - top, self.core_rows[1] - top),
                slice(self.core_columns[0] - left, self.core_columns[1] - left))  # fmt: skip

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

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


def grid(size: tuple[int, int], tile: int, overlap: int) -> list[Tile]:
    """Tiles that cover an image, row by row; one tile where the image fits into it.

    Origins are multiples of `tile - overlap`, so with both multiples of 32 the coarsest feature grid of a network
    falls on the same pixels in every tile. The last tile of a row or column may be smaller, never thinner than the
    overlap.

    Args:
        size: (H, W) of the image.
        tile: side in pixels.
        overlap: pixels that neighbours share; objects larger than this may be cut.

    Raises:
        ValueError: an overlap that is negative or not below half of the tile.
    """
    if not 0 <= 2 * overlap < tile:
        raise ValueError(f"the overlap must be at least 0 and below half of the tile, got {overlap} of {tile} px")
    rows, columns = (_spans(n, tile, overlap) for n in size)
    return [Tile(r, c, cr, cc) for r, cr in rows for c, cc in columns]


def _spans(length: int, tile: int, overlap: int) -> list[tuple[Span, Span]]:
    """Along one side: (span, core) of each tile; cores meet in the middle of the overlaps."""
    step = tile - overlap
    starts = list(range(0, max(1, length - overlap), step))
    out = []
    for i, start in enumerate(starts):
        end = min(start + tile, length)
        first = start + overlap // 2 if i else 0
        last = start + step + overlap // 2 if i < len(starts) - 1 else length
        out.append(((start, end), (first, last)))
    return out


def taper(tile: Tile, image: tuple[int, int], overlap: int) -> np.ndarray:
    """(h, w) float32 weights of a tile: 1 inside, falling linearly to a shared edge, 1 at the border."""
    sides = []
    for (start, end), length in ((tile.rows, image[0]), (tile.columns, image[1])):
        n = np.arange(end - start, dtype=np.float32)
        weight = np.ones(end - start, np.float32)
        if start > 0:
            weight = np.minimum(weight, (n + 1) / (overlap + 1))
        if end < length:
            weight = np.minimum(weight, (end - start - n) / (overlap + 1))
        sides.append(weight)
    return sides[0][:, None] * sides[1][None]


class TaperedStuff:
    """Weighted average of stuff logits over tiles, holding one row of tiles in memory.

    Args:
        image: (H, W) of the whole image.
        classes: stuff channels S.
        overlap: of the grid.

    Add tiles in the order of `grid`, then call `finish`.
    """

    def __init__(self, image: tuple[int, int], classes: int, overlap: int) -> None:
        self.image, self.classes, self.overlap = image, classes, overlap
        #: (H, W) uint8: the winning stuff channel, valid after `finish`.
        self.winner = np.zeros(image, np.uint8)
        self._top = 0
        self._sum = np.zeros((classes, 0, image[1]), np.float32)
        self._weight = np.zeros((0, image[1]), np.float32)

    def add(self, tile: Tile, logits: np.ndarray) -> None:
        """Add the (S, h, w) stuff logits of a tile."""
        self._flush(tile.rows[0])
        self._grow(tile.rows[1])
        weight = taper(tile, self.image, self.overlap)
        rows, columns = slice(tile.rows[0] - self._top, tile.rows[1] - self._top), slice(*tile.columns)
        self._sum[:, rows, columns] += logits * weight
        self._weight[rows, columns] += weight

    def finish(self) -> np.ndarray:
        """(H, W) uint8: the winning stuff channel of every pixel."""
        self._flush(self.image[0])
        return self.winner

    def _flush(self, row: int) -> None:
        """Rows above `row` get no more logits: decide them and let them go."""
        done = min(row - self._top, self._weight.shape[0])
        if done > 0:
            # all classes share a pixel's weight, so the sum has the same winner as the average
            self.winner[self._top : self._top + done] = self._sum[:, :done].argmax(0)
            self._sum, self._weight = self._sum[:, done:].copy(), self._weight[done:].copy()
            self._top += done

    def _grow(self, row: int) -> None:
        more = row - self._top - self._weight.shape[0]
        if more > 0:
            self._sum = np.concatenate([self._sum, np.zeros((self.classes, more, self.image[1]), np.float32)], axis=1)
            self._weight = np.concatenate([self._weight, np.zeros((more, self.image[1]), np.float32)])


class ThingCanvas:
    """Things of all tiles in one map of ids, each placed once.

    Args:
        image: (H, W) of the whole image.
    """

    def __init__(self, image: tuple[int, int]) -> None:
        #: (H, W) int32, 0 where no thing lies.
        self.ids = np.zeros(image, np.int32)
        self.count = 0

    def place(self, tile: Tile, mask: np.ndarray, corner: tuple[int, int]) -> int | None:
        """Place an object that this tile found.

        Args:
            tile: where it was found.
            mask: (h, w) bool, cropped to the object.
            corner: row and column of the mask's first pixel in the *tile*.

        Returns:
            Its id in the map, or None: another tile owns it, or it is there already.
        """
        top, left = tile.rows[0] + corner[0], tile.columns[0] + corner[1]
        h, w = mask.shape
        # what a tile may have cut gets no margin: its centre is off, and a neighbour sees it whole
        margin = 0 if tile.cuts((top, top + h), (left, left + w), self.ids.shape) else CLAIM_MARGIN
        if not tile.claims(top + h / 2, left + w / 2, margin):
            return None
        place = self.ids[top : top + h, left : left + w]
        free = mask & (place == 0)
        if free.sum() <= (1 - TAKEN) * mask.sum():
            return None
        self.count += 1
        place[free] = self.count
        return self.count


def crops(ids: np.ndarray) -> Iterator[tuple[int, np.ndarray, tuple[int, int]]]:
    """For each positive id of an (h, w) map in order: the id, its mask cropped to its box, the box's first pixel."""
    for i, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is not None:
            yield i, ids[box] == i, (box[0].start, box[1].start)
