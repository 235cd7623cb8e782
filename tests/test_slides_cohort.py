"""Cohorts: a bad slide is a row, a killed worker a retry, a lost scheduler a sentence, and a finished slide is kept."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from slide_cases import write_pyramid
from typer.testing import CliRunner

from pano_med.cli import app
from pano_med.models import EfficientPS
from pano_med.slides import cohort_work
from pano_med.slides.cohort import DEATHS, SchedulerLost, connect, default_workers, find_slides, jobs, run_cohort
from pano_med.slides.cohort_rows import DONE, FAILED, WAITING, Row, page, read_rows, write_rows
from pano_med.slides.cohort_work import Job, work
from pano_med.weights import save


class Now:
    """A client that does the work at once, in this process, in place of a cluster."""

    status = "running"

    def __init__(self, last: int | None = None) -> None:
        self.last, self.cancelled = last, False

    def map(self, task: Any, todo: list[Job], pure: bool) -> list[Any]:
        """Futures that are finished; those after `last` were lost with the scheduler."""
        done = todo if self.last is None else todo[: self.last]
        futures = [SimpleNamespace(key=str(i), status="finished", result=partial(task, job), release=lambda: None)
                   for i, job in enumerate(done)]
        return futures + [SimpleNamespace(key=f"lost{i}", status="cancelled", release=lambda: None)
                          for i in range(len(todo) - len(done))]

    def cancel(self, futures: list[Any], force: bool) -> None:
        """As a client does."""
        self.cancelled = True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pano_med.slides.cohort.as_completed", lambda futures: futures)


def files(folder: Path, *names: str) -> list[Path]:
    """Empty files in a folder, each larger than the one before."""
    for size, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return [folder / n for n in names]


def fake(job: Job) -> Row:
    """Counts letters; a slide called bad fails."""
    if "bad" in job.slide:
        return Row(job.slide, job.name, FAILED, tries=1, reason="it is bad <b>&</b> broken")
    return Row(job.slide, job.name, DONE, len(job.name), 0.5, 1.0, 1)


def test_slides_are_found_in_all_folders(tmp_path: Path) -> None:
    files(tmp_path, "b.svs", "a/x.TIFF", "a/notes.txt", "a/.hidden.svs", "s1/1.dcm", "s1/2.dcm", "s2/1.dcm", "m.mrxs",
          "m/Data0001.dat")
    found = [str(p.relative_to(tmp_path)) for p in find_slides(tmp_path)]
    assert found == ["a/x.TIFF", "b.svs", "m.mrxs", "s1/1.dcm", "s2/1.dcm"]
    with pytest.raises(FileNotFoundError, match=r"holds no slide; files that end with .*\.svs.* are taken"):
        find_slides(tmp_path / "m")
    with pytest.raises(NotADirectoryError, match="is not a folder; give the folder that holds the slides"):
        find_slides(tmp_path / "b.svs")


def test_the_largest_comes_first_and_names_are_unique(tmp_path: Path) -> None:
    todo = jobs(files(tmp_path, "a/x.svs", "b/x.svs", "c.svs"), tmp_path / "out", places=3)
    assert [j.name for j in todo] == ["c", "b_x", "a_x"]
    assert {j.places for j in todo} == {3}
    assert all(Path(j.slide).is_absolute() for j in todo)


@pytest.mark.usefixtures("at_once")
def test_one_failure_is_a_row(tmp_path: Path) -> None:
    todo, told = jobs(files(tmp_path, "one.svs", "bad.svs", "three.svs"), tmp_path / "out"), []
    rows = run_cohort(todo, tmp_path / "out", Now(), task=fake, on_row=lambda r, n, of: told.append((r.folder, n, of)))
    assert [(r.folder, r.state) for r in rows] == [("bad", FAILED), ("one", DONE), ("three", DONE)]
    assert told == [("three", 1, 3), ("bad", 2, 3), ("one", 3, 3)]
    with (tmp_path / "out" / "cohort.csv").open(encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [(r["folder"], r["state"], r["nuclei"]) for r in written] == [
        ("bad", "failed", ""), ("one", "done", "3"), ("three", "done", "5")]  # fmt: skip
    html = (tmp_path / "out" / "cohort.html").read_text(encoding="utf-8")
    assert "2 of 3 slides are done: 8 nuclei on 1.0 mm²" in html
    assert "it is bad &lt;b&gt;&amp;&lt;/b&gt; broken" in html
    with pytest.raises(FileExistsError, match="already holds a cohort; add --resume"):
        run_cohort(todo, tmp_path / "out", Now(), task=fake)


@pytest.mark.usefixtures("at_once")
def test_a_scheduler_that_goes_away_is_a_sentence_and_what_is_done_is_kept(tmp_path: Path) -> None:
    todo, client = jobs(files(tmp_path, "one.svs", "two.svs", "three.svs"), tmp_path / "out"), Now(last=1)
    with pytest.raises(SchedulerLost, match="went away; 1 of 3 slides are done and kept.* with --resume"):
        run_cohort(todo, tmp_path / "out", client, task=fake)
    states = [r.state for r in read_rows(tmp_path / "out").values()]
    assert sorted(states) == [DONE, WAITING, WAITING]


def test_no_scheduler_there() -> None:
    message = "no scheduler answers at tcp://127.0.0.1:9: check the address"
    with pytest.raises(SchedulerLost, match=message), connect("tcp://127.0.0.1:9", timeout=0.5):
        pass


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [Row('/a "quoted", name.svs', "a", DONE, 12, 3.25, 60.5, 2, "pass"),
            Row("/b.svs", "b", FAILED, tries=1, reason="two\nlines"), Row("/c.svs", "c", WAITING)]
    write_rows(rows, tmp_path)
    assert list(read_rows(tmp_path).values()) == rows
    (tmp_path / "cohort.csv").write_text("something,else\n1,2\n", encoding="utf-8")
    assert read_rows(tmp_path) == {} == read_rows(tmp_path / "nowhere")


def test_the_page_says_what_waits_and_links_what_is_done() -> None:
    text = page([Row("/x/a b.svs", "a b", DONE, 1200, 2.0, 61.4, 2, "fail"), Row("/x/w.svs", "w", WAITING)])
    assert "1 waits: run the same command again with --resume" in text
    assert '<a href="a%20b/">/x/a b.svs</a></th><td>1,200</td><td>2.00</td><td>600</td><td>61</td><td>2</td>' in text
    assert "http" not in text


@pytest.mark.parametrize(("cores", "gib", "workers"), [(8, 64, 8), (8, 13, 4), (8, 2, 1), (1, 64, 1)])
def test_as_many_workers_as_fit(monkeypatch: pytest.MonkeyPatch, cores: int, gib: int, workers: int) -> None:
    assert 1 <= default_workers() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gib << 18}.get, raising=False)
    assert default_workers() == workers


def test_workers_here_or_a_scheduler_there(tmp_path: Path) -> None:
    words = ["cohort", str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "2", "--scheduler", "tcp://x:1"]
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, words)
    assert told.exit_code == 2
    assert "give one of the two" in " ".join(told.output.replace("│", " ").split())


def test_results_do_not_go_among_the_slides(tmp_path: Path) -> None:
    files(tmp_path, "a/one.svs")
    for out in (tmp_path, tmp_path / "a"):
        told = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["cohort", str(tmp_path / "a"), "--out", str(out)])
        assert told.exit_code == 1
        assert "itself; choose a folder of its own for --out" in told.output


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two slides of 300 x 300 px, a text file that says it is one, and weights that know nothing."""
    home = tmp_path_factory.mktemp("slides")
    rng = np.random.default_rng(0)
    for name in ("a.tif", "b.tif"):
        write_pyramid(home / name, rng.integers(80, 220, (300, 300, 3), np.uint8), 0.5, levels=1)
    (home / "text.svs").write_text("no slide", encoding="utf-8")
    torch.manual_seed(0)
    weights = save(EfficientPS.small(centres=False), home / "nothing.safetensors", {"model_mpp": 0.5})
    return home, {"weights": str(weights), "device": "cpu"}


