"""Many slides on many processes or machines: dask.distributed hands each slide to a worker that is free.

A slide is one task, so nothing but file names goes over the network; workers read slides and write results by
themselves, on a file system that all of them see. A task whose worker dies is given to another worker, which goes on
from the last tile.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, KilledWorker, LocalCluster, as_completed

from pano_med.formats import make_folder
from pano_med.outputs import output_names
from pano_med.slides.cohort_rows import CSV, DONE, FAILED, WAITING, Row, read_rows, write_rows
from pano_med.slides.cohort_work import Job, row_of, work
from pano_med.slides.reader import fingerprint
from pano_med.slides.seam_certificate import read_verdict
from pano_med.slides.sources import VENDOR_SUFFIXES
from pano_med.slides.store import MANIFEST, Result

#: Files that are taken for slides; others are left alone.
SUFFIXES = frozenset({*VENDOR_SUFFIXES, ".tif", ".tiff"})
#: A slide whose worker died this often is given up: it would kill every worker of the cluster.
DEATHS = 3
#: Seconds between two writings of the table while slides are finished.
EVERY = 2.0
#: Memory of one worker, network included, in GiB; as many start as fit.
WORKER_GIB = 3.0
Work = Callable[[Job], Row]


class SchedulerLost(ConnectionError):
    """The scheduler went away in the middle, or is not there; the message says what is done and how to go on."""


def find_slides(folder: str | Path) -> list[Path]:
    """The slides in a folder and in those below it, sorted; of a DICOM series the first file.

    Raises:
        NotADirectoryError: no such folder.
        FileNotFoundError: there is no slide in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; give the folder that holds the slides")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    series: set[Path] = set()
    found = []
    for path in (p for p in files if not p.name.startswith(".")):
        if path.suffix.lower() == ".dcm":
            if path.parent in series:
                continue
            series.add(path.parent)
        found.append(path)
    if not found:
        raise FileNotFoundError(f"{folder} holds no slide; files that end with {', '.join(sorted(SUFFIXES))} are taken")
    return found


def jobs(slides: Sequence[Path], out: str | Path, **options: Any) -> list[Job]:
    """One job for each slide, under absolute paths, the largest file first so that none is left for the end.

    Args:
        slides: the files.
        out: folder of the cohort.
        options: mpp, weights, device, places and types of each `Job`.
    """
    pairs = zip(slides, output_names(slides), strict=True)
    by_size = sorted(pairs, key=lambda pair: (-pair[0].stat().st_size, pair[0]))
    return [Job(str(p.resolve()), str(Path(out).resolve()), name, **options) for p, name in by_size]


def run_cohort(todo: Sequence[Job], out: str | Path, client: Client, *, resume: bool = False,
               on_row: Callable[[Row, int, int], None] | None = None, task: Work = work) -> list[Row]:
    """Segment the slides of a cohort; cohort.csv and cohort.html are kept up to date on the way.

    Args:
        todo: from `jobs`.
        out: folder of the cohort.
        client: of a running scheduler.
        resume: leave finished slides as they are and go on with the others; without it, `out` must be new.
        on_row: called with (row, slides finished, slides in all).
        task: what a worker does.

    Returns:
        One row for each slide, by name.

    Raises:
        FileExistsError: `out` holds a cohort already and `resume` is False.
        SchedulerLost: the scheduler went away; slides that are done stay done.
    """
    out = Path(out)
    make_folder(out)
    if (out / CSV).exists() and not resume:
        raise FileExistsError(f"{out} already holds a cohort; add --resume to go on, or choose another folder")
    rows = {job.slide: Row(job.slide, job.name, WAITING) for job in todo}
    rows.update(_finished(todo, out))
    waiting = [job for job in todo if rows[job.slide].state == WAITING]
    table = _Table(rows, out, on_row)
    futures = {}
    try:
        futures = {f.key: (f, job) for f, job in zip(client.map(task, waiting, pure=False), waiting, strict=True)}
        for future in as_completed([f for f, _ in futures.values()]):
            table.add(_row(future, futures[future.key][1]))
            future.release()
    except ConnectionError as error:
        raise SchedulerLost(_lost(table)) from error
    finally:
        table.write()
        if client.status == "running":
            client.cancel([f for f, _ in futures.values()], force=True)
    return sorted(rows.values(), key=lambda r: r.slide)


