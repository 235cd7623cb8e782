"""TrainingMonitor in JupyterLab: live beside cells, stopped by its button or the notebook's, kept as a picture."""

import pytest
from lab import Lab

expect = pytest.importorskip("playwright.sync_api", reason="playwright comes with the [dev] extra").expect

from drive_training_monitor import drive_training_monitor  # noqa: E402  the steps need Playwright

pytestmark = pytest.mark.browser

#: A loop that looks like a training; no torch, so that the test is about the widget.
MAKE = """
import math, random, time
from types import SimpleNamespace
from pano_med.widgets import TrainingMonitor

def fit(steps, on_step, on_validation, stop, progress):
    for step in range(1, steps + 1):
        if stop():
            return SimpleNamespace(ended="stopped", steps=step - 1)
        size = {"semantic": 1.2, "class": 0.8, "mask": 0.5}
        parts = {k: a * math.exp(-step / 80 + random.gauss(0, 0.2)) for k, a in size.items()}
        known = {"left": (steps - step) * 0.05, "total": steps}
        on_step({"step": step, "lr": 1e-3, "loss": sum(parts.values()), **parts, **known})
        if step % 20 == 0:
            pq = 0.6 - 0.5 * math.exp(-step / 60)
            on_validation({"step": step, "objects_pq": pq, "things_pq": None, "stuff_pq": 0.4})
        time.sleep(0.05)
    return SimpleNamespace(ended="finished", steps=steps)

monitor = TrainingMonitor(title="A run")
monitor
"""
BEHIND = "monitor.start(fit, 4000)"
ASK = "print(monitor.wait().steps, monitor.state['phase'])"
#: A cell that waits; the notebook's stop button ends the run, not only the wait.
WITHIN = "other = TrainingMonitor(title='Waited')\ndisplay(other)\nother.start(fit, 4000)\nprint(other.wait().ended)"


def test_training_monitor(lab: Lab) -> None:
    with lab.write("monitor", MAKE, BEHIND, ASK, WITHIN) as notebook:
        notebook.run(0)
        widget = notebook.output(0)
        expect(widget.locator(".pano-training")).to_have_attribute("data-phase", "waiting")
        notebook.run(1)
        drive_training_monitor(notebook, widget)
        notebook.screenshot("monitor", widget)
        notebook.run(2)
        steps, phase = notebook.text(2).split()
        assert phase == "ended"
        assert 20 <= int(steps) < 4000
        notebook.check_clean()

        notebook.page.evaluate("() => lab.start('notebook:run-cell', 3)")
        within = notebook.output(3)
        expect(within.locator(".pano-now")).to_contain_text("step", timeout=60_000)
        expect(within.locator(".pano-training")).to_have_attribute("data-phase", "training", timeout=60_000)
        notebook.page.evaluate("() => lab.kernel().interrupt()")
        expect(within.locator(".pano-training")).to_have_attribute("data-phase", "ended", timeout=60_000)
        notebook.idle()
        assert "stopped" in notebook.text(3)
        kept = [o for o in notebook.page.evaluate("i => lab.outputs(i)", 0) if "text/html" in o.get("data", {})]
        assert "A training after" in "".join(kept[-1]["data"]["text/plain"])  # the picture is the last one
        notebook.check_clean()