@pytest.mark.usefixtures("at_once")
def test_slides_are_segmented_and_not_again(slides: tuple[Path, dict[str, Any]], tmp_path: Path,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    home, options = slides
    out, todo = tmp_path / "out", jobs(find_slides(home), tmp_path / "out", places=2, **options)
    rows = {r.folder: r for r in run_cohort(todo, out, Now(), task=work)}
    assert [rows[n].state for n in ("a", "b", "text")] == [DONE, DONE, FAILED]
    assert "text.svs" in rows["text"].reason
    assert rows["a"].seams in ("pass", "fail")
    assert (out / "a" / "seams.json").is_file()
    (out / "b" / "seams.json").unlink()  # as if it had been killed before it was certified
    assert run_cohort(todo, out, Now(), task=fake, resume=True)[1].nuclei == len("b"), "b is work again, a is not"
    work(todo[[j.name for j in todo].index("b")])
    monkeypatch.setattr(cohort_work, "segment_slide", None)  # would fail
    again = {r.folder: r for r in run_cohort(todo, out, Now(), task=work, resume=True)}
    assert (again["a"], again["b"], again["text"].tries) == (rows["a"], replace(rows["b"], seconds=None), 2)
    write_pyramid(home / "b.tif", np.full((300, 300, 3), 200, np.uint8), 0.5, levels=1)  # another slide of that name
    changed = {r.folder: r for r in run_cohort(todo, out, Now(), task=work, resume=True)}
    assert (changed["a"].state, changed["b"].state) == (DONE, FAILED)


SLOW_WORK = """
import os, time
from pathlib import Path
from pano_med.slides.cohort_rows import DONE, FAILED, Row
from pano_med.slides.cohort_work import _count_try

def slow(job):
    tries = _count_try(job)
    Path(job.out, job.name + ".pid").write_text(str(os.getpid()))
    if "deadly" in job.name:
        os._exit(1)
    time.sleep(0.2 if tries > 1 else float(os.environ.get("PANO_SLOW", 1)))
    return Row(job.slide, job.name, DONE, 1, 1.0, 1.0, tries)
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A task of a module that workers find too; its first try takes long."""
    (tmp_path / "slow_work.py").write_text(SLOW_WORK, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PANO_SLOW", "60")
    yield __import__("slow_work").slow
    del sys.modules["slow_work"]


def eventually(what: Any, seconds: float = 300) -> Any:
    """The first true value of `what()`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


@pytest.mark.slow
def test_a_killed_worker_costs_its_slide_a_retry(slow: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    todo = jobs(files(tmp_path, "one.svs"), out)

    def kill() -> None:
        pid = eventually(lambda: (out / "one.pid").is_file() and (out / "one.pid").read_text())
        os.kill(int(pid), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with connect(workers=1) as client:
        (row,) = run_cohort(todo, out, client, task=slow)
    killer.join()
    assert (row.state, row.tries) == (DONE, 2)


@pytest.mark.slow
def test_a_slide_that_kills_its_workers_is_given_up(slow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANO_SLOW", "0.1")
    todo = jobs(files(tmp_path, "deadly.svs", "fine.svs"), tmp_path / "out")
    with connect(workers=1) as client:
        rows = run_cohort(todo, tmp_path / "out", client, task=slow)
    assert [(r.folder, r.state) for r in rows] == [("deadly", FAILED), ("fine", DONE)]
    assert rows[0].tries == DEATHS + 1
    assert "the worker died 4 times with this slide in work" in rows[0].reason


def dask(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", f"distributed.cli.dask_{words[0]}", *words[1:], "--no-dashboard"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_real_scheduler_that_is_killed(slow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANO_SLOW", "1")
    address = tmp_path / "scheduler.json"
    scheduler = dask("scheduler", "--scheduler-file", str(address), "--port", "0", "--host", "127.0.0.1")
    worker = dask("worker", "--scheduler-file", str(address), "--nthreads", "1", "--death-timeout", "120")
    try:
        eventually(address.is_file)
        todo = jobs(files(tmp_path, *(f"{i}.svs" for i in range(9))), tmp_path / "out")
        with (
            pytest.raises(SchedulerLost, match=r"went away; [1-8] of 9 slides are done and kept"),
            connect(str(address)) as client,
        ):
            run_cohort(todo, tmp_path / "out", client, task=slow, on_row=lambda *_: scheduler.kill())
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    assert DONE in {r.state for r in read_rows(tmp_path / "out").values()}


@pytest.mark.slow
def test_ctrl_c_stops_with_a_sentence_and_resume_goes_on(slides: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    home, options = slides
    words = [sys.executable, "-m", "pano_med", "cohort", home, "--out", tmp_path / "out", "--workers", "1"]
    words = [str(w) for w in [*words, "--weights", options["weights"], "--device", "cpu"]]
    first = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    eventually(lambda: list((tmp_path / "out" / "work").glob("*.tries")))
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, said = first.communicate(timeout=300)
    assert first.returncode == 130, said
    assert "with --resume goes on from there" in said
    assert "Traceback" not in said
    second = subprocess.run([*words, "--resume"], capture_output=True, text=True, check=False, timeout=300)
    assert second.returncode == 1, second.stderr  # text.svs is no slide
    rows = {r.folder: r.state for r in read_rows(tmp_path / "out").values()}
    assert rows == {"a": DONE, "b": DONE, "text": FAILED}

