"""Whole slides: is the cost linear, how much memory, what besides the network, and is PQ that of the untiled image?

Each run is a process of its own. Slides are painted as they are read; a perfect predictor reads the truth off the
pixels. `bench_slides.py 32768 1.0` runs one size with one share of tissue and prints its figures.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"

CHILD = """
import json, sys, tempfile, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from slide_cases import PaintedSlide, PerfectPredictor
from pano_med.predict import load_segmenter
from pano_med.slides import run
kind, side, share = sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
slide = PaintedSlide((side, side), tissue=share)
segmenter = PerfectPredictor(slide) if kind == "perfect" else load_segmenter()
network, looked = [], []
predict, piece_of = segmenter.predict, run.piece_of

def timed(call):
    def inner(*args):
        began = time.perf_counter()
        try:
            return call(*args)
        finally:
            network.append(time.perf_counter() - began)
    return inner

def watched(image, mpp):
    looked.append(image.shape[0] * image.shape[1] * mpp**2 / 1e6)
    return predict(image, mpp)

segmenter.predict, run.piece_of = timed(watched), timed(piece_of)
began, cpu = time.perf_counter(), time.process_time()
with tempfile.TemporaryDirectory() as folder:
    result = run.segment_slide(slide, segmenter, Path(folder) / "r")
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    nuclei = sum(result.manifest["counts"].values())
status = Path("/proc/self/status").read_text()
print(json.dumps({"s": seconds, "cpu": cpu, "network": sum(network), "mm2": side**2 * share * slide.mpp**2 / 1e6,
                  "looked": sum(looked), "gib": int(status.split("VmHWM:")[1].split()[0]) / 2**20, "nuclei": nuclei}))
"""


def measure(kind: str, side: int, share: float) -> dict:
    """One slide: seconds, CPU seconds, seconds in network and fusion, mm2 of tissue and looked at, peak GiB."""
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(TESTS), kind, str(side), str(share)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def run() -> list[dict]:
    """Rows for `benchmarks/run.py`."""
    rows = []
    for what, kind, small, large in (
        ("a perfect predictor", "perfect", (4096, 0.25), (32768, 0.25)),
        ("he-nano", "real", (4096, 0.25), (8192, 0.25)),
    ):
        few, many = measure(kind, *small), measure(kind, *large)
        for area, name in (("looked", "looked at"), ("mm2", "of tissue")):
            ours, theirs = many["cpu"] / many[area], few["cpu"] / few[area]
            note = f"CPU seconds; {many[area]:.1f}, {few[area]:.2f} mm2; {many['nuclei']} nuclei; target 0.91 or more"
            rows.append(_row(f"time per mm2 {name}, {what}, {large[0]} px, {large[1]:.0%} tissue",
                             f"{small[0]} px, {small[1]:.0%} tissue", ours, theirs, note))
        for side, found in ((small[0], few), (large[0], many)):
            what_for = f"peak memory in GiB, {what}, {side} px"
            rows.append(_row(what_for, "target 2.5", found["gib"], 2.5, "whole process"))
    more, network = many["s"] - many["network"], many["network"]
    rows.append(_row("reading, joining and writing that the network waits for, he-nano, 8192 px",
                     "15 % of network and fusion", more, 0.15 * network, f"{more / network:.1%} of {network:.0f} s"))
    return [*rows, _untiled()]


def _untiled(side: int = 3072) -> dict:
    """PQ of nuclei on a painted image of `side` px: as a slide, and in one piece."""
    import numpy as np

    from pano_med.lessons.a_slide import write_slide
    from pano_med.metrics import things_quality
    from pano_med.predict import load_segmenter, segmenter
    from pano_med.slides import open_slide
    from pano_med.slides.run import segment_slide
    from pano_med.slides.seams import as_panoptic
    from pano_med.synthetic import Knobs, he_tile

    tile = he_tile(5, (side, side), Knobs(crowding=1.5), pixel_size_um=0.25)
    ours = load_segmenter()
    with tempfile.TemporaryDirectory() as folder:
        with open_slide(write_slide(Path(folder) / "painted.tif", tile.image, 0.25)) as slide:
            result = segment_slide(slide, ours, Path(folder) / "r")
        stitched = as_panoptic(np.asarray(result.ids()[:]), np.asarray(result.classes()[:]), result.taxonomy)
    segmenter.TILE = 2 * side  # in one piece
    whole = ours(tile.image, 0.25).panoptic
    a, b = (things_quality(tile.truth, found).mean("things")[0] for found in (stitched, whole))
    return _row(f"nuclei PQ of a painted slide, {side} px", "in one piece; target -0.01", a, b,
                f"{len(tile.truth.things)} nuclei; PQ in place of seconds", a / b)


def _row(what: str, against: str, ours: float, theirs: float, note: str, ratio: float | None = None) -> dict:
    ratio = theirs / ours if ratio is None else ratio
    return {"what": what, "against": against, "ours_s": ours, "theirs_s": theirs, "ratio": ratio, "note": note}


if __name__ == "__main__":
    for kind in ("perfect", "real") if len(sys.argv) == 3 else ():
        print(kind, measure(kind, int(sys.argv[1]), float(sys.argv[2])))
    if len(sys.argv) != 3:
        for row in run():
            print(row)
