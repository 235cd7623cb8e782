"""How soon the fusion lab answers a slider, in JupyterLab in a real browser, against the target of 150 ms.

From the slider's event in the page to the redraw of all six pictures, with the merge in the kernel, PQ, and the way
there and back. The page stamps each answer; the median of some steps of the score slider counts.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from lab import CHROMIUM, start_lab

SIDE, STEPS, TARGET = 512, 12, 0.150
#: No graphics card at all: the processor draws.
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
CELL = f"""
import numpy as np
from pano_med.lessons.fusing import Merger
from pano_med.predict import load_segmenter
from pano_med.synthetic import he_tile
from pano_med.widgets import FusionLab
tile = he_tile(7, ({SIDE}, {SIDE}), pixel_size_um=0.5)
lab = FusionLab(tile.image, Merger(load_segmenter().predict(np.array(tile.image), 0.5)), truth=tile.truth)
print(len(lab.first["fates"]))
lab
"""
STAMP = "() => document.querySelector('.pano-fusion-lab')?.dataset.milliseconds"


def steps(page: Any, rule: str, count: int = STEPS) -> list[float]:
    """Seconds from event to redraw of `count` steps of the score slider under a rule."""
    page.get_by_role("radio", name=rule).check()
    page.wait_for_timeout(1500)
    slider, seconds = page.get_by_role("slider", name="score above"), []
    slider.focus()
    for i in range(count):
        page.evaluate("() => { delete document.querySelector('.pano-fusion-lab').dataset.milliseconds }")
        page.keyboard.press("ArrowRight" if i < count / 2 else "ArrowLeft")
        page.wait_for_timeout(600)  # no polling: it would keep the page busy
        page.wait_for_function(STAMP, polling=200)
        seconds.append(float(page.evaluate(STAMP)) / 1000)
    return seconds


def run() -> list[dict[str, Any]]:
    """Rows for each rule: ours_s is the median, theirs_s the target."""
    rows = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as home:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with start_lab(browser, Path(home)) as lab, lab.write("bench", CELL) as notebook:
            things = next(o["text"].strip() for o in notebook.run(0) if o["output_type"] == "stream")
            for rule in ("paper", "official code", "heuristic"):
                seconds = steps(notebook.page, rule)
                median = statistics.median(seconds)
                rows.append(
                    {
                        "what": f"fusion lab, slider to redraw, {SIDE} x {SIDE}, {things} instances, {rule}",
                        "against": "target 150 ms",
                        "ours_s": median,
                        "theirs_s": TARGET,
                        "ratio": TARGET / median,
                        "note": f"median of {len(seconds)} steps, slowest {max(seconds):.2f} s; "
                        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
                    }
                )
            notebook.check_clean()
        browser.close()
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
