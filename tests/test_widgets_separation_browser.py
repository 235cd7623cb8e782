"""SeparationLab in JupyterLab: clicked, moved, used by keys alone; with and without a truth."""

import pytest
from drive_separation import drive_separation
from lab import Lab
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

MAKE = """
from pano_med.synthetic import Knobs, he_tile
from pano_med.types import Panoptic
from pano_med.widgets import SeparationLab

tile = he_tile(1, (200, 200), Knobs(crowding=2, tumour_fraction=1.0, tissue=1.0))
kinds = {s.id: s.category_id for s in tile.truth.segments}
scores = {s.id: i / len(kinds) for i, s in enumerate(tile.truth.things)}
ours = Panoptic.from_ids(tile.truth.ids, kinds, tile.truth.taxonomy, 0.5, scores)
"""


def test_separation_lab(lab: Lab) -> None:
    cells = MAKE, "SeparationLab(tile.image, ours, tile.truth)", "SeparationLab(tile.image, tile.truth)"
    with lab.write("separation", *cells) as notebook:
        notebook.run_all()
        drive_separation(notebook, notebook.output(1))
        notebook.screenshot("separation", notebook.output(1))
        bare = notebook.output(2)
        expect(bare.get_by_text("No truth was given")).to_be_visible()
        drive_separation(notebook, bare)
        notebook.check_clean()