class _Table:
    """The rows as they come in."""

    def __init__(self, rows: dict[str, Row], out: Path, on_row: Callable[[Row, int, int], None] | None) -> None:
        self.rows, self._out, self._on_row = rows, out, on_row
        self._written = -EVERY

    @property
    def finished(self) -> int:
        return sum(r.state != WAITING for r in self.rows.values())

    def add(self, row: Row) -> None:
        self.rows[row.slide] = row
        if self._on_row is not None:
            self._on_row(row, self.finished, len(self.rows))
        if time.monotonic() - self._written > EVERY:
            self.write()

    def write(self) -> None:
        write_rows(self.rows.values(), self._out)
        self._written = time.monotonic()


def _row(future: Any, job: Job) -> Row:
    """The row of a task that ended; an error that is not the slide's own is one too."""
    if future.status == "cancelled":
        raise ConnectionError("the scheduler went away")
    if future.status == "finished":
        row: Row = future.result()
        return row
    error = future.exception()
    if isinstance(error, KilledWorker):
        reason = (f"the worker died {DEATHS + 1} times with this slide in work: most likely its memory was not enough; "
                  "give the workers more, or start fewer of them")
        return Row(job.slide, job.name, FAILED, tries=DEATHS + 1, reason=reason)
    return Row(job.slide, job.name, FAILED, tries=1, reason=" ".join(str(error).split()) or type(error).__name__)


def _lost(table: _Table) -> str:
    done = sum(r.state == DONE for r in table.rows.values())
    return (f"the scheduler went away; {done} of {len(table.rows)} slides are done and kept. Start it again, then run "
            "the same command with --resume")


def _finished(todo: Iterable[Job], out: Path) -> dict[str, Row]:
    """Rows of the slides that an earlier run has finished: the same file, a manifest that says so, seams if asked."""
    before = read_rows(out)
    rows = {}
    for job in todo:
        folder = out / job.name
        if not (folder / MANIFEST).is_file() or (job.places and not read_verdict(folder)):
            continue
        result = Result(folder)
        if job.types != bool(result.taxonomy.note):  # a worker says whether that fits
            continue
        if result.done and result.manifest["slide"]["fingerprint"] == fingerprint(Path(job.slide)):
            old = before.get(job.slide)
            kept = old is not None and old.state == DONE and old.seams == read_verdict(folder)
            rows[job.slide] = old if old and kept else row_of(result, job.slide, job.name, None, 1)
    return rows


def default_workers() -> int:
    """As many workers as there are cores, and as fit into memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not hasattr(os, "sysconf"):
        return cores
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min(cores, int(gib / WORKER_GIB)))


@contextmanager
def connect(scheduler: str | None = None, workers: int | None = None, timeout: float = 10) -> Iterator[Client]:
    """A client of the scheduler at an address, or of a cluster on this machine, which ends with the block.

    Args:
        scheduler: such as tcp://10.0.0.5:8786, or a file that `dask scheduler --scheduler-file` wrote.
        workers: processes of one thread on this machine; None = `default_workers`.
        timeout: seconds to wait for an answer of the scheduler.

    Raises:
        SchedulerLost: no scheduler answers there.
    """
    with _quiet(), dask.config.set({"distributed.scheduler.allowed-failures": DEATHS,
                                    "distributed.scheduler.worker-saturation": 1.0}):
        if scheduler is None:
            number = default_workers() if workers is None else workers
            with _deaf():
                cluster = LocalCluster(n_workers=number, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
            with cluster, Client(cluster) as client:
                yield client
            return
        where = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
        try:
            client = Client(**where, timeout=timeout)
        except (OSError, ValueError) as error:
            raise SchedulerLost(f"no scheduler answers at {scheduler}: check the address, and that `dask scheduler` "
                                f"runs there ({' '.join(str(error).split())})") from error
        with client:
            yield client


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that start here ignore Ctrl-C, which a terminal sends to all; ours ends them without tracebacks."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask tells each lost connection with a traceback; here a row or a sentence tells it."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
