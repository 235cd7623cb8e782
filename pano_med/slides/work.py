"""Files of an unfinished run: what each tile found, and which cells are finished. A crash loses the tile in work.

    work/plan.json              the tiles to look at
    work/pieces/N.safetensors   what tile N found; gone once the tiles around it are joined
    work/pieces/N.failed        why tile N could not be read
    work/cells/N.arrow          the things of cell N with their ids; there once the cell stands in the map

Every file is written under another name and renamed, so a file that is there is whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pano_med.formats import make_folder, replacing
from pano_med.slides.store import SCHEMA
from pano_med.tiles import Piece


class Stored(Mapping[str, np.ndarray]):
    """Arrays of a safetensors file, each read when it is asked for.

    Raises:
        ValueError: not a whole file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = safe_open(path, framework="np")
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        self._names = set(self._file.keys())  # type: ignore[no-untyped-call]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        array: np.ndarray = self._file.get_tensor(name)  # type: ignore[no-untyped-call]
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Work:
    """The folder of an unfinished run.

    Args:
        folder: of the result.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pieces, self.cells, self.plan = folder / "pieces", folder / "cells", folder / "plan.json"
        for part in (self.pieces, self.cells):
            make_folder(part)

    def tiles(self) -> list[int] | None:
        """The tiles to look at, or None where nobody has decided yet."""
        return json.loads(self.plan.read_text(encoding="utf-8")) if self.plan.is_file() else None

    def decide(self, tiles: list[int]) -> None:
        """Keep the tiles to look at."""
        _write(self.plan, json.dumps(tiles).encode())

    def known(self) -> tuple[set[int], dict[int, str], set[int]]:
        """Tiles that left a piece, tiles that failed and why, and finished cells."""
        found = {int(p.stem) for p in self.pieces.glob("*.safetensors")}
        failed = {int(p.stem): p.read_text(encoding="utf-8") for p in self.pieces.glob("*.failed")}
        return found, failed, {int(p.stem) for p in self.cells.glob("*.arrow")}

    def keep(self, index: int, piece: Piece) -> None:
        """Keep what a tile found."""
        _write(self._piece(index), save({k: np.ascontiguousarray(v) for k, v in piece.arrays.items()}))

    def fail(self, index: int, reason: str) -> None:
        """Keep that a tile can't be read, and why."""
        _write(self.pieces / f"{index:07d}.failed", reason.encode())

    def forget(self, first: int) -> None:
        """Forget the cells from `first` on, then that tiles from there on failed; a crash in between may be repeated.

        What the tiles found stays. The last cells go first: those that are left are always the first ones.
        """
        for folder, kind in ((self.cells, "arrow"), (self.pieces, "failed")):
            for path in sorted(folder.glob(f"*.{kind}"), reverse=True):
                if int(path.stem) >= first:
                    path.unlink()

    def piece(self, index: int) -> Piece:
        """What a tile found."""
        return Piece(Stored(self._piece(index)))

    def drop(self, index: int) -> None:
        """Nobody needs this piece any more."""
        self._piece(index).unlink(missing_ok=True)

    def finish(self, index: int, rows: pa.Table, facts: Mapping[str, Any]) -> None:
        """Cell `index` stands in the map: keep its things and facts about it."""
        table = rows.replace_schema_metadata({"facts": json.dumps(facts)})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        _write(self.cells / f"{index:07d}.arrow", sink.getvalue())

    def cell(self, index: int) -> tuple[pa.Table, dict[str, Any]]:
        """Things of a finished cell, and the facts that were kept."""
        with pa.OSFile(str(self.cells / f"{index:07d}.arrow")) as file:
            table = pa.ipc.open_file(file).read_all()
        return table.cast(SCHEMA), json.loads(table.schema.metadata[b"facts"])

    def _piece(self, index: int) -> Path:
        return self.pieces / f"{index:07d}.safetensors"


def _write(path: Path, data: Any) -> None:
    with replacing(path) as file:
        file.write(data)
