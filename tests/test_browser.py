"""The report in a real browser, on a phone and on a desk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outputs_cases import small_map

from pano_med.outputs import Summary
from pano_med.report import Report, Score
from pano_med.types import HE_CORE

pytestmark = pytest.mark.browser


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    image = np.full((600, 900, 3), 220, np.uint8)
    path = tmp_path / "report.html"
    Report(
        title="A title that is long enough to wrap on the narrow screen of a telephone",
        lead="Lead.",
        image=image,
        picture=image // 2,
        taxonomy=HE_CORE,
        summary=Summary.of(small_map()),
        warnings=["far from training"],
        scores=[Score("panoptic quality of nuclei", "0.55", "a sentence of some length that has to wrap")],
        files=[("a_rather_long_name_of_a_file_segments.csv", "opens in a spreadsheet")],
        facts=[("Image", "somewhere")],
    ).write(path)
    return path


@pytest.mark.parametrize("width", [360, 1200])
def test_report_fits_and_asks_for_nothing(browser: Any, page_file: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    page.on("console", lambda m: faults.append(m.text))
    page.goto(page_file.as_uri())
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    assert faults == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.mouse.wheel(0, 1500)
    assert page.get_by_text("Not for diagnosis").is_visible()  # it stays in sight
    assert page.get_by_text("Not for diagnosis").bounding_box()["y"] < 10


def test_outlines_can_be_taken_off_by_keyboard(browser: Any, page_file: Path) -> None:
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.goto(page_file.as_uri())
    drawn, plain = page.locator("img.drawn"), page.locator("img.plain")
    assert drawn.is_visible()
    assert not plain.is_visible()
    page.get_by_label("without outlines").focus()
    page.keyboard.press("Space")
    assert plain.is_visible()
    assert not drawn.is_visible()
    assert plain.bounding_box()["width"] < 400
    page.get_by_role("checkbox", name="full size").check()
    assert plain.bounding_box()["width"] == 900
    assert page.evaluate("document.documentElement.scrollWidth") <= 400  # the frame scrolls, the page does not
