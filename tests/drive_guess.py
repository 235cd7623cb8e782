"""Steps that make a guess as a person does: radio buttons or slider, by mouse and by keys."""

import re
from typing import Any

from lab import Notebook
from playwright.sync_api import expect


def drive_guess(notebook: Notebook, widget: Any) -> None:
    """Guess, change the mind by keys, and see that it is noted."""
    status = widget.get_by_role("status")
    expect(status).to_have_text("No guess yet.")
    radios = widget.get_by_role("radio")
    if radios.count():
        choices = widget.locator("label", has=notebook.page.get_by_role("radio"))
        first, second = choices.nth(0).inner_text(), choices.nth(1).inner_text()
        radios.first.check()
        expect(status).to_have_text(f"Your guess: {first}")
        radios.first.press("Tab")  # each is a stop of its own; JupyterLab keeps the arrows for its cells
        notebook.page.keyboard.press("Space")
        expect(status).to_have_text(f"Your guess: {second}")
    else:
        handle = widget.get_by_role("slider")
        handle.press("ArrowRight")
        expect(status).to_have_text(re.compile(r"Your guess: -?[\d.]"))
        guess = status.inner_text()
        box = handle.bounding_box()
        notebook.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        notebook.page.mouse.down()
        notebook.page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2, steps=5)
        notebook.page.mouse.up()
        widget.get_by_role("button", name="That is my guess").click()
        expect(status).not_to_have_text(guess)
    notebook.idle()
