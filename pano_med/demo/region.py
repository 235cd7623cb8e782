"""What the demo segments: the H&E region with its labels, or the picture that is always there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.data import immunohistochemistry

from pano_med.data import card
from pano_med.data.codecs import instances_and_types
from pano_med.data.items import Item
from pano_med.formats import read_image
from pano_med.metrics import panoptic_quality, things_quality
from pano_med.types import HE_CORE, Panoptic

#: Rows from here on were never trained on; the weights saw rows above it (data card of histolytics_hgsc).
TEST_ROW = 1000
CARD = card("histolytics_hgsc")


@dataclass(frozen=True)
class Region:
    """One image to show.

    Attributes:
        name: start of the names of its files.
        image: (H, W, 3) uint8.
        pixel_size_um: as its card gives it, or None.
        source: where it comes from and under which licence.
        truth: (H, W) map of its labels, or None.
    """

    name: str
    image: np.ndarray
    pixel_size_um: float | None
    source: str
    truth: Panoptic | None = None


@dataclass(frozen=True)
class Quality:
    """Scores on the rows that training never saw.

    Attributes:
        nuclei: PQ, SQ, RQ of all nuclei as one class.
        typed: mean PQ of the three kinds; None where the prediction tells none.
        labelled: nuclei with labels there.
    """

    nuclei: tuple[float, float, float]
    typed: float | None
    labelled: int


def he_region(folder: Path) -> Region:
    """The ovarian carcinoma sample in a folder made by `fetch_hgsc`."""
    path, masks = folder / "hgsc_nest.jpg", tuple(folder / f"hgsc_nest_{kind}_mask.npz" for kind in ("inst", "type"))
    image, mpp = read_image(path).array, CARD.pixel_size_um[""]
    item = Item("hgsc_nest", path, masks, {}, folder)
    labels = instances_and_types(item, CARD.codes(HE_CORE), image.shape[:2])
    return Region(
        item.name,
        image,
        mpp,
        "H&E of a high-grade serous carcinoma of the ovary, from histolytics 0.3.0 (O. Lehtonen and others, "
        "HautaniemiLab), BSD-3-Clause; the pixel size is not published, nuclei suggest 0.5 µm",
        Panoptic.from_ids(labels.things, labels.classes, HE_CORE, mpp),
    )


def ihc_region() -> Region:
    """scikit-image's colon glands: not H&E, no labels, but on every machine."""
    return Region(
        "immunohistochemistry",
        immunohistochemistry(),
        None,
        "colon glands stained for FHL2 (brown, DAB) with haematoxylin, from scikit-image (CMMI), no known restrictions",
    )


def quality(truth: Panoptic, prediction: Panoptic, row: int = TEST_ROW) -> Quality:
    """Compare the rows from `row` on. Nuclei that cross it belong to neither side and are not judged."""
    crossing = np.intersect1d(truth.ids[:row], truth.ids[row:])
    crossing = crossing[crossing > 0]
    ignore = np.isin(truth.ids[row:], crossing)
    below, found = (_rows(p, row) for p in (truth, prediction))
    nuclei, typed = things_quality(below, found, ignore).mean("things"), None
    if found.taxonomy == below.taxonomy:
        known = {c.id for c in HE_CORE.things}
        by_kind = panoptic_quality(below, found, categories=known, void_is_background=True, ignore=ignore)
        typed = by_kind.mean("things")[0]
    return Quality(nuclei, typed, len(below.segments) - len(crossing))


def _rows(panoptic: Panoptic, row: int) -> Panoptic:
    categories = {s.id: s.category_id for s in panoptic.segments}
    return Panoptic.from_ids(panoptic.ids[row:], categories, panoptic.taxonomy, panoptic.pixel_size_um)
