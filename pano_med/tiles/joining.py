"""The one rule by which tiles are joined, in images as in slides; see `pano_med.tiles`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pano_med.tiles.grid import Grid, Span, Tile, taper
from pano_med.tiles.piece import NOBODY, Piece, edges

#: A claim is dropped when more than this share of its pixels is taken already.
TAKEN = 0.5


@dataclass(frozen=True, eq=False)
class Joined:
    """A finished cell.

    Attributes:
        ids: (h, w) uint32 of the cell, 0 where no thing lies.
        winner: (h, w) uint8 of the cell: the stuff channel under the things, or `NOBODY`.
        numbers: (N,) uint32, the id of each object of the tile's piece, 0 where it was not placed.
        canvas: (H, W) uint32 of the *tile*: ids of its own things and those that reach into it from earlier tiles.
    """

    ids: np.ndarray
    winner: np.ndarray
    numbers: np.ndarray
    canvas: np.ndarray


def join(grid: Grid, index: int, pieces: Mapping[int, Piece], numbers: Mapping[int, np.ndarray], first: int) -> Joined:
    """Finish the cell of a tile. Call it in the order of the grid.

    Args:
        grid: the tiles.
        index: the tile whose cell is due.
        pieces: of this tile and of `grid.earlier(index)`; those that are missing (glass) count as not looked at.
        numbers: `Joined.numbers` of the earlier ones.
        first: the id of the next object.
    """
    tile = grid[index]
    canvas = np.zeros(tile.size, np.uint32)
    for other in grid.earlier(index):
        if other in pieces:
            _paint(canvas, tile, pieces[other], numbers[other])
    mine = _place(canvas, tile, pieces[index], first) if index in pieces else np.zeros(0, np.uint32)
    h, w = tile.cell_size
    return Joined(canvas[:h, :w], _winner(grid, index, pieces), mine, canvas)


def _paint(canvas: np.ndarray, tile: Tile, piece: Piece, numbers: np.ndarray) -> None:
    """Draw what an earlier tile placed, as far as it reaches into this one."""
    boxes = piece.arrays["boxes"]
    near = (boxes[:, 2] > tile.rows[0]) & (boxes[:, 3] > tile.columns[0])
    near &= (boxes[:, 0] < tile.rows[1]) & (boxes[:, 1] < tile.columns[1]) & (numbers > 0)
    for i in np.flatnonzero(near):
        top, left, bottom, right = boxes[i].tolist()
        rows = max(top, tile.rows[0]), min(bottom, tile.rows[1])
        columns = max(left, tile.columns[0]), min(right, tile.columns[1])
        place = canvas[tile.inside(rows, columns)]
        mask = piece.mask(int(i))[rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]
        place[mask & (place == 0)] = numbers[i]


def _place(canvas: np.ndarray, tile: Tile, piece: Piece, first: int) -> np.ndarray:
    """Draw the tile's own objects; the number of each, 0 where most of it is taken or nobody sees it whole."""
    numbers = np.zeros(len(piece.arrays["boxes"]), np.uint32)
    count = 0
    for i in np.flatnonzero(piece.arrays["whole"]):
        top, left, bottom, right = piece.arrays["boxes"][i].tolist()
        free = claim(canvas[tile.inside((top, bottom), (left, right))], piece.mask(int(i)), first + count)
        if free is not None:
            numbers[i] = first + count
            count += 1
    return numbers


def claim(place: np.ndarray, mask: np.ndarray, number: int) -> np.ndarray | None:
    """Draw an object into its box of a map where nothing lies yet, unless most of it is taken.

    Args:
        place: (h, w) ids of the box, 0 = free; drawn into.
        mask: (h, w) bool, the object.
        number: its id.

    Returns:
        (h, w) bool: the pixels that it got; None where it was dropped and nothing was drawn.
    """
    free: np.ndarray = mask & (place == 0)
    if np.count_nonzero(free) <= (1 - TAKEN) * np.count_nonzero(mask):
        return None
    place[free] = number
    return free


