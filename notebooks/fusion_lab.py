"""Write docs/fusion_lab.html, the fusion lab that needs no kernel: `make fusion-lab`.

With `--record HGSC_FOLDER` (the `original` folder of histolytics_hgsc) the tile is cut and predicted anew first. That
is needed only when the weights change, and changes the numbers that lesson 04 speaks of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pano_med.demo import he_region
from pano_med.lessons.fusing import Merger
from pano_med.lessons.fusing_examples import RECORDED, Example, record, recorded
from pano_med.predict import load_segmenter
from pano_med.types import Panoptic
from pano_med.widgets.fusion_lab import FusionLab

PAGE = Path(__file__).parents[1] / "docs" / "fusion_lab.html"
#: Upper left corner (row, column) and side of the tile: below row 1000, which the weights never saw.
CORNER, SIDE = (1150, 900), 192


def cut(folder: Path) -> Example:
    """The tile and what he-nano says of it."""
    region, (row, column) = he_region(folder), CORNER
    window = slice(row, row + SIDE), slice(column, column + SIDE)
    image = np.array(region.image[window])
    segmenter = load_segmenter()
    size = region.pixel_size_um
    classes = {s.id: s.category_id for s in region.truth.segments}
    truth = Panoptic.from_ids(region.truth.ids[window], classes, region.truth.taxonomy, size)
    return Example(image, segmenter.predict(image, size), truth, region.source)


def write(path: Path = PAGE) -> None:
    """Write the page."""
    example = recorded()
    lab = FusionLab(example.image, Merger(example.prediction), truth=example.truth)
    lab.save_html(path, source=example.source)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, metavar="HGSC_FOLDER")
    folder = parser.parse_args().record
    if folder:
        record(RECORDED, cut(folder))
    write()
    print(f"wrote {PAGE}, {PAGE.stat().st_size / 1e6:.1f} MB")
