"""LayerLens in JupyterLab: clicked, moved over, used by keys alone."""

import pytest
from drive_lens import drive_lens
from lab import Lab

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
        notebook.screenshot("lens", notebook.output(1))
        notebook.check_clean()
