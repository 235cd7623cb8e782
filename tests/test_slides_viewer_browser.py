"""SlideViewer in JupyterLab: used as a person uses it, opened again without a kernel, names that look like HTML."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab import Lab
from slide_files import write_pyramid
from slide_results import painted, write_result

from pano_med.types import DEMONSTRATION, HE_CORE

expect = pytest.importorskip("playwright.sync_api", reason="playwright comes with the [dev] extra").expect

from drive_slide_viewer import drive_slide_viewer, point, seen, settle  # noqa: E402  the steps need Playwright

pytestmark = pytest.mark.browser

MAKE = """
from pano_med.widgets import SlideViewer
viewer = SlideViewer({result!r}, {slide!r}, title={title!r})
viewer
"""
#: A title that would run as a script if anybody took it for HTML.
EVIL = "<img src=x onerror=alert(1)> & \"quotes\".svs"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A result and its slide, whose nuclei are dark exactly where the map says so."""
    folder = tmp_path_factory.mktemp("slide")
    ids, classes = painted()
    write_result(folder / "result", ids, classes, replace(HE_CORE, note=DEMONSTRATION))
    looks = np.array([(244, 244, 244), (230, 180, 205), (60, 30, 110)])
    picture = looks[np.where(ids > 0, 2, classes > 1)].astype(np.uint8).repeat(2, 0).repeat(2, 1)
    return folder / "result", write_pyramid(folder / "slide.tif", picture, 0.25)


def test_used_in_jupyterlab(lab: Lab, files: tuple[Path, Path]) -> None:
    result, slide = map(str, files)
    code = MAKE.format(result=result, slide=slide, title=EVIL)
    with lab.write("slide", code, "print(viewer.selected, viewer.counted is not None)") as notebook:
        notebook.run(0)
        widget = notebook.output(0).locator(".pano-slide")
        expect(widget).to_have_attribute("data-ready", "1", timeout=60_000)
        notebook.show(widget)
        assert widget.locator(".pano-title").inner_text() == EVIL
        assert not widget.locator("img").count()
        nucleus = {"id": 20, **_place(20)}
        drive_slide_viewer(notebook.page, widget, nucleus, 0.25)
        assert "True" in notebook.run(1)[0]["text"]
        aligned(notebook.page, widget.locator(".pano-slide-stage"))
        notebook.screenshot("slide_viewer")
        notebook.check_clean()
        notebook.restart()
        notebook.check_clean()


def _place(number: int) -> dict[str, float]:
    ids, _ = painted()
    rows, columns = (ids == number).nonzero()
    return {"row": 2 * (rows.mean() + 0.5), "column": 2 * (columns.mean() + 0.5), "area_um2": len(rows) * 0.25}


#: The class under a place of the screen by the map, and whether the slide's own pixel there is dark.
BOTH = """([x, y]) => { const stage = document.querySelector('.pano-slide-stage');
  const at = (canvas) => { const box = canvas.getBoundingClientRect();
    const d = canvas.getContext('2d').getImageData((x - box.left) * canvas.width / box.width,
      (y - box.top) * canvas.height / box.height, 1, 1).data; return [...d]; };
  const glass = [...stage.querySelectorAll('.pano-slide-glass canvas')].find(c => c.width > 100);
  return {slide: at(glass), map: at(stage.querySelector('.pano-slide-map'))}; }"""


def aligned(page: Any, stage: Any) -> None:
    """At every zoom the map's nucleus lies on the dark of the slide, to a pixel of the screen, on all four sides."""
    page.get_by_label("fill nuclei").check()
    page.get_by_role("slider", name="opacity").press("End")
    stage.press("Escape")
    place, half = _place(20), 6.0  # level-0 pixels from the middle of a nucleus to its edge
    for zoom in range(5):
        page.mouse.move(1, 1)
        settle(page, stage)
        k = seen(stage)[0]
        slack = max(1.3 / k, 0.5)  # a pixel of the screen, or half of one of the slide, which is drawn smoothly
        for row, column in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            for distance, inside in ((half - slack, True), (half + slack, False)):
                at = point(stage, place["row"] + row * distance, place["column"] + column * distance)
                found = page.evaluate(BOTH, list(at))
                red, green, blue, alpha = found["map"]
                assert (found["slide"][0] < 150) == inside, (zoom, k, row, column, found)
                yellow = red > 200 and green > 200 and blue < 120 and alpha > 90
                assert yellow == inside, (zoom, k, row, column, found)
        page.mouse.move(*point(stage, place["row"], place["column"]))
        stage.focus()
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(600)


def test_opened_again_without_a_kernel_it_is_a_picture(lab: Lab, files: tuple[Path, Path]) -> None:
    code = MAKE.format(result=str(files[0]), slide=str(files[1]), title="again")
    with lab.write("slide_again", code) as notebook:
        notebook.run(0)
        notebook.page.keyboard.press("Control+s")
        notebook.page.wait_for_timeout(1500)
    saved = json.loads((lab.folder / "slide_again.ipynb").read_text("utf-8"))
    assert "data:image/png;base64" in json.dumps(saved)
    with lab.open(lab.folder / "slide_again.ipynb") as notebook:
        picture = notebook.output(0).get_by_role("img")
        expect(picture).to_be_visible()
        assert "512 x 512 pixels" in str(picture.get_attribute("alt"))
        assert not notebook.faults.requests
