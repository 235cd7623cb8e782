"""Steps that use a SeparationLab as a person does: sliders, lists, pointer and keys."""

import re
from typing import Any

from lab import Notebook
from playwright.sync_api import expect


def drive_separation(notebook: Notebook, widget: Any) -> None:
    """Move each slider, go to errors and nuclei, zoom, hide a kind of error; then the same by keys alone."""
    page, root, status = notebook.page, widget.locator(".pano-separation"), widget.locator(".pano-status")
    stage = {name: widget.get_by_role("application", name=name) for name in ("threshold", "watershed", "our network")}
    counts = widget.get_by_role("region", name="counts").locator("tbody tr")
    expect(root).to_have_attribute("data-ready", "1")

    def row(name: str) -> str:
        return counts.filter(has_text=name).inner_text()

    def moved(slider: str, key: str, of: str) -> None:
        """Ten steps of a slider change the counts of one method."""
        before = row(of)
        handle = widget.get_by_role("slider", name=slider)
        handle.focus()
        for _ in range(10):
            handle.press(key)
        expect(counts.filter(has_text=of)).not_to_have_text(re.compile(re.sub(r"\s+", r"\\s+", before)))
        notebook.idle()

    moved("stain threshold", "ArrowRight", "threshold")
    expect(root).to_have_attribute("data-answered", re.compile(r"^\d+$"))
    assert int(root.get_attribute("data-answered")) < 3000  # ms; a ceiling for a busy machine
    widget.get_by_role("button", name="Otsu").click()
    notebook.idle()
    moved("seed distance", "ArrowRight", "watershed")
    if widget.get_by_role("slider", name="score cut").count():
        moved("score cut", "ArrowRight", "our network")

    notebook.show(stage["threshold"])
    stage["threshold"].hover()
    expect(status).to_have_text(re.compile("threshold|no nucleus here"))
    widget.get_by_role("radio", name="threshold").check()
    errors = widget.get_by_role("region", name="errors").locator("tbody tr")
    if errors.count():
        errors.first.click()
        expect(errors.first).to_have_attribute("aria-selected", "true")
        expect(status).to_contain_text("threshold, error 1 of")
        kind = widget.get_by_role("checkbox", name="merges")
        listed = errors.count()
        merges = errors.filter(has_text="merge").count()
        kind.uncheck()
        expect(errors).to_have_count(listed - merges)
        kind.check()
        expect(errors).to_have_count(listed)
    nuclei = widget.get_by_role("region", name="nuclei").locator("tbody tr")
    nuclei.first.click()
    expect(status).to_have_text(re.compile(r"eccentricity \d\.\d\d, haematoxylin -?\d\.\d{3}"))

    widget.get_by_role("radio", name="threshold").focus()  # from here on the keyboard only
    page.keyboard.press("ArrowRight")
    expect(widget.get_by_role("radio", name="watershed")).to_be_checked()
    stage["watershed"].focus()
    page.keyboard.press("n")
    expect(status).to_have_text(re.compile("watershed, error 1 of|No errors|Without a truth"))
    page.keyboard.press("p")
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("0")
    expect(widget.locator(".pano-fault")).to_be_empty()
