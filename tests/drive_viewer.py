"""Steps that use a PanopticViewer as a person does: pointer, wheel, table and legend, then keys alone."""

import re
from typing import Any

from lab import Notebook
from playwright.sync_api import expect


def ink(canvas: Any) -> str:
    """A print of what a canvas shows, to see that it changed."""
    return str(canvas.evaluate("async c => (await new Promise(requestAnimationFrame), c.toDataURL())"))


def inks(widget: Any) -> tuple[str, ...]:
    """The prints of all pictures: truth, then prediction, or the only one."""
    pictures = widget.get_by_role("application")
    return tuple(ink(pictures.nth(i)) for i in range(pictures.count()))


def drive_viewer(notebook: Notebook, widget: Any) -> None:
    """Point, pin, drag, wheel, hide a class, sort the table, then keys alone; check what is said and drawn."""
    status, canvas = widget.locator(".pano-status"), widget.get_by_role("application").last
    expect(widget).to_have_attribute("data-ready", "1")
    notebook.show(widget)
    use_pointer(notebook, widget, status, canvas)
    use_panel(widget)
    use_keys(notebook, status, canvas)
    expect(widget.locator(".pano-fault")).to_be_empty()


def seen(canvas: Any) -> tuple[float, ...]:
    """Zoom, and the row and column in the middle of the canvas."""
    place = str(canvas.evaluate("async c => (await new Promise(requestAnimationFrame), c.dataset.seen)"))
    return tuple(map(float, place.split()))


def use_pointer(notebook: Notebook, widget: Any, status: Any, canvas: Any) -> None:
    """Hover, a row's click, drag and wheel; the wheel does nothing before the picture has the focus."""
    page, box = notebook.page, canvas.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    blank = inks(widget)
    page.mouse.move(*middle)
    expect(status).to_have_text(re.compile(r"void|\d px"))
    assert inks(widget)[0] != blank[0] or "void" in status.inner_text(), (
        "the segment is outlined, or a cross shows the place in the other picture"
    )
    start = seen(canvas)
    page.mouse.wheel(0, -20)
    page.wait_for_timeout(150)
    assert seen(canvas) == start, "the wheel belongs to the page until the picture is clicked"

    row = widget.locator("tr[data-key]").last  # the smallest segment
    row.click()
    expect(row).to_have_attribute("aria-selected", "true")
    expect(status).to_contain_text("pinned")
    pinned = seen(canvas)
    assert pinned[0] > start[0], "a row brings its segment near"
    notebook.show(widget)
    canvas.click()  # a click pins what is there, or takes the pin away; it gives the picture the focus
    page.mouse.wheel(0, -120)
    near = seen(canvas)
    assert near[0] > pinned[0]
    box = canvas.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 60, middle[1] - 40, steps=4)
    page.mouse.up()
    zoom, *place = seen(canvas)
    assert zoom == near[0]
    assert place != list(near[1:])
    others = widget.get_by_role("application")
    assert {seen(others.nth(i)) for i in range(others.count())} == {(zoom, *place)}, "all pictures move together"
    widget.get_by_role("button", name="whole picture").click()
    assert seen(canvas) == start
    page.mouse.move(1, 1)


def use_panel(widget: Any) -> None:
    """Mode, opacity, a class off and on, the table in another order."""
    drawn = inks(widget)
    widget.get_by_label("fill").check()
    filled = inks(widget)
    assert filled != drawn
    slider = widget.get_by_role("slider", name="opacity")
    slider.press("End")
    assert inks(widget) != filled
    check = widget.get_by_role("checkbox").first
    strong = inks(widget)
    check.uncheck()
    assert inks(widget) != strong
    check.check()
    assert inks(widget) == strong
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
    expect(status).to_have_text(re.compile(r"^1 of \d+: "))
    keyboard.press("p")
    expect(status).to_have_text(re.compile(r"^(\d+) of \1: "))
    keyboard.press("n")
    keyboard.press("Enter")
    expect(status).to_contain_text("pinned")
    keyboard.press("+")
    expect(status).to_contain_text("zoom 1.5")
    keyboard.press("+")
    here = seen(canvas)
    for there, back in (("ArrowRight", "ArrowLeft"), ("ArrowDown", "ArrowUp")):
        keyboard.press(there)
        keyboard.press(there)
        far = seen(canvas)
        keyboard.press(back)
        assert seen(canvas) != far
    assert seen(canvas)[0] == here[0]
    keyboard.press("-")
    keyboard.press("-")
    expect(status).to_contain_text("whole picture")
