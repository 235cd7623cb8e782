"""LayerLens in JupyterLab: clicked, moved over, used by keys alone."""

import pytest
from lab import Lab

expect = pytest.importorskip("playwright.sync_api", reason="playwright comes with the [dev] extra").expect

from drive_lens import drive_lens  # noqa: E402  the steps need Playwright

pytestmark = pytest.mark.browser

MAKE = """
import torch
from pano_med.lessons.layers import record
from pano_med.models import EfficientPS
from pano_med.synthetic import he_tile
from pano_med.widgets import LayerLens

torch.manual_seed(0)
tile = he_tile(3, (128, 160), pixel_size_um=0.5)
layers = record(EfficientPS.small(), tile.image, ["backbone.blocks.*", "fpn.output.*", "semantic_head"])
"""


def test_layer_lens(lab: Lab) -> None:
    with lab.write("lens", MAKE, "LayerLens(layers, tile.image)") as notebook:
        notebook.run_all()
        drive_lens(notebook, notebook.output(1))
        notebook.check_clean()
        notebook.restart()  # the maps of other modules went with the kernel
        lens = notebook.output(1)
        lens.locator("tr[data-key]").last.click()
        expect(lens.get_by_role("alert")).to_contain_text("Run this cell again", timeout=15_000)
        notebook.check_clean()
