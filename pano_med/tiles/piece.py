"""What a tile found, cut down to what joining needs of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pano_med.tiles.grid import CLAIM_MARGIN, Grid, Tile
from pano_med.types import Panoptic

#: In place of a stuff channel: no tile saw this pixel, or its owner left it void.
NOBODY = 255


@dataclass(frozen=True, eq=False)
class Piece:
    """What a tile found, cut down to what joining needs. `arrays` may read from disk when asked.

    The arrays by name: `winner` (h, w) uint8 is the tile's best stuff channel, and `void` (h, w) bool is True where the
    merge left a pixel void, (0, w) where it left none. `top`, `bottom`, `left`, `right` (S, n, m) float16 are stuff
    logits of the strips that neighbours share. `boxes` (N, 4) int32 hold top, left, bottom, right of each object in
    pixels of the *image*; `bits` uint8 the masks in their boxes, packed one after the other, each from a byte of its
    own; `starts` (N + 1,) int64 where in `bits` each begins. `categories` (N,) uint8, `scores` (N,) float32, nan =
    none. `whole` (N,) bool is False for an object of this tile that it may have cut: it is as large as the overlap.

    Attributes:
        arrays: as above.
    """

    arrays: Mapping[str, np.ndarray]

    def mask(self, number: int) -> np.ndarray:
        """(h, w) bool: the pixels of object `number` in its box."""
        top, left, bottom, right = self.arrays["boxes"][number].tolist()
        start, end = self.arrays["starts"][number : number + 2].tolist()
        shape = bottom - top, right - left
        bits = np.unpackbits(self.arrays["bits"][start:end], count=shape[0] * shape[1])
        return bits.view(bool).reshape(shape)


def cut_piece(grid: Grid, index: int, logits: np.ndarray, merged: Panoptic) -> Piece:
    """What to keep of a tile.

    Args:
        grid: the tiles.
        index: which one.
        logits: (S, h, w) float stuff logits of the tile.
        merged: the tile's fused map; its things are shared out here.
    """
    tile, category = grid[index], {s.id: s for s in merged.things}
    void = merged.ids == merged.taxonomy.VOID
    things, boxes, bits = [], [], []
    whole = []
    for i, mask, (top, left) in crops(merged.lookup({i: i for i in category})):
        box = tile.rows[0] + top, tile.columns[0] + left
        rows, columns = (box[0], box[0] + mask.shape[0]), (box[1], box[1] + mask.shape[1])
        # what a tile cuts gets no margin: its centre is off, and a neighbour sees it whole
        cut = tile.cuts(rows, columns, grid.size)
        if tile.claims(sum(rows) / 2, sum(columns) / 2, 0 if cut else CLAIM_MARGIN):
            things.append(category[i])
            whole.append(not cut)
            boxes.append((rows[0], columns[0], rows[1], columns[1]))
            bits.append(np.packbits(mask))
    return Piece({
        **(_stuff(grid, tile, logits) if len(logits) else {"winner": np.full(tile.size, NOBODY, np.uint8)}),
        "void": void if void.any() else void[:0],
        "boxes": np.array(boxes, np.int32).reshape(-1, 4),
        "bits": np.concatenate([np.zeros(0, np.uint8), *bits]),
        "starts": np.cumsum([0, *(len(b) for b in bits)], dtype=np.int64),
        "categories": np.array([s.category_id for s in things], np.uint8),
        "scores": np.array([np.nan if s.score is None else s.score for s in things], np.float32),
        "whole": np.array(whole, bool),
    })  # fmt: skip


def _stuff(grid: Grid, tile: Tile, logits: np.ndarray) -> dict[str, np.ndarray]:
    """The best channel everywhere, and the logits that neighbours share in half precision."""
    strips = {n: logits[:, r, c].clip(-6e4, 6e4).astype(np.float16) for n, (r, c) in edges(grid, tile).items()}
    return {"winner": logits.argmax(0).astype(np.uint8), **strips}


def edges(grid: Grid, tile: Tile) -> dict[str, tuple[slice, slice]]:
    """The shared strips of a tile, by name, as indices of the tile."""
    n, (h, w), all_ = grid.overlap, tile.size, slice(None)
    found: dict[str, tuple[slice, slice]] = {}
    if tile.rows[0] > 0:
        found["top"] = slice(0, n), all_
    if tile.rows[1] < grid.size[0]:
        found["bottom"] = slice(h - n, h), all_
    if tile.columns[0] > 0:
        found["left"] = all_, slice(0, n)
    if tile.columns[1] < grid.size[1]:
        found["right"] = all_, slice(w - n, w)
    return found


def crops(ids: np.ndarray) -> Iterator[tuple[int, np.ndarray, tuple[int, int]]]:
    """For each positive id of an (h, w) map in order: the id, its mask cropped to its box, the box's first pixel."""
    for i, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is not None:
            yield i, ids[box] == i, (box[0].start, box[1].start)
