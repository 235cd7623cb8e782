"""What a cohort leaves beside its slides: one row for each in cohort.csv, and a page for people. No torch, no dask."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pano_med import report
from pano_med.formats import replacing

CSV, PAGE = "cohort.csv", "cohort.html"
DONE, FAILED, WAITING = "done", "failed", "waiting"


@dataclass(frozen=True)
class Row:
    """What became of one slide.

    Attributes:
        slide: path of the file as it was found.
        folder: name of its result folder.
        state: "done", "failed", or "waiting" where the run was stopped before.
        nuclei: number of things, None where unknown.
        tissue_mm2: area that is neither background nor void, nuclei included, likewise.
        seconds: time of the attempt that finished it, reading and writing included, likewise.
        tries: how often a worker began with it; above 1 where a worker died or the run was stopped.
        seams: verdict of the seam certificate, "" where none was asked for.
        reason: why it failed, in words.
    """

    slide: str
    folder: str
    state: str
    nuclei: int | None = None
    tissue_mm2: float | None = None
    seconds: float | None = None
    tries: int = 0
    seams: str = ""
    reason: str = ""


_COLUMNS = [f.name for f in fields(Row)]


def write_rows(rows: Iterable[Row], folder: Path) -> None:
    """Write cohort.csv and cohort.html, each whole or not at all.

    Raises:
        OSError: they cannot be written.
    """
    rows = sorted(rows, key=lambda r: r.slide)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in asdict(row).items()} for row in rows)
    for name, content in ((CSV, text.getvalue()), (PAGE, page(rows))):
        with replacing(folder / name) as file:
            file.write(content.encode())


def read_rows(folder: Path) -> dict[str, Row]:
    """The rows of an earlier run by slide; none where there was no run, or its file is another's."""
    path = folder / CSV
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    try:
        rows = [Row(r["slide"], r["folder"], r["state"], *_numbers(r), r["seams"], r["reason"]) for r in found]
    except (KeyError, ValueError):
        return {}
    return {row.slide: row for row in rows}


def _numbers(row: dict[str, str]) -> tuple[int | None, float | None, float | None, int]:
    nuclei, area, seconds = row["nuclei"], row["tissue_mm2"], row["seconds"]
    return (int(nuclei) if nuclei else None, float(area) if area else None, float(seconds) if seconds else None,
            int(row["tries"]))


def page(rows: Sequence[Row]) -> str:
    """The page: what failed first, then the rest; it needs no network."""
    failed = [r for r in rows if r.state == FAILED]
    waiting = [r for r in rows if r.state == WAITING]
    done = [r for r in rows if r.state == DONE]
    nuclei, area = sum(r.nuclei or 0 for r in done), sum(r.tissue_mm2 or 0 for r in done)
    lead = f"{len(done)} of {len(rows)} slides are done: {nuclei:,} nuclei on {area:,.1f} mm² of tissue."
    if failed:
        lead += f" {len(failed)} failed; the first table says why."
    if waiting:
        lead += f" {len(waiting)} wait{'s' * (len(waiting) == 1)}: run the same command again with --resume."
    head = ("slide", "nuclei", "tissue, mm²", "nuclei per mm²", "seconds", "tries", "seams")
    return report.page("Cohort", (
        "<style>td{overflow-wrap:break-word}</style>",  # long names may break, numbers may not
        f"<h1>Cohort</h1><p>{lead}</p>",
        report.table("Failed", ("slide", "why", "tries"), [(r.slide, r.reason, str(r.tries)) for r in failed]),
        report.table("Waiting", ("slide",), [(r.slide,) for r in waiting]),
        report.table("Done", head, [_done(r) for r in done], links=[f"{r.folder}/" for r in done]),
    ))  # fmt: skip


def _done(row: Row) -> tuple[str, ...]:
    density = f"{row.nuclei / row.tissue_mm2:,.0f}" if row.nuclei is not None and row.tissue_mm2 else ""
    nuclei = "" if row.nuclei is None else f"{row.nuclei:,}"
    area = "" if row.tissue_mm2 is None else f"{row.tissue_mm2:,.2f}"
    seconds = "" if row.seconds is None else f"{row.seconds:,.0f}"
    return row.slide, nuclei, area, density, seconds, str(row.tries), row.seams
