"""A small image and map whose figures can be checked by head."""

import numpy as np

from pano_med.types import HE_CORE, Panoptic

IMAGE = np.full((8, 10, 3), 200, np.uint8)


def small_map(pixel_size_um: float | None = 0.5) -> Panoptic:
    """8 x 10: two rows of background, one of void, the rest other tissue with three nuclei of 1, 4 and 2 px."""
    ids = np.full((8, 10), 2, np.int32)
    ids[:2], ids[2] = 1, 0
    ids[4, 4], ids[5:7, 1:3], ids[7, 8:] = 3, 4, 5
    classes = ("background", "other tissue", "inflammatory nucleus", "neoplastic nucleus", "neoplastic nucleus")
    table = {i: HE_CORE[name].id for i, name in enumerate(classes, 1)}
    return Panoptic.from_ids(ids, table, HE_CORE, pixel_size_um, {3: 0.9, 4: 0.8, 5: 0.7})
