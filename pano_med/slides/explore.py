"""`LiveMap`: the map of a slide while it is made, tiles in view first. No torch: it takes what looks at a tile.

What is made here is for looking: a tile in view does not wait for its neighbours, so tissue is not averaged across
tiles, and ids count in the order of finding. `pano_med.slides.run.segment_slide` makes the map to keep.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pano_med.slides.begin import Map
from pano_med.slides.looking import first, within
from pano_med.slides.reader import Slide
from pano_med.slides.source import SlideReadError
from pano_med.slides.store import ARRAYS, MAP, MapWriter
from pano_med.slides.tissue import tissue_mask
from pano_med.tiles import NOBODY, Grid, Piece, claim
from pano_med.types import Taxonomy

#: Side of a tile and overlap of neighbours in pixels of the map: small, so that an answer comes soon.
TILE, OVERLAP = 512, 128
#: A tile with less tissue than this share is not looked at.
_TISSUE = 0.005

#: (grid, number of the tile, its pixels) -> what was found in it.
LookAt = Callable[[Grid, int, np.ndarray], Piece]
#: Called with the box that changed (top, left, bottom, right in level-0 pixels; None: only the words) and the progress.
Listener = Callable[[tuple[float, float, float, float] | None, str], None]


class LiveMap:
    """A map in the making; a `pano_med.slides.looking.SlideMap`.

    Args:
        slide: the open slide, with a known pixel size.
        taxonomy: of what `look_at` finds.
        model_mpp: micrometres per pixel that `look_at` works at.
        look_at: finds things and tissue in one tile, see `LookAt`.

    Attributes:
        done: tiles that were looked at.
        waiting: tiles with tissue that were not.

    Raises:
        ValueError: nobody knows the pixel size of the slide.
    """

    def __init__(self, slide: Slide, taxonomy: Taxonomy, model_mpp: float, look_at: LookAt) -> None:
        self.slide, self.taxonomy, self._look_at = slide, taxonomy, look_at
        self._where = Map.of(slide, model_mpp)
        self.size, self.scale = slide.size, self._where.scale
        self.mpp = self._where.mpp / self.scale
        self._grid = Grid(self._where.size, TILE, OVERLAP)
        self._folder = tempfile.TemporaryDirectory(prefix="pano-med-", ignore_cleanup_errors=True)
        root = Path(self._folder.name)
        self._writer = MapWriter(root, self._where.size, self._where.mpp)
        self.shapes = tuple(level.size for level in self._writer.levels)
        self._arrays = {
            name: [zarr.open_array(str(root / MAP / name / str(n)), mode="r") for n in range(len(self.shapes))]
            for name in ARRAYS
        }
        self._rows: list[dict[str, Any]] = []
        self._listeners: list[Listener] = []
        self._view: tuple[float, ...] = (0.0, 0.0, *map(float, self.size))
        self._cursor: tuple[float, float] | None = None
        self._lock, self._stop = threading.RLock(), threading.Event()
        self._thread: threading.Thread | None = None
        self.done, self.failed, self.waiting = 0, 0, self._plan()
        self._centres = np.array([self._centre(i) for i in self.waiting]).reshape(-1, 2)

    # -- as a SlideMap ----------------------------------------------------------------------------------------

    def window(self, level: int, top: int, left: int, bottom: int, right: int) -> tuple[np.ndarray, np.ndarray]:
        """See `SlideMap`."""
        place = slice(top, bottom), slice(left, right)
        with self._lock:
            return np.asarray(self._arrays["ids"][level][place]), np.asarray(self._arrays["classes"][level][place])

    def nucleus(self, number: int) -> dict[str, Any] | None:
        """See `SlideMap`."""
        return dict(self._rows[number - 1]) if 1 <= number <= len(self._rows) else None

    def inside(self, box: tuple[float, float, float, float]) -> dict[str, np.ndarray]:
        """See `SlideMap`."""
        rows = list(self._rows)
        found = {name: np.array([r[name] for r in rows], float) for name in ("row", "column", "category_id")}
        keep = within(found["row"], found["column"], box)
        return {name: values[keep] for name, values in found.items()}

    def ranked(self, by: str, count: int) -> list[dict[str, Any]]:
        """See `SlideMap`."""
        rows = list(self._rows)
        values = np.array([np.nan if r[by] is None else r[by] for r in rows], float)
        return [dict(rows[i - 1]) for i in first(np.arange(1, len(rows) + 1), values, by, count)]

    # -- who looks, and where ---------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Call `listener` (from the working thread) whenever the map or the progress changed."""
        self._listeners.append(listener)

    def leave(self, listener: Listener) -> None:
        """Call `listener` no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def look(self, view: tuple[float, ...], cursor: tuple[float, float] | None = None) -> None:
        """What is seen now (top, left, bottom, right in level-0 pixels), and where the pointer rests: comes first."""
        self._view, self._cursor = view, cursor

    # -- work -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look, in a thread of its own; nothing once it is closed."""
        with self._lock:  # another slide may be chosen, and this map closed, in the same moment
            if not self._stop.is_set():
                self._thread = threading.Thread(target=self.run, name="pano-med explore", daemon=True)
                self._thread.start()

    def run(self) -> None:
        """Look at every tile with tissue, tiles in view first, until all are done or `close` is called."""
        self._began = time.monotonic()
        self._tell(None)
        try:
            while self.waiting and not self._stop.is_set():
                index = self._take()
                box = self._one(index)
                if self._stop.is_set():
                    return
                self._tell(box)
        except Exception as error:  # a thread that dies in silence leaves a page that waits for ever
            self._tell(None, f"Stopped: {' '.join(str(error).split()) or type(error).__name__}")

    def close(self) -> None:
        """Stop, and let go of the map; the slide stays open."""
        with self._lock:
            self._stop.set()
        self._listeners.clear()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(60)
        self._folder.cleanup()

    def progress(self) -> str:
        """How far it is, in one sentence."""
        found, left = f"{len(self._rows):,} nuclei", len(self.waiting)
        lost = f" {self.failed} tiles of the file are damaged and were skipped." if self.failed else ""
        if not self.done and not self.failed:
            return f"Looking at {left:,} tiles, those in view first." if left else "No tissue was found on this slide."
        if not left:
            return f"All tissue was looked at: {found}.{lost} `pano-med slide` makes a result to keep."
        seconds = (time.monotonic() - self._began) / (self.done + self.failed) * left
        time_left = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        return f"{self.done:,} of {self.done + self.failed + left:,} tiles, {found}, about {time_left} left.{lost}"

    def _plan(self) -> list[int]:
        tissue = tissue_mask(self.slide)
        return [i for i, tile in enumerate(self._grid)
                if tissue.covers(*self._where.box(tile.core_rows, tile.core_columns)) > _TISSUE]

    def _centre(self, index: int) -> tuple[float, float]:
        tile = self._grid[index]
        return sum(tile.core_rows) / 2 * self.scale, sum(tile.core_columns) / 2 * self.scale

    def _take(self) -> int:
        """The next tile: in view before out of view, then the nearest to the pointer, or to the middle of the view."""
        top, left, bottom, right = self._view
        seen = self._cursor is not None and top <= self._cursor[0] <= bottom and left <= self._cursor[1] <= right
        row, column = self._cursor if seen and self._cursor else ((top + bottom) / 2, (left + right) / 2)
        half = (TILE - OVERLAP) / 2 * self.scale
        beside = np.maximum(np.abs(self._centres[:, 0] - (top + bottom) / 2) - (bottom - top) / 2,
                            np.abs(self._centres[:, 1] - (left + right) / 2) - (right - left) / 2) > half
        away = np.hypot(self._centres[:, 0] - row, self._centres[:, 1] - column)
        best = int(np.lexsort((away, beside))[0])
        self._centres = np.delete(self._centres, best, 0)
        return self.waiting.pop(best)

    def _one(self, index: int) -> tuple[float, float, float, float] | None:
        """Look at one tile; the box that changed."""
        tile = self._grid[index]
        try:
            pixels = self._where.read(self.slide, tile.rows, tile.columns)
        except SlideReadError:
            self.failed += 1
            return None
        piece = self._look_at(self._grid, index, pixels)
        self._paint(index, piece)
        self.done += 1
        top, left, height, width = self._where.box(tile.rows, tile.columns)
        return top, left, top + height, left + width

    def _paint(self, index: int, piece: Piece) -> None:
        """The tile's own things where nothing lies yet, and the tissue of its core."""
        tile, found = self._grid[index], piece.arrays
        ids, classes = (self._writer.read(name, tile.rows, tile.columns) for name in ("ids", "classes"))
        core = tile.inside(tile.core_rows, tile.core_columns)
        classes[core] = np.where(ids[core] == 0, self._stuff(found)[core], classes[core])
        rows: list[dict[str, Any]] = []
        for i in np.flatnonzero(found["whole"]).tolist():
            top, left, bottom, right = found["boxes"][i].tolist()
            at, number = tile.inside((top, bottom), (left, right)), len(self._rows) + len(rows) + 1
            free, category = claim(ids[at], piece.mask(i), number), int(found["categories"][i])
            if free is not None:
                classes[at][free] = category
                rows.append(self._row(number, category, float(found["scores"][i]), free, (top, left)))
        with self._lock:
            self._writer.write(tile.rows, tile.columns, ids=ids, classes=classes)
            self._rows += rows

    def _stuff(self, found: Any) -> np.ndarray:
        """(h, w) uint8: the category of each pixel's tissue."""
        table = np.zeros(256, np.uint8)
        table[: self.taxonomy.num_stuff] = [c.id for c in self.taxonomy.stuff]
        table[NOBODY] = self.taxonomy.VOID
        stuff: np.ndarray = table[found["winner"]]
        return np.where(found["void"], self.taxonomy.VOID, stuff) if found["void"].size else stuff

    def _row(self, number: int, category: int, score: float, mask: np.ndarray,
             corner: tuple[int, int]) -> dict[str, Any]:
        rows, columns = mask.nonzero()
        places = {"row": rows.mean() + 0.5, "column": columns.mean() + 0.5, "top": rows.min(), "left": columns.min(),
                  "bottom": rows.max() + 1, "right": columns.max() + 1}
        start = {"row": corner[0], "top": corner[0], "bottom": corner[0]}
        return {"id": number, "category_id": category, "score": None if np.isnan(score) else round(score, 3),
                "area_um2": round(len(rows) * self._where.mpp**2, 2),
                **{k: round(float(start.get(k, corner[1]) + v) * self.scale, 2) for k, v in places.items()}}

    def _tell(self, box: tuple[float, float, float, float] | None, words: str = "") -> None:
        for listener in list(self._listeners):
            listener(box, words or self.progress())
