"""Run every benchmark (benchmarks/bench_*.py) and write docs/benchmarks.md: `make bench`, or `run.py fusion metrics`.

A benchmark is a module with `run() -> list[dict]`; each row says what was measured, against what, both times in
seconds, their ratio (theirs / ours, larger is better for us) and a note. Both sides of a ratio run in the same process
on the same machine, so the ratio travels; the seconds do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import runpy
import sys
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
COLUMNS = ("what", "against", "ours_s", "theirs_s", "ratio", "note")
HEADS = ("what", "against", "ours (s)", "theirs (s)", "ratio", "note")
LIBRARIES = ("torch", "torchvision", "torchmetrics", "numpy", "scipy", "scikit-image", "monai")


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks named on the command line (default all), print the rows, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="fusion for bench_fusion.py; none = all")
    parser.add_argument("--out", type=Path, help="page to write; default docs/benchmarks.md, and only when all ran")
    args = parser.parse_args(argv)
    files = sorted(HERE.glob("bench_*.py"))
    unknown = set(args.names) - {_name(f) for f in files}
    if unknown:
        parser.error(f"no such benchmark: {sorted(unknown)}; there are {[_name(f) for f in files]}")
    sections, failed = [], []
    for file in (f for f in files if not args.names or _name(f) in args.names):
        print(f"{_name(file)} ...", file=sys.stderr, flush=True)
        try:
            title, seconds, rows = _run(file)
        except Exception as error:  # one broken benchmark does not cost the figures of the others
            print(f"{_name(file)}: {type(error).__name__}: {error}", file=sys.stderr)
            failed.append(_name(file))
            continue
        sections.append("\n".join([f"## {title}", "", *_table(rows), "", f"`{file.name}`, {seconds:.0f} s in all."]))
        print(sections[-1], flush=True)
    out = args.out or (None if args.names or failed else PAGE)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n\n".join([*_head(), *sections]) + "\n", encoding="utf-8")
        print(f"wrote {out}", file=sys.stderr)
    return 1 if failed else 0


def _name(file: Path) -> str:
    return file.stem.removeprefix("bench_")


def _run(file: Path) -> tuple[str, float, list[dict[str, Any]]]:
    module = runpy.run_path(str(file))
    start = time.perf_counter()
    rows = module["run"]()
    seconds = time.perf_counter() - start
    strange = [set(row) ^ set(COLUMNS) for row in rows if set(row) != set(COLUMNS)]
    if strange or not rows:
        raise ValueError(f"run() must give rows with the keys {COLUMNS}, differing: {strange[:1] or 'no row at all'}")
    return (module["__doc__"] or _name(file)).strip().splitlines()[0].rstrip("."), seconds, rows


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"| {' | '.join(HEADS)} |"
    yield "|---|---|---:|---:|---:|---|"
    for row in rows:
        yield f"| {' | '.join(_cell(row[c]) for c in COLUMNS)} |"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)


def _head() -> list[str]:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    here = f"{machine()}; Python {platform.python_version()}, {libraries}"
    return [
        "# Benchmarks",
        f"Written by `make bench` on {date.today():%Y-%m-%d}: {here}.",
        "Both sides of a ratio ran in one process, one after the other; ratio = theirs / ours.",
        "Two comparisons take hours and have pages of their own: [peers](peers.md) (PQ, time, memory and parameters of "
        "other methods, trained alike) and [ablations](ablations.md) (what each part of the recipe is worth).",
    ]


def machine() -> str:
    """The machine in words: processor, cores that this process may use, torch's threads, memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = ""
    if hasattr(os, "sysconf"):
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB memory"
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {cores} cores, {torch.get_num_threads()} torch threads{memory}, {platform.system()}"


if __name__ == "__main__":
    sys.exit(main())
