"""Steps that use a LayerLens as a person does: table, grid, slider, pointer and keys."""

import re
from typing import Any

from lab import Notebook
from playwright.sync_api import expect


def drive_lens(notebook: Notebook, widget: Any) -> None:
    """Choose modules and channels, move over the map, then the same with keys alone; check what is said."""
    page, status, facts = notebook.page, widget.locator(".pano-status"), widget.locator(".pano-lens-facts")
    rows = widget.locator("tr[data-key]")
    thumbs, image = widget.locator(".pano-lens-thumb"), widget.get_by_role("application", name="the image")

    row = rows.nth(rows.count() - 1)
    row.click()
    expect(row).to_have_attribute("aria-selected", "true")
    expect(facts).to_contain_text(row.locator("td").first.inner_text())
    rows.first.click()
    expect(facts).to_contain_text(rows.first.locator("td").first.inner_text())

    before = widget.locator(".pano-lens-map .pano-caption").first.inner_text()
    thumbs.nth(1).click()
    expect(thumbs.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(widget.locator(".pano-lens-map .pano-caption").first).not_to_have_text(before)
    slider = widget.get_by_role("slider", name="map")
    slider.focus()
    slider.press("ArrowRight")
    expect(thumbs.nth(2)).to_have_attribute("aria-pressed", "true")
    expect(widget.locator("output")).to_contain_text("3 of")

    canvas = widget.get_by_role("application", name="map of")
    notebook.show(canvas)
    canvas.hover()
    expect(status).to_have_text(re.compile(r"channel \d+, row \d+, column \d+: -?[\d.e+-]+"))
    told = status.inner_text()
    canvas.click()
    canvas.press("ArrowDown")
    expect(status).not_to_have_text(told)
    expect(status).to_contain_text("half of what it looks at lies within")
    if image.count():
        image.hover(position={"x": 60, "y": 60})
        expect(status).to_contain_text("channel")

    rows.first.focus()  # from here on the keyboard only
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_have_attribute("aria-selected", "true")
    expect(facts).to_contain_text(rows.nth(1).locator("td").first.inner_text())
    expect(widget.locator(".pano-fault")).to_be_empty()
