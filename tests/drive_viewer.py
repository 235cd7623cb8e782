"""Steps that use a PanopticViewer as a person does: pointer, wheel, table and legend, then keys alone."""

import re
from typing import Any

from lab import Notebook
from playwright.sync_api import expect


def ink(canvas: Any) -> str:
    """A print of what a canvas shows, to see that it changed."""
    return str(canvas.evaluate("async c => (await new Promise(requestAnimationFrame), c.toDataURL())"))


def drive_viewer(notebook: Notebook, widget: Any) -> None:
    """Point, pin, drag, wheel, hide a class, sort the table, then keys alone; check what is said and drawn."""
    status, canvas = widget.locator(".pano-status"), widget.get_by_role("application").last
    expect(widget).to_have_attribute("data-ready", "1")
    notebook.show(widget)
    use_pointer(notebook, widget, status, canvas)
    use_panel(widget, canvas)
    use_keys(notebook, status, canvas)
    expect(widget.locator(".pano-fault")).to_be_empty()


def use_pointer(notebook: Notebook, widget: Any, status: Any, canvas: Any) -> None:
    """Hover, a row's click, drag and wheel; the wheel does nothing before the picture has the focus."""
    page, box = notebook.page, canvas.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    expect(status).to_have_text(re.compile(r"void|\d px"))
    before = ink(canvas)
    page.mouse.wheel(0, -120)
    page.wait_for_timeout(150)
    notebook.show(widget)
    page.mouse.move(1, 1)
    assert ink(canvas) == before, "the wheel belongs to the page until the picture is clicked"

    row = widget.locator("tr[data-key]").nth(1)
    row.click()
    expect(row).to_have_attribute("aria-selected", "true")
    expect(status).to_contain_text("pinned")
    zoomed = ink(canvas)
    assert zoomed != before
    notebook.show(widget)
    canvas.click()  # a click pins what is there, or takes the pin away; it gives the picture the focus
    page.mouse.wheel(0, -120)
    page.mouse.move(1, 1)
    near = ink(canvas)
    assert near not in (before, zoomed)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 60, middle[1] - 40, steps=4)
    page.mouse.up()
    page.mouse.move(1, 1)
    assert ink(canvas) != near
    widget.get_by_role("button", name="whole picture").click()


def use_panel(widget: Any, canvas: Any) -> None:
    """Mode, opacity, a class off and on, the table in another order."""
    drawn = ink(canvas)
    widget.get_by_label("fill").check()
    filled = ink(canvas)
    assert filled != drawn
    slider = widget.get_by_role("slider", name="opacity")
    slider.press("End")
    assert ink(canvas) != filled
    check = widget.get_by_role("checkbox").first
    strong = ink(canvas)
    check.uncheck()
    assert ink(canvas) != strong
    check.check()
    assert ink(canvas) == strong
    widget.get_by_label("contours").check()
    heads = widget.locator("th")
    heads.filter(has_text="no.").get_by_role("button").click()
    expect(heads.filter(has_text="no.")).to_have_attribute("aria-sort", "descending")
    ids = [int(text) for text in widget.locator("tr[data-key] td:first-child").all_inner_texts()]
    assert ids == sorted(ids, reverse=True)


def use_keys(notebook: Notebook, status: Any, canvas: Any) -> None:
    """Walk from segment to segment, pin, zoom and move without a pointer."""
    keyboard = notebook.page.keyboard
    canvas.focus()
    keyboard.press("Escape")
    keyboard.press("n")
    expect(status).to_contain_text("1 of ")
    keyboard.press("p")
    expect(status).not_to_contain_text("1 of ", use_inner_text=True)
    keyboard.press("n")
    keyboard.press("Enter")
    expect(status).to_contain_text("pinned")
    keyboard.press("+")
    expect(status).to_contain_text("zoom 1.5")
    here = ink(canvas)
    keyboard.press("ArrowRight")
    keyboard.press("ArrowDown")
    moved = ink(canvas)
    keyboard.press("ArrowLeft")
    keyboard.press("ArrowUp")
    assert moved != here or ink(canvas) != moved, "one of two opposite ways is open"
    keyboard.press("-")
    expect(status).to_contain_text("whole picture")
