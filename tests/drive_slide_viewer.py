"""Steps that use a SlideViewer as a person does: wheel, drag, hover, click, switches, a region, a distance, keys."""

import re
from typing import Any

from playwright.sync_api import expect

#: What the map's canvas shows, as a short print; and the number of tiles that were asked for.
PRINT = """async s => { await new Promise(requestAnimationFrame);
  const text = s.querySelector('.pano-slide-map').toDataURL();
  return text.split('').reduce((h, c) => (h * 31 + c.charCodeAt(0)) | 0, 0) }"""


def seen(stage: Any) -> tuple[float, ...]:
    """Screen pixels for one pixel of the slide, and the row and column in the middle."""
    return tuple(map(float, str(stage.get_attribute("data-seen")).split()))


def settle(page: Any, stage: Any, timeout: float = 90_000) -> None:
    """Wait until nothing moves and every tile of the map is there."""
    expect(stage).to_have_attribute("data-missing", "0", timeout=timeout)
    before = None
    while before != (before := stage.get_attribute("data-seen")) or stage.get_attribute("data-missing") != "0":
        page.wait_for_timeout(400)


def point(stage: Any, row: float, column: float) -> tuple[float, float]:
    """Where a place of the slide (level-0 pixels) lies in the window."""
    box = stage.bounding_box()
    k, middle, centre = seen(stage)
    inside = box["width"] - 2, box["height"] - 2  # the border
    return box["x"] + 1 + inside[0] / 2 + (column - centre) * k, box["y"] + 1 + inside[1] / 2 + (row - middle) * k


def drive_slide_viewer(page: Any, widget: Any, nucleus: dict[str, Any], mpp: float) -> None:
    """Use everything once.

    Args:
        page: Playwright's.
        widget: locator of the viewer, whose map does not grow any more.
        nucleus: a nucleus of the map: id, row, column (level-0 pixels), area_um2.
        mpp: micrometres per level-0 pixel.
    """
    stage, status = widget.locator(".pano-slide-stage"), widget.locator(".pano-status")
    settle(page, stage)
    start = seen(stage)
    stage.hover()
    page.mouse.wheel(0, -100)
    page.wait_for_timeout(500)
    assert seen(stage) == start, "the wheel belongs to the page until the slide is clicked"
    use_switches(page, widget, stage)
    use_types(page, widget, stage)
    use_pointer(page, stage, status, nucleus)
    use_tools(page, widget, stage, status, mpp)
    use_keys(page, stage, status)
    expect(widget.locator(".pano-fault")).to_be_empty()


def drive_lesson(notebook: Any, output: Any) -> None:
    """The viewer of lesson 08, whose nuclei nobody knows beforehand.

    Args:
        notebook: of `lab.Lab`.
        output: locator of the cell's output.
    """
    page, widget = notebook.page, output.locator(".pano-slide")
    expect(widget).to_have_attribute("data-ready", "1", timeout=60_000)
    notebook.show(widget)
    stage, status = widget.locator(".pano-slide-stage"), widget.locator(".pano-status")
    settle(page, stage)
    use_switches(page, widget, stage)
    expect(widget.get_by_label("show types")).to_be_hidden()  # its nuclei are plain
    use_tools(page, widget, stage, status, 0.5)
    use_keys(page, stage, status)
    expect(widget.locator(".pano-fault")).to_be_empty()


def use_switches(page: Any, widget: Any, stage: Any) -> None:
    """Classes, fill and opacity change what is drawn, and ask for no tile."""
    asked, plain = stage.get_attribute("data-asked"), stage.evaluate(PRINT)
    nuclei = widget.get_by_role("checkbox", name="nucleus", exact=True)
    nuclei.uncheck()
    page.wait_for_timeout(200)
    without = stage.evaluate(PRINT)
    assert without != plain
    nuclei.check()
    page.wait_for_timeout(200)
    assert stage.evaluate(PRINT) == plain
    widget.get_by_label("fill nuclei").check()
    page.wait_for_timeout(200)
    assert stage.evaluate(PRINT) != plain
    widget.get_by_label("fill nuclei").uncheck()
    slider = widget.get_by_role("slider", name="opacity")
    slider.press("Home")
    assert stage.locator(".pano-slide-map").evaluate("c => getComputedStyle(c).opacity") == "0"
    slider.press("End")
    assert stage.get_attribute("data-asked") == asked, "no tile was asked for again"


def use_types(page: Any, widget: Any, stage: Any) -> None:
    """Types are hidden until they are asked for; then nuclei are drawn by type, and no tile is asked for."""
    asked, plain = stage.get_attribute("data-asked"), stage.evaluate(PRINT)
    types = widget.get_by_label("show types (demonstration)")
    expect(types).not_to_be_checked()
    types.check()
    expect(widget.get_by_role("checkbox", name="neoplastic nucleus")).to_be_checked()
    page.wait_for_timeout(200)
    assert stage.evaluate(PRINT) != plain
    types.uncheck()
    assert stage.get_attribute("data-asked") == asked, "no tile was asked for again"


