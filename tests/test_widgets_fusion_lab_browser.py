"""The fusion lab in a real browser: in JupyterLab with its kernel, and as a file without one."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from drive_fusion_lab import drive_fusion_lab
from lab import Faults, Lab

pytestmark = pytest.mark.browser
PAGE = Path(__file__).parents[1] / "docs" / "fusion_lab.html"

IMPORTS = """
from pano_med.lessons.fusing import Merger
from pano_med.lessons.fusing_examples import recorded, tiny
from pano_med.widgets import FusionLab
"""
TINY = "e = tiny(fragment=True)\nFusionLab(e.image, Merger(e.prediction), truth=e.truth)"
TILE = "e = recorded()\nFusionLab(e.image, Merger(e.prediction), truth=e.truth, title='A tile')"
BROKEN = """
merge = Merger(e.prediction)
lab = FusionLab(e.image, merge)
def fails(*_): raise ValueError('the rule must be one of two')
merge.fates = fails
lab
"""


def test_students_use_the_lab_in_jupyterlab(lab: Lab) -> None:
    with lab.write("fusion_lab", IMPORTS, TINY, TILE, BROKEN) as notebook:
        notebook.run_all()
        for cell in (1, 2):
            widget = notebook.output(cell)
            drive_fusion_lab(notebook, widget)
            notebook.screenshot(f"fusion_lab_{cell}", widget)
        broken = notebook.output(3)
        broken.get_by_role("radio", name="heuristic").check()
        broken.locator(".pano-fault", has_text="the rule must be one of two").wait_for()
        notebook.check_clean()
        notebook.restart()
        widget = notebook.output(1)
        widget.get_by_role("radio", name="heuristic").check()
        widget.locator(".pano-fault", has_text="Python does not answer: run this cell again").wait_for()


@pytest.fixture(params=[390, 1200], ids=["phone", "desk"])
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": request.param, "height": 850})
    faults = Faults(context)
    yield context.new_page()
    context.close()
    faults.check_clean()


def test_the_page_needs_no_kernel_and_fits_a_phone(page: Any, tmp_path: Path) -> None:
    copy = tmp_path / "fusion_lab.html"  # alone in a folder: it needs nothing beside it
    copy.write_bytes(PAGE.read_bytes())
    page.goto(copy.as_uri())
    drive_fusion_lab(SimpleNamespace(page=page), page.locator("body"))
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    widths = [box.bounding_box()["width"] for box in page.locator(".pano-six canvas").all()]
    assert min(widths) >= 140, widths
