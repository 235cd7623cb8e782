"""What a cohort leaves beside its slides: one row for each in cohort.csv, and a page for people. No torch, no dask."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path
from urllib.parse import quote

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
    body = f"<h1>Cohort</h1><p>{lead}</p>"
    body += _table("Failed", ("slide", "why", "tries"), [(r.slide, r.reason, str(r.tries)) for r in failed])
    body += _table("Waiting", ("slide",), [(r.slide,) for r in waiting])
    head = ("slide", "nuclei", "tissue, mm²", "nuclei per mm²", "seconds", "tries", "seams")
    return _PAGE.format(body=body + _table("Done", head, [_done(r) for r in done], [r.folder for r in done]))


def _done(row: Row) -> tuple[str, ...]:
    density = f"{row.nuclei / row.tissue_mm2:,.0f}" if row.nuclei is not None and row.tissue_mm2 else ""
    nuclei = "" if row.nuclei is None else f"{row.nuclei:,}"
    area = "" if row.tissue_mm2 is None else f"{row.tissue_mm2:,.2f}"
    seconds = "" if row.seconds is None else f"{row.seconds:,.0f}"
    return row.slide, nuclei, area, density, seconds, str(row.tries), row.seams


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], links: Sequence[str] = ()) -> str:
    if not rows:
        return ""
    first = "".join(f"<th scope=col>{escape(h)}</th>" for h in head)
    body = ""
    for i, (name, *cells) in enumerate(rows):
        label = f'<a href="{quote(links[i])}/">{escape(name)}</a>' if links else escape(name)
        body += f"<tr><th scope=row>{label}</th>{''.join(f'<td>{escape(c)}</td>' for c in cells)}</tr>\n"
    return f"<h2>{title}</h2><div class=wide><table><tr>{first}</tr>\n{body}</table></div>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Cohort</title><style>
:root{{color-scheme:light dark}}
body{{margin:0 auto;max-width:70rem;padding:0 1rem 3rem;font:1.05rem/1.5 system-ui,sans-serif}}
.ban{{margin:0 -1rem;padding:.6rem 1rem;background:#8a1c1c;color:#fff;font-weight:700;text-align:center}}
h1{{font-size:1.6rem}}h2{{font-size:1.2rem;margin:2rem 0 .5rem}}.wide{{overflow-x:auto}}
table{{border-collapse:collapse}}th,td{{text-align:left;vertical-align:top;padding:.35rem .9rem .35rem 0;
 border-bottom:1px solid #8888}}th[scope=row]{{font-weight:500;overflow-wrap:anywhere;min-width:12rem}}
th[scope=col]{{white-space:nowrap}}
td{{font-variant-numeric:tabular-nums}}
</style></head><body><p class=ban role=note>Not for diagnosis. Research and teaching only.</p>
<main>{body}</main></body></html>
"""