def use_pointer(page: Any, stage: Any, status: Any, nucleus: dict[str, Any]) -> None:
    """Click for the focus, zoom at a nucleus with the wheel, hover, select, drag."""
    page.mouse.click(*point(stage, nucleus["row"], nucleus["column"]))
    before = seen(stage)
    for _ in range(6):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(120)
    settle(page, stage)
    assert seen(stage)[0] > 2 * before[0]
    page.mouse.move(*point(stage, nucleus["row"], nucleus["column"]))
    told = rf"nucleus, no\. {nucleus['id']} · score 0\.\d\d · {nucleus['area_um2']:.3g} µm²"
    expect(status).to_have_text(re.compile(told))
    page.keyboard.press("Escape")
    page.mouse.click(*point(stage, nucleus["row"], nucleus["column"]))
    expect(status).to_have_text(re.compile(rf"selected: .*no\. {nucleus['id']} "))
    near = seen(stage)
    x, y = point(stage, nucleus["row"], nucleus["column"])
    page.mouse.down()
    page.mouse.move(x - 80, y - 50, steps=5)
    page.wait_for_timeout(100)
    page.mouse.up()
    settle(page, stage)
    moved = seen(stage)
    assert moved[0] == near[0]
    assert moved[1] > near[1]
    assert moved[2] > near[2]


def use_tools(page: Any, widget: Any, stage: Any, status: Any, mpp: float) -> None:
    """A rectangle, a polygon and a distance; their size in micrometres is right."""
    widget.get_by_role("button", name="whole slide").click()
    page.wait_for_timeout(600)
    settle(page, stage)
    box, (k, *_) = stage.bounding_box(), seen(stage)
    left, top = box["x"] + box["width"] / 2 - 60, box["y"] + box["height"] / 2 - 60
    widget.get_by_role("button", name="rectangle").click()
    drag(page, (left, top), (left + 120, top + 120))
    table = widget.locator(".pano-slide-region")
    expect(table.locator("caption")).to_contain_text("region, ")
    um2 = (120 / k * mpp) ** 2
    said = re.search(r"([\d,.]+) (µm|mm)²", table.locator("caption").inner_text())
    assert said
    area = float(said[1].replace(",", "")) * (1e6 if said[2] == "mm" else 1)
    assert abs(area / um2 - 1) < 0.05
    expect(status).to_have_text(re.compile(r"Region of .*: [\d,]+ × nucleus, [\d,.]+ /mm²"))

    widget.get_by_role("button", name="polygon").click()
    for place in ((left, top), (left + 120, top), (left, top + 120), (left, top)):
        page.mouse.click(*place)
        page.wait_for_timeout(80)
    expect(table.locator("caption")).not_to_have_text(said[0])
    half = re.search(r"([\d,.]+) (µm|mm)²", table.locator("caption").inner_text())
    assert half
    assert abs(float(half[1].replace(",", "")) * (1e6 if half[2] == "mm" else 1) / area - 0.5) < 0.05

    widget.get_by_role("button", name="distance").click()
    drag(page, (left, top), (left + 90, top + 120))
    expect(status).to_have_text(re.compile(r"distance: [\d,.]+ (µm|mm)"))
    length = re.search(r"([\d,.]+) (µm|mm)", status.inner_text())
    assert length
    um = float(length[1].replace(",", "")) * (1000 if length[2] == "mm" else 1)
    assert abs(um / (150 / k * mpp) - 1) < 0.03
    widget.get_by_role("button", name="clear").click()
    expect(table).to_be_hidden()


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move, let go."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def use_keys(page: Any, stage: Any, status: Any) -> None:
    """Walk, zoom, move, draw without a pointer."""
    keyboard = page.keyboard
    stage.focus()
    keyboard.press("u")
    expect(status).to_have_text(re.compile(r"^1 of \d+ least certain: "))
    keyboard.press("n")
    expect(status).to_have_text(re.compile(r"^2 of "))
    keyboard.press("p")
    expect(status).to_have_text(re.compile(r"^1 of "))
    keyboard.press("l")
    expect(status).to_have_text(re.compile(r"^1 of \d+ largest: "))
    settle(page, stage)
    near = seen(stage)
    keyboard.press("ArrowRight")
    page.wait_for_timeout(600)
    assert seen(stage)[2] > near[2]
    keyboard.press("-")
    page.wait_for_timeout(600)
    assert seen(stage)[0] < near[0]
    keyboard.press("m")
    keyboard.press("Enter")
    keyboard.press("ArrowRight")
    page.wait_for_timeout(600)
    keyboard.press("Enter")
    expect(status).to_have_text(re.compile(r"distance: "))
    keyboard.press("0")
    page.wait_for_timeout(600)
    keyboard.press("Escape")
