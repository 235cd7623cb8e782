"""Steps that use a PictureUpload as a person does: good and bad files, the field, the two ways to take a large one."""

import io
from typing import Any

import numpy as np
from lab import Notebook
from PIL import Image
from playwright.sync_api import expect


def picture_bytes(height: int, width: int, kind: str = "PNG") -> bytes:
    """A file of noise, which no format can make small."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def drive_upload(notebook: Notebook, widget: Any) -> None:
    """Upload bad files, then a large good one in pieces; see what is said; the keyboard reaches everything."""
    page, status, fault = notebook.page, widget.locator(".pano-status"), widget.locator(".pano-fault")
    chooser, field = widget.locator("input[type=file]"), widget.get_by_role("spinbutton")

    def upload(name: str, data: bytes) -> None:
        chooser.set_input_files([{"name": name, "mimeType": "application/octet-stream", "buffer": data}])

    before = status.inner_text()
    good = picture_bytes(2000, 2200)  # 13 MB: more than a notebook server takes in one message
    upload("report.pdf", b"%PDF-1.7\n1 0 obj")
    expect(fault).to_contain_text("report.pdf is a PDF")
    expect(status).to_have_text(before)
    upload("nothing.png", b"")
    expect(fault).to_contain_text("nothing.png is empty")
    upload("half.png", good[: len(good) // 2])
    expect(fault).to_contain_text("half.png is damaged, cut short", timeout=60_000)

    upload("noise.png", good)
    expect(status).to_contain_text("noise.png: 2000 x 2200 pixels", timeout=60_000)
    expect(fault).to_be_empty()
    expect(status).to_contain_text("its middle is used here")
    expect(field).to_have_value("")  # the file does not know its pixel size
    widget.get_by_label("the whole, smaller").check()
    expect(status).to_contain_text("the whole, made smaller")
    expect(widget.locator(".pano-upload-picture")).to_have_attribute("alt", status.inner_text())

    chooser.focus()  # from here on the keyboard only
    page.keyboard.press("Tab")
    expect(field).to_be_focused()
    page.keyboard.type("0.25")
    page.keyboard.press("Tab")
    expect(field).to_have_value("0.25")
    notebook.idle()
