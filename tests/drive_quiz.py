"""Steps that play a StuffThingsQuiz: by pointer and brush, or to the end with keys alone."""

from typing import Any

from lab import Notebook
from playwright.sync_api import expect


def drive_quiz(notebook: Notebook, widget: Any) -> None:
    """One answer by button, a region by click and by brush, then every other answer by key; the triptych appears."""
    status, canvas = widget.locator(".pano-status"), widget.get_by_role("application").first
    expect(widget).to_have_attribute("data-ready", "1")
    notebook.show(widget)
    expect(status).to_contain_text("Is the outlined region stuff or a thing?")
    widget.get_by_role("button", name="thing").click()
    expect(status).to_contain_text("a thing")
    expect(widget.locator(".pano-points")).to_contain_text("of 1 right")

    widget.get_by_label("brush").check()
    notebook.show(widget)
    box = canvas.bounding_box()
    page, middle = notebook.page, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 25, middle[1] + 10, steps=5)
    page.mouse.up()
    expect(status).to_contain_text("our paint")
    widget.get_by_label("click").check()
    canvas.click()
    expect(widget.locator(".pano-question")).to_contain_text("stuff or thing?")
    play_with_keys(notebook, widget)
    expect(widget.locator(".pano-triptych canvas")).to_have_count(3)
    expect(widget.locator(".pano-triptych")).to_be_visible()
    expect(widget.locator(".pano-fault")).to_be_empty()


def play_with_keys(notebook: Notebook, widget: Any) -> None:
    """Answer all that is open: n, then s and t in turn; each answer is told why."""
    points, status = widget.locator(".pano-points"), widget.locator(".pano-status")
    widget.get_by_role("application").first.focus()
    for turn in range(40):
        if "all answered" in points.inner_text():
            break
        notebook.page.keyboard.press("n")
        notebook.page.keyboard.press("st"[turn % 2])
        expect(status).to_contain_text("countable object" if "a thing." in status.inner_text() else "region")
    expect(points).to_contain_text("all answered")
