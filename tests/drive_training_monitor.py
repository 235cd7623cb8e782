"""Steps that use a TrainingMonitor as a person does: watch, read the tables, hide lines, stop by the keyboard."""

from typing import Any

from lab import Notebook
from playwright.sync_api import expect


def drive_training_monitor(notebook: Notebook, widget: Any) -> None:
    """A run goes on in the background; look at it, then end it by the keyboard alone."""
    page, root = notebook.page, widget.locator(".pano-training")
    expect(widget.locator(".pano-now")).to_contain_text("left", timeout=60_000)
    expect(widget.locator("svg [data-line=loss]")).to_have_count(1)
    expect(widget.locator("svg [data-line=objects_pq]")).to_have_count(1, timeout=60_000)
    lines = widget.locator("svg [data-line]")
    many = lines.count()
    widget.get_by_label("parts of the loss").uncheck()
    expect(widget.locator("svg [data-line=mask]")).to_have_count(0)
    assert lines.count() < many
    widget.get_by_label("parts of the loss").check()

    halt = widget.get_by_role("button", name="End the run after this step")
    halt.focus()  # from here on the keyboard only
    page.keyboard.press("Enter")
    expect(root).to_have_attribute("data-phase", "ended", timeout=60_000)
    expect(widget.locator(".pano-status")).to_contain_text("Stopped by you; the checkpoint is kept")
    expect(halt).to_be_disabled()
    summary = widget.locator("summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(widget.get_by_role("region", name="losses")).to_contain_text("whole loss")
    expect(widget.get_by_role("region", name="validations (PQ)")).to_contain_text("0.")
    page.keyboard.press("Enter")


def drive_ended_training(notebook: Notebook, widget: Any) -> None:
    """A run that has ended, as in a lesson: the curves are there, lines can be hidden, the tables opened."""
    expect(widget.locator(".pano-training")).to_have_attribute("data-phase", "ended", timeout=60_000)
    expect(widget.locator("svg [data-line=loss]")).to_have_count(1)
    expect(widget.locator("svg [data-line=mask]")).to_have_count(1)
    widget.get_by_label("parts of the loss").uncheck()
    expect(widget.locator("svg [data-line=mask]")).to_have_count(0)
    widget.get_by_label("parts of the loss").check()
    expect(widget.get_by_role("button", name="End the run after this step")).to_be_disabled()
    summary = widget.locator("summary")
    summary.focus()
    notebook.page.keyboard.press("Enter")
    expect(widget.get_by_role("region", name="losses")).to_contain_text("whole loss")
    notebook.page.keyboard.press("Enter")
