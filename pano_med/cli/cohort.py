"""`pano-med cohort`: every slide of a folder, on this machine or on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pano_med.cli.app import say
from pano_med.slides.cohort import connect, find_slides, jobs, run_cohort
from pano_med.slides.cohort_rows import DONE, FAILED, PAGE, Row


def run(folder: Path, out: Path, scheduler: str | None, workers: int | None, resume: bool, places: int,
        types: bool, mpp: float | None, weights: str | None, device: str | None, quiet: bool) -> int:
    """Do it; the exit code is 1 where a slide failed."""
    if scheduler is not None and workers is not None:
        raise typer.BadParameter("--workers starts processes on this machine, --scheduler uses those of a cluster: "
                                 "give one of the two")
    slides = [p for p in find_slides(folder) if out.resolve() not in p.resolve().parents]
    if not slides:  # results are told from slides by lying in --out
        raise ValueError(f"all slides of {folder} lie in {out} itself; choose a folder of its own for --out")
    todo = jobs(slides, out, mpp=mpp, weights=weights, device=device, places=places, types=types)
    bar = Progress(TextColumn("slides"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                   disable=quiet or not sys.stderr.isatty())
    done = 0

    def tell(row: Row, finished: int, total: int) -> None:
        nonlocal done
        done += row.state == DONE
        bar.update(task, completed=finished, total=total)
        if row.state == FAILED:
            say(row.reason if row.slide in row.reason else f"{row.slide}: {row.reason}")
        elif not quiet:
            again = f", {row.tries} tries" if row.tries > 1 else ""
            print(f"{row.folder}: {row.nuclei:,} nuclei, {row.tissue_mm2:.3g} mm2, {row.seconds:.0f} s{again}",
                  flush=True)

    try:
        with connect(scheduler, workers) as client, bar:
            task = bar.add_task("slides", total=len(todo))
            rows = run_cohort(todo, out, client, resume=resume, on_row=tell)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"stopped; {done} of {len(todo)} slides were done in this run, and what was done is "
                                f"kept in {out}: the same command with --resume goes on from there") from stop
    failed = sum(r.state == FAILED for r in rows)
    if failed:
        say(f"{failed} of {len(rows)} slides failed; {out / PAGE} says why")
    elif not quiet:
        print(f"all {len(rows)} slides are done; see {out / PAGE}")
    return int(bool(failed))
