"""The desk of the browser tests sees what goes wrong."""

import re

import pytest
from lab import Lab

pytestmark = pytest.mark.browser


def test_lab_runs_cells_and_sees_faults(lab: Lab) -> None:
    js = "fetch('http://example.org/x.js').catch(() => 0); console.error('a fault')"
    with lab.write(
        "desk",
        "import sys; print(sys.executable)",
        "def stub():\n    raise NotImplementedError('exercise 0.0')\nstub()",
        f"from IPython.display import Javascript; Javascript({js!r})",
        "1 / 0",
        "import ipywidgets as w; s = w.IntSlider(description='n'); l = w.Label(); "
        "s.observe(lambda c: setattr(l, 'value', f'got {c.new}'), 'value'); w.VBox([s, l])",
    ) as notebook:
        assert notebook.cells == 5
        notebook.run(0)
        assert "python" in notebook.text(0)
        with pytest.raises(AssertionError, match="code cell 1 ended with NotImplementedError: exercise 0.0"):
            notebook.run(1)
        notebook.run(1, allow=["NotImplementedError"])
        notebook.check_clean()
        slider = notebook.run(4) and notebook.output(4).locator(".noUi-handle")
        slider.focus()
        notebook.page.keyboard.press("ArrowRight")
        notebook.idle()
        assert "got 1" in notebook.text(4)
        notebook.check_clean()
        notebook.restart()
        notebook.run(notebook.find("1 / 0"), allow=["ZeroDivisionError"])
        notebook.run(2)
        notebook.idle()
        with pytest.raises(AssertionError, match=re.escape("asked the outside for ['http://example.org/x.js']")):
            notebook.check_clean()
        assert any("a fault" in line for line in notebook.faults.errors)
