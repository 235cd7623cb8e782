"""PictureUpload in JupyterLab: files of every kind arrive, or a sentence says why not."""

import pytest
from lab import Lab

expect = pytest.importorskip("playwright.sync_api", reason="playwright comes with the [dev] extra").expect

from drive_upload import drive_upload, picture_bytes  # noqa: E402  the steps need Playwright

pytestmark = pytest.mark.browser

MAKE = """
from pano_med.synthetic import he_tile
from pano_med.widgets import PictureUpload
upload = PictureUpload(he_tile(3, (128, 160)).image, 0.5, side=512)
upload
"""
ASK = "print(upload.own, upload.picture.size, round(upload.picture.pixel_size_um, 3), upload.picture.notes)"


def test_picture_upload(lab: Lab) -> None:
    with lab.write("upload", MAKE, ASK) as notebook:
        notebook.run_all()
        assert notebook.text(1).split("\n")[0] == "False (128, 160) 0.5 ()"
        drive_upload(notebook, notebook.output(0))
        notebook.screenshot("upload", notebook.output(0))
        notebook.run(1)
        assert "True (465, 512) 1.074" in notebook.text(1)  # 2200 pixels on 512: each is 4.3 times as wide
        notebook.check_clean()
        notebook.restart()
        widget = notebook.output(0)
        widget.locator("input[type=file]").set_input_files(
            [{"name": "late.png", "mimeType": "image/png", "buffer": picture_bytes(20, 20)}]
        )
        told = "if the kernel was restarted, run the cell"
        expect(widget.locator(".pano-fault")).to_contain_text(told, timeout=20_000)
