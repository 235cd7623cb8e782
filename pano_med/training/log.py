"""The CSV log of a run: one row per step, cut back to the checkpoint when a run resumes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pano_med.training.checkpoint import write_text


class StepLog:
    """Appends rows and flushes every `every` rows; the first row decides the columns.

    Args:
        path: the CSV file.
        every: rows between flushes.
        keep: rows with a step up to this one stay (0 = a new file); half a row that a kill left goes as well.
    """

    def __init__(self, path: Path, every: int = 10, keep: int = 0) -> None:
        rows = [r for r in _rows(path) if int(r["step"]) <= keep] if keep else []
        self._columns = list(rows[0]) if rows else None
        self._path = path
        write_text(path, table(rows))
        self._file = path.open("a", newline="", encoding="utf-8")
        self._every, self._waiting = every, 0

    def add(self, row: Mapping[str, Any]) -> None:
        """One row; columns that the first row did not have are left out."""
        fresh = self._columns is None
        self._columns = self._columns or list(row)
        writer = csv.DictWriter(self._file, self._columns, extrasaction="ignore", lineterminator="\n")
        with said(self._path):
            if fresh:
                writer.writeheader()
            writer.writerow({k: _short(v) for k, v in row.items()})
        self._waiting += 1
        if self._waiting >= self._every:
            self.flush()

    def flush(self) -> None:
        """Hand the rows to the disk."""
        with said(self._path):
            self._file.flush()
        self._waiting = 0

    def close(self) -> None:
        """Flush and close; a full disk is not said again here, while its error is on its way."""
        with suppress(OSError):
            self._file.close()


@contextmanager
def said(path: Path) -> Iterator[None]:
    """Say which file could not be written."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} could not be written: {error.strerror or error}; the last checkpoint is kept, make room "
                      "and resume") from error


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV text; the columns are those of all rows in order of appearance."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if columns:
        writer.writeheader()
    writer.writerows([{k: _short(v) for k, v in row.items()} for row in rows])
    return text.getvalue()


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()  # a row without its line end was cut by a kill
    return [r for r in csv.DictReader(lines) if None not in r.values() and None not in r and r["step"].isdigit()]


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