def _winner(grid: Grid, index: int, pieces: Mapping[int, Piece]) -> np.ndarray:
    """(h, w) uint8: the stuff channel of each pixel of the cell."""
    tile = grid[index]
    h, w = tile.cell_size
    out = np.full((h, w), NOBODY, np.uint8)
    if index in pieces:
        out[:] = pieces[index].arrays["winner"][:h, :w]
        _leave_void(out, pieces[index], slice(0, h), slice(0, w))
    top = min(h, grid.overlap) if tile.rows[0] > 0 else 0
    left = min(w, grid.overlap) if tile.columns[0] > 0 else 0
    seers = {i: pieces[i] for i in [*grid.earlier(index), index] if i in pieces}
    for rows, columns in (((0, top), (0, w)), ((top, h), (0, left))):
        if seers and rows[0] < rows[1] and columns[0] < columns[1]:
            place = [(a + start, b + start) for (a, b), start in ((rows, tile.rows[0]), (columns, tile.columns[0]))]
            out[slice(*rows), slice(*columns)] = _average(grid, place[0], place[1], seers)
    return out


def _average(grid: Grid, rows: Span, columns: Span, seers: Mapping[int, Piece]) -> np.ndarray:
    """(h, w) uint8: the best channel of a shared part of the image by the weighted mean of those who see it."""
    h, w = rows[1] - rows[0], columns[1] - columns[0]
    total: np.ndarray | None = None
    seen, void = np.zeros((h, w), bool), np.zeros((h, w), bool)
    for i, piece in seers.items():
        tile = grid[i]
        r, c = _common(rows, tile.rows), _common(columns, tile.columns)
        logits = _shared_logits(grid, tile, piece, r, c) if r and c else None
        if r and c and logits is not None:
            here = slice(r[0] - rows[0], r[1] - rows[0]), slice(c[0] - columns[0], c[1] - columns[0])
            down, across = taper(tile, grid.size, grid.overlap)
            total = np.zeros((len(logits), h, w), np.float32) if total is None else total
            at = tile.inside(r, c)
            # all classes share a pixel's weight, so the sum has the same winner as the mean
            total[(slice(None), *here)] += logits * (down[at[0]] * across[:, at[1]])
            seen[here] = True
            core = _common(r, tile.core_rows), _common(c, tile.core_columns)
            if core[0] and core[1] and piece.arrays["void"].size:  # the owner of the core decides
                part = piece.arrays["void"][tile.inside(core[0], core[1])]
                top, left = core[0][0] - rows[0], core[1][0] - columns[0]
                void[top : top + part.shape[0], left : left + part.shape[1]] = part
    winner = np.full((h, w), NOBODY, np.uint8)
    if total is not None:
        np.copyto(winner, total.argmax(0).astype(np.uint8), where=seen & ~void)
    return winner


def _leave_void(out: np.ndarray, piece: Piece, rows: slice, columns: slice) -> None:
    if piece.arrays["void"].size:
        out[piece.arrays["void"][rows, columns]] = NOBODY


def _common(a: Span, b: Span) -> Span | None:
    both = max(a[0], b[0]), min(a[1], b[1])
    return both if both[0] < both[1] else None


def _shared_logits(grid: Grid, tile: Tile, piece: Piece, rows: Span, columns: Span) -> np.ndarray | None:
    """(S, h, w) logits of a part of the image that lies in one shared strip of the tile; None without stuff."""
    at = tile.inside(rows, columns)
    for name, (r, c) in edges(grid, tile).items():
        strip = slice(*r.indices(tile.size[0])[:2]), slice(*c.indices(tile.size[1])[:2])
        if all(s.start <= a.start and a.stop <= s.stop for s, a in zip(strip, at, strict=True)):
            if name not in piece.arrays:
                return None
            moved = [slice(a.start - s.start, a.stop - s.start) for s, a in zip(strip, at, strict=True)]
            return piece.arrays[name][:, moved[0], moved[1]].astype(np.float32)
    raise AssertionError(f"rows {rows}, columns {columns} are in no strip of {tile}")  # the grid would be wrong
