"""Two dask workers against two bare processes on the same slides, one thread each, in turn"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from pano_med.slides.cohort import connect, jobs, run_cohort
from pano_med.synthetic import he_tile

BARE = """
import sys
from pathlib import Path
from pano_med.predict import load_segmenter
from pano_med.slides import open_slide
from pano_med.slides.run import segment_slide
segmenter = load_segmenter()
for path in map(Path, sys.argv[2:]):
    with open_slide(path) as slide:
        segment_slide(slide, segmenter, Path(sys.argv[1]) / path.stem)
"""


def run(slides: int = 6, side: int = 2048, rounds: int = 2) -> list[dict]:
    """Rows for `benchmarks/run.py`: sums over the rounds; both sides begin with processes that have loaded nothing."""
    ours = theirs = start = 0.0
    with tempfile.TemporaryDirectory() as home:
        paths = paint(Path(home), slides, side)
        for turn in range(rounds):
            theirs += bare(paths, Path(home) / f"bare{turn}")
            seconds, begun = clustered(paths, Path(home) / f"dask{turn}")
            ours, start = ours + seconds, start + begun
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    note = (f"{slides} slides of {side} x {side} px, real network, {rounds} rounds in turn; starting the cluster "
            f"({start / rounds:.1f} s) is not counted; load {load:.1f}; target 0.9")  # fmt: skip
    return [{"what": "cohort on two dask workers", "against": "two bare processes", "ours_s": ours, "theirs_s": theirs,
             "ratio": theirs / ours, "note": note}]


def paint(home: Path, slides: int, side: int) -> list[Path]:
    """The same field under several names, each told apart by one pixel."""
    part = he_tile(5, (512, 512), pixel_size_um=0.25).image
    image = np.tile(part, (side // 512, side // 512, 1))
    paths = []
    for i in range(slides):
        image[0, 0] = i
        paths.append(home / f"slide{i}.tif")
        tifffile.imwrite(paths[-1], image, tile=(256, 256), photometric="rgb", resolution=(40000, 40000),
                         resolutionunit="CENTIMETER")  # fmt: skip
    return paths


def bare(paths: list[Path], out: Path) -> float:
    """Seconds of two processes that share the slides."""
    one = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    start = time.perf_counter()
    words = [[sys.executable, "-c", BARE, str(out), *map(str, paths[half::2])] for half in (0, 1)]
    running = [subprocess.Popen(w, env=one) for w in words]
    if any([process.wait() for process in running]):
        raise RuntimeError("a bare process failed")
    return time.perf_counter() - start


def clustered(paths: list[Path], out: Path) -> tuple[float, float]:
    """Seconds of two dask workers, and those that their cluster took to start."""
    begun = time.perf_counter()
    with connect(workers=2) as client:
        start = time.perf_counter()
        rows = run_cohort(jobs(paths, out), out, client)
        seconds = time.perf_counter() - start
    if any(r.state != "done" for r in rows):
        raise RuntimeError(f"a slide failed: {[r.reason for r in rows]}")
    return seconds, start - begun
