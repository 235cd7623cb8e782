"""Every lesson in JupyterLab, as a student has it: all cells run, then hands on each widget."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, Notebook

expect = pytest.importorskip("playwright.sync_api", reason="playwright comes with the [dev] extra").expect

from drive_fusion_lab import drive_fusion_lab  # noqa: E402  the steps need Playwright
from drive_guess import drive_guess  # noqa: E402
from drive_lens import drive_lens  # noqa: E402
from drive_quiz import drive_quiz  # noqa: E402
from drive_separation import drive_separation  # noqa: E402
from drive_slide_viewer import drive_lesson  # noqa: E402
from drive_training_monitor import drive_ended_training  # noqa: E402
from drive_upload import drive_upload  # noqa: E402
from drive_viewer import drive_viewer  # noqa: E402

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
DRIVERS: dict[str, Callable[[Notebook, Any], None]] = {
    "FusionLab": drive_fusion_lab,
    "Guess": drive_guess,
    "LayerLens": drive_lens,
    "PanopticViewer": drive_viewer,
    "PictureUpload": drive_upload,
    "SeparationLab": drive_separation,
    "SlideViewer": drive_lesson,
    "StuffThingsQuiz": drive_quiz,
    "TrainingMonitor": drive_ended_training,
}
#: Their steps begin at the widget's frame, the others' at the output that holds it.
FRAMED = {"PanopticViewer", "StuffThingsQuiz"}


def _used(text: str) -> set[str]:
    return {name for name in DRIVERS if re.search(rf"\b{name}\(", text)}


def test_the_lessons_use_every_widget() -> None:
    assert _used("".join(path.read_text("utf-8") for path in LESSONS)) == set(DRIVERS)


@pytest.mark.browser
@pytest.mark.notebook
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_student_works_through_the_lesson(lab: Lab, path: Path) -> None:
    with lab.open(path) as notebook:
        notebook.run_all(allow=["NotImplementedError"], timeout=600)
        notebook.check_clean()
        driven = set()
        for name, widget in notebook.widgets():
            DRIVERS[name](notebook, widget.locator(".pano") if name in FRAMED else widget)
            notebook.check_clean()
            driven.add(name)
        assert driven == _used(path.read_text("utf-8")), "a widget of the lesson was not shown"
        _see_a_guess_beside_its_result(notebook)
        notebook.check_clean()


def _see_a_guess_beside_its_result(notebook: Notebook) -> None:
    """Runs a quick cell that reveals a guess once more; by now the guess has been made."""
    reveals = [i for i in range(notebook.cells) if ".reveal(" in notebook.source(i) and notebook.seconds[i] < 5]
    shown = [i for i in reveals if "no guess" in notebook.text(i)]  # the others need an exercise first
    assert shown, "no guess of this lesson is revealed without an exercise"
    notebook.run(shown[0])
    expect(notebook.output(shown[0])).to_contain_text("your guess")
    expect(notebook.output(shown[0])).not_to_contain_text("no guess")


CELLS = (
    "from pano_med.synthetic import he_tile\nfrom pano_med.widgets import Guess, PanopticViewer\n"
    "tile = he_tile(1, (128, 128))",
    "PanopticViewer(tile.image, tile.truth)",
    "Guess('How many nuclei?', ['many', 'few'])",
)


@pytest.mark.browser
def test_a_widget_outlives_its_kernel(lab: Lab) -> None:
    with lab.write("outlives", *CELLS) as notebook:
        notebook.run_all()
        notebook.restart()
        canvas = notebook.output(1).locator("canvas").first
        canvas.click()
        canvas.press("+")
        notebook.output(2).get_by_role("radio").first.check()
        notebook.idle()
        notebook.check_clean()
        assert canvas.is_visible()

        notebook.reload()
        picture = notebook.output(1).get_by_role("img")
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") >= 128
        assert "nucleus" in picture.get_attribute("alt")
        lab_says = [line for line in notebook.faults.errors if "widget model not found" in line]
        assert notebook.faults.errors == lab_says, "JupyterLab itself says this, and only this"
        assert notebook.faults.requests == []


@pytest.mark.browser
def test_a_student_without_a_mouse_gets_everywhere(lab: Lab) -> None:
    with lab.write("keys", *CELLS) as notebook:
        keyboard = notebook.page.keyboard
        keyboard.press("Escape")
        for _ in CELLS:
            keyboard.press("Shift+Enter")
        notebook.output(2).get_by_text("No guess yet.").wait_for()
        notebook.idle()
        for key in ("Escape", "ArrowUp", "ArrowUp", "ArrowUp"):
            keyboard.press(key)
        reached = set()
        for _ in range(80):
            keyboard.press("Tab")
            reached.add(notebook.page.evaluate(FOCUSED))
        assert {"1 application", "1 button", "1 slider", "2 radio"} <= reached
        notebook.check_clean()


#: The code cell whose output has the focus, and the role of the element that has it.
FOCUSED = """() => {
  const at = document.activeElement;
  const cell = lab.code().findIndex(cell => cell.node.querySelector('.jp-Cell-outputWrapper')?.contains(at));
  const role = at.getAttribute('role') || ({range: 'slider', radio: 'radio'}[at.type] ?? at.tagName.toLowerCase());
  return `${cell} ${role}`;
}"""
