"""Stitched maps for tests of the seam certificate: ours, and those of people who cut, double and lose nuclei."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from scipy import ndimage
from slide_cases import PaintedSlide

from pano_med.slides.source import Level
from pano_med.slides.store import SCHEMA
from pano_med.tiles import Grid

TILE, OVERLAP = 256, 32


class Planted:
    """A `store.Result` in memory: the truth of a painted slide, stitched in one of these ways.

    "owned": one tile owns each nucleus, which is what `segment_slide` does.
    "cut": tiles side by side, each with the nuclei that it sees of its core, cut at the seam.
    "painted over": tiles overlap and the later one wins, so nuclei are cut at its edge.
    "doubled": nuclei that two tiles see whole are in the table once for each.
    "dropped": nuclei that touch a seam are nobody's.
    "other tissue": along the seams tissue is of the other kind.
    """

    def __init__(self, slide: PaintedSlide, how: str) -> None:
        self.size, self.taxonomy, self.scale, self.folder = slide.size, slide.taxonomy, 1.0, Path("planted")
        self.grid = Grid(self.size, TILE, OVERLAP)
        truth, self._classes = slide.truth(0, 0, *self.size)
        self._ids, tiles = self._owned(truth) if how != "painted over" else self._painted(truth)
        self._spread(how)
        self._table = self._rows(self._ids, tiles)
        if how == "doubled":
            again = self._table.filter(pa.array(self._seen_twice()))
            for name, more in (("tile", 1), ("id", 10**6)):
                place = again.schema.get_field_index(name)
                again = again.set_column(place, name, pa.compute.add(again[name], more))
            self._table = pa.concat_tables([self._table, again.cast(SCHEMA)])
        self.levels = (Level(self.size, 1),)
        self.manifest: dict[str, Any] = {
            "state": "done", "slide": {"name": slide.name, "fingerprint": slide.fingerprint, "mpp": slide.mpp},
            "model": {"name": "perfect", "sha256": "0" * 64}, "tiles": {"failed": []},
            "grid": {"tile": TILE, "overlap": OVERLAP, "origin": [0, 0], "size": list(self.size)},
        }  # fmt: skip
        if how == "cut":
            self._cut(truth)

    def ids(self, level: int) -> np.ndarray:
        """The map."""
        return self._ids

    def classes(self, level: int) -> np.ndarray:
        """Its classes."""
        return self._classes

    def instances(self, columns: list[str], box: tuple[float, float, float, float]) -> pa.Table:
        """The table's rows in a box."""
        top, left, bottom, right = (self._table[n].to_numpy() for n in ("top", "left", "bottom", "right"))
        inside = (bottom > box[0]) & (top < box[2]) & (right > box[1]) & (left < box[3])
        return self._table.filter(pa.array(inside)).select(columns)

    def _owned(self, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids from 1, and the owner of each."""
        _, ids = np.unique(truth, return_inverse=True)
        owner = np.zeros(self.size, np.int64)
        for i, tile in enumerate(self.grid):
            owner[tile.core] = i
        ids = ids.reshape(self.size)
        boxes = ndimage.find_objects(ids)
        return ids, np.array([owner[(b[0].start + b[0].stop) // 2, (b[1].start + b[1].stop) // 2] for b in boxes])

    def _painted(self, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out, count = np.zeros(self.size, np.int64), 0
        owners: list[int] = []
        for i, tile in enumerate(self.grid):
            numbers, part = np.unique(truth[tile.window], return_inverse=True)
            part = part.reshape(tile.size)
            out[tile.window] = np.where(part > 0, part + count, 0)
            count += len(numbers)
            owners += [i] * len(numbers)
        return out, np.array(owners)

    def _spread(self, how: str) -> None:
        rows, columns = ([t[0] for t in sorted({getattr(t, side) for t in self.grid})][1:]
                         for side in ("core_rows", "core_columns"))
        near = np.zeros(self.size, bool)
        for line in rows:
            near[line - 8 : line + 8] = True
        for line in columns:
            near[:, line - 8 : line + 8] = True
        if how == "dropped":
            gone = np.isin(self._ids, np.unique(self._ids[near])) & (self._ids > 0)
            self._ids, self._classes = np.where(gone, 0, self._ids), np.where(gone, 3, self._classes)
        if how == "other tissue":
            swapped = np.where(self._classes == 2, 3, np.where(self._classes == 3, 2, self._classes))
            self._classes = np.where(near & (self._ids == 0), swapped, self._classes)

    def _cut(self, truth: np.ndarray) -> None:
        count = 0
        for tile in self.grid:
            numbers, part = np.unique(truth[tile.core], return_inverse=True)
            part = part.reshape(truth[tile.core].shape)
            self._ids[tile.core] = np.where(part > 0, part + count, 0)
            count += len(numbers)

    def _seen_twice(self) -> np.ndarray:
        boxes = np.stack([self._table[n].to_numpy() for n in ("top", "left", "bottom", "right")], 1)
        seen = np.zeros(len(boxes), int)
        for t in self.grid:
            seen += ((boxes >= (t.rows[0], t.columns[0]) * 2) & (boxes <= (t.rows[1], t.columns[1]) * 2)).all(1)
        return seen > 1

    @staticmethod
    def _rows(ids: np.ndarray, tiles: np.ndarray) -> pa.Table:
        rows = []
        for i, box in enumerate(ndimage.find_objects(ids), start=1):
            if box is not None:
                y0, x0, y1, x1 = box[0].start, box[1].start, box[0].stop, box[1].stop
                rows.append({"id": i, "category_id": 4, "class": "", "score": 1.0, "area_um2": 1.0,
                             "row": (y0 + y1) / 2, "column": (x0 + x1) / 2,
                             "top": y0, "left": x0, "bottom": y1, "right": x1,
                             "contour": [x0, y0, x1, y0, x1, y1, x0, y1], "tile": int(tiles[i - 1])})
        return pa.Table.from_pylist(rows, SCHEMA)
