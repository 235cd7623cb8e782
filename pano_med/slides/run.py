"""`segment_slide`: tile by tile through a network, joined as they come, written as it goes.

Two things go side by side with the network: the next tile is read, and the tile before is joined and written. What a
tile found is kept in a file of its own first; the cells of the map are then finished in the order of the grid, each a
function of such files alone. So it does not matter where a run was stopped: going on gives the same bytes.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pano_med.predict.segmenter import piece_of
from pano_med.slides import begin, objects, store
from pano_med.slides.finish import finish
from pano_med.slides.reader import Slide
from pano_med.slides.source import SlideReadError
from pano_med.slides.work import Work
from pano_med.tiles import Grid, Piece, join

#: Side of a tile and overlap of neighbours in pixels of the map; a cell is then 1536 px, nine whole chunks. What a
#: network says changes with the distance from its tile's edge, up to about 128 px (`pano-med seams` measures it); no
#: core comes nearer, and large tiles pay least for it.
TILE, OVERLAP = 1920, 384

#: Called with tiles done, tiles in all, the tile's number, and what it found (None: it could not be read).
OnTile = Callable[[int, int, int, Piece | None], None]
#: Picks the next of the waiting tiles.
Order = Callable[[Sequence[int]], int]
#: The manifest of a run in work is brought up to date this often, in seconds. Going on needs no more of it than what
#: is written at the start: what is done is known from the files of the tiles.
NOTE_EVERY = 5.0


def segment_slide(
    slide: Slide,
    segmenter: Any,
    out: str | Path,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    origin: tuple[int, int] = (0, 0),
    region: tuple[int, int, int, int] | None = None,
    resume: bool = False,
    on_tile: OnTile | None = None,
    order: Order | None = None,
) -> store.Result:
    """Segment a slide into a folder; glass is skipped.

    Memory does not grow with the slide. An object larger than the overlap is left out and listed in the manifest
    (`too_large`), never cut. A tile of the file that can't be read is listed (`tiles.failed`) and skipped.

    Args:
        slide: opened, with its mpp known.
        segmenter: a `pano_med.predict.Segmenter`.
        out: folder of the result, see `pano_med.slides.store`.
        tile: side of a tile in pixels of the map, whose mpp is the model's; a multiple of 32.
        overlap: of neighbouring tiles, a multiple of 32; the largest object that is found for certain.
        origin: row and column where a tile begins, multiples of 32; another origin puts the seams elsewhere.
        region: top, left, height, width in level-0 pixels: only tiles that own a part of it.
        resume: go on with the run in `out`. A tile that could not be read is tried again; if it can be read now, what
            comes after it is joined anew, for the ids follow the order of the grid. A finished result stays as it is.
        on_tile: see `OnTile`.
        order: see `Order`; None: row by row. The map is finished row by row in any case, and the same.

    Returns:
        The finished result.

    Raises:
        ValueError: unknown mpp, numbers that don't fit, or a folder of another slide, other types or other options.
        FileExistsError: the folder holds a result, and `resume` is False.
        OSError: the disk is full or read-only; what is done is kept.
    """
    out = Path(out)
    where = begin.Map.of(slide, segmenter.loaded.model_mpp)
    manifest = begin.facts(slide, segmenter, where, tile, overlap, origin, region)
    grid = Grid(where.size, tile, overlap, origin)
    there = begin.claim_folder(out, slide, manifest, resume)
    if there is not None and there["state"] == "done":
        shutil.rmtree(out / store.WORK, ignore_errors=True)
        return store.Result(out)
    with _what_is_done_is_kept(out):
        begin.sweep(out)
        store.write_manifest(out, there or manifest)
        job = _Job(slide, segmenter, out, grid, where, region, there or manifest)
        job.look(on_tile, order)
        finish(out, job.manifest, grid, job.work, job.writer, job.cells, segmenter.rules)
    return store.Result(out)


class _Job:
    """One run: the tiles that wait, and the cells that are joined."""

    def __init__(self, slide: Slide, segmenter: Any, out: Path, grid: Grid, where: begin.Map,
                 region: begin.Box | None, manifest: dict[str, Any]) -> None:
        self.slide, self.segmenter, self.out, self.grid, self.where = slide, segmenter, out, grid, where
        self.manifest, self.taxonomy = manifest, segmenter.taxonomy
        self.work = Work(out / store.WORK)
        self.plan = begin.choose_tiles(slide, grid, where, region, out, self.work)
        self.planned = set(self.plan)
        self.writer = store.MapWriter(out, where.size, where.mpp)
        cells = {t: [t, *(n for n in grid.later(t) if _reaches(grid, t, n))] for t in self.plan}
        #: The last cell that needs what a tile found.
        self.last = {t: max(reached) for t, reached in cells.items()}
        #: Cells that any tile reaches into, in order.
        self.cells = sorted({i for reached in cells.values() for i in reached})
        self._try_again()
        found, self.failed, joined = self.work.known()
        self.todo = deque(i for i in self.cells if i not in joined)
        self.next = 1 if not joined else self.work.cell(max(joined))[1]["next"]
        self.held = set(found)
        self.numbers: dict[int, np.ndarray] = {}
        #: Tiles whose piece is there, or was and is used up, or can't be read.
        self.seen = found | set(self.failed) | {i for i in self.plan if self.last[i] in joined}
        self.waiting = deque(i for i in self.plan if i not in self.seen)
        for index in [i for i in found if self.last[i] in joined]:
            self._drop(index)
        self.noted = 0.0
        self._note()

    def _try_again(self) -> None:
        """Forget the first failed tile that can be read now, and all that was joined without it."""
        for index in sorted(self.work.known()[1]):
            try:
                self._read(index)
            except SlideReadError:
                continue
            (self.out / store.TABLE).unlink(missing_ok=True)
            self.work.forget(index)
            return

    def look(self, on_tile: OnTile | None, order: Order | None) -> None:
        """Every waiting tile through the network, reading ahead and joining behind."""
        with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "join") as joiner:
            joining: Future[None] = joiner.submit(self._advance)
            coming = self._read_next(reader, order)
            while coming is not None:
                index, pixels = coming
                piece: Piece | None = None
                try:
                    image = pixels.result()
                except SlideReadError as error:
                    coming, reason = self._read_next(reader, order), str(error)
                    joining.result()
                    joining = joiner.submit(self._fail, index, reason)
                else:
                    coming = self._read_next(reader, order)
                    prediction = self.segmenter.predict(image, self.segmenter.loaded.model_mpp)
                    piece = piece_of(self.grid, index, prediction, self.segmenter.rules, self.taxonomy)
                    joining.result()
                    joining = joiner.submit(self._keep, index, piece)
                if on_tile is not None:
                    left = len(self.waiting) + (coming is not None)
                    on_tile(len(self.plan) - left, len(self.plan), index, piece)
            joining.result()
        self._note()

    def _read_next(self, reader: ThreadPoolExecutor, order: Order | None) -> tuple[int, Future[np.ndarray]] | None:
        if not self.waiting:
            return None
        index = self.waiting[0] if order is None else order(tuple(self.waiting))
        self.waiting.remove(index)
        return index, reader.submit(self._read, index)

    def _read(self, index: int) -> np.ndarray:
        """(h, w, 3) uint8 of a tile at the map's mpp."""
        return self.where.read(self.slide, self.grid[index].rows, self.grid[index].columns)

    def _keep(self, index: int, piece: Piece) -> None:
        self.work.keep(index, piece)
        self.held.add(index)
        self.seen.add(index)
        self._advance()

    def _fail(self, index: int, reason: str) -> None:
        self.work.fail(index, reason)
        self.failed[index] = reason
        self.seen.add(index)
        self._advance()

    def _advance(self) -> None:
        """Join the cells that wait for nothing more, in order."""
        while self.todo and all(i in self.seen or i not in self.planned for i in self._needs(self.todo[0])):
            index = self.todo.popleft()
            self._join(index)
            for done in [i for i in self._needs(index) if i in self.held and self.last[i] == index]:
                self._drop(done)
        if time.monotonic() > self.noted + NOTE_EVERY:
            self._note()

    def _needs(self, index: int) -> list[int]:
        """The tiles that may reach into a cell, in order."""
        return [*self.grid.earlier(index), index]

    def _join(self, index: int) -> None:
        near = [i for i in self._needs(index) if i in self.held]
        pieces = {i: self.work.piece(i) for i in near}
        numbers = {i: self._numbers(i, pieces[i]) for i in near if i != index}
        joined = join(self.grid, index, pieces, numbers, self.next)
        place = self.grid[index]
        rows = store.SCHEMA.empty_table()
        large: list[dict[str, Any]] = []
        if index in pieces:
            rows = objects.rows(index, place, pieces[index], joined, self.taxonomy, self.where.scale, self.where.mpp)
            large = objects.too_large(index, pieces[index], self.taxonomy, self.where.scale)
        numbers[index] = joined.numbers
        classes, stuff = objects.classes(joined, pieces, numbers, self.taxonomy)
        self.writer.write(place.cell_rows, place.cell_columns, ids=joined.ids, classes=classes)
        self.next += rows.num_rows
        if index in pieces:
            self.numbers[index] = joined.numbers
        placed = np.flatnonzero(joined.numbers).tolist()
        self.work.finish(index, rows, {"next": self.next, "placed": placed, "stuff": stuff, "too_large": large})

    def _numbers(self, index: int, piece: Piece) -> np.ndarray:
        """The ids that a tile's objects got; after a restart from the file of its cell."""
        if index not in self.numbers:
            rows, facts = self.work.cell(index)
            numbers = np.zeros(len(piece.arrays["boxes"]), np.uint32)
            numbers[facts["placed"]] = rows["id"].to_numpy()
            self.numbers[index] = numbers
        return self.numbers[index]

    def _drop(self, index: int) -> None:
        """Let go of a piece that no cell still to come needs."""
        self.work.drop(index)
        self.held.discard(index)
        self.numbers.pop(index, None)

    def _note(self) -> None:
        """Bring the manifest up to date."""
        failed = [{"tile": i, "reason": reason} for i, reason in sorted(self.failed.items())]
        done = len(self.seen) - len(failed)
        self.manifest["tiles"] = {"all": len(self.grid), "tissue": len(self.plan), "done": done, "failed": failed}
        store.write_manifest(self.out, self.manifest)
        self.noted = time.monotonic()


def _reaches(grid: Grid, tile: int, other: int) -> bool:
    """Whether a tile has pixels in the cell of another."""
    a, b = grid[tile], grid[other]
    return a.rows[1] > b.cell_rows[0] and a.columns[1] > b.cell_columns[0] and a.columns[0] < b.cell_columns[1]


@contextmanager
def _what_is_done_is_kept(out: Path) -> Iterator[None]:
    """Say so where the disk gives out or somebody presses Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"stopped; what was done is kept in {out}: the same command with --resume goes on "
                                "from there") from stop
    except SlideReadError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason, remedy = ("the disk is full", "make room") if full else (str(error), "put that right")
        raise OSError(f"{out}: {reason}; what was done is kept: {remedy}, then go on with --resume") from error
