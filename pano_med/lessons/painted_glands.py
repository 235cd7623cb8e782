"""Painted glands for lesson 05 where the real ones are not at hand: rings of epithelium around an empty lumen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter

from pano_med.synthetic import Knobs, he_tile
from pano_med.types import OKABE_ITO, Category, Panoptic, Taxonomy

#: The classes of the real set, see data_cards/ebhi_polyp_glands.md.
GLANDS = Taxonomy(
    "glands",
    (Category(1, "stroma", False, OKABE_ITO["sky"]), Category(2, "gland", True, OKABE_ITO["vermillion"])),
)
#: um: radius of a gland, height of its epithelium, least stroma between two, side of a pixel.
_RADIUS, _EPITHELIUM, _BETWEEN, UM = (32.0, 58.0), 21.0, 8.0, 1.4


def painted_glands(count: int, seed: int = 0, side: int = 256) -> Iterator[tuple[np.ndarray, Panoptic]]:
    """Fields of glands in stroma, with their exact truth; stain, number and form differ from field to field.

    Args:
        count: fields.
        seed: the same seed gives the same fields.
        side: pixels of `UM` micrometres.

    Yields:
        (side, side, 3) uint8 and its map in the classes `GLANDS`.
    """
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        ids, depth = _lay(rng, side)
        look = int(rng.integers(2**31))  # one seed, one stain: both tissues look as if from one slide
        stroma, epithelium = (
            he_tile(look, (side, side), Knobs(tumour_fraction=share, tissue=1.0, variation=0.6), UM).image / 255
            for share in (0.0, 1.0)
        )
        # epithelium with its lumen inside; edges as soft as a lens makes them
        inside, lumen = (gaussian_filter(mask.astype(float), 0.7)[..., None]
                         for mask in (ids > 0, depth > _EPITHELIUM / UM))  # fmt: skip
        mucin = 0.9 - 0.03 * rng.random((1, 1, 3))
        image = stroma * (1 - inside) + epithelium * inside
        image = image * (1 - lumen) + mucin * lumen
        image += rng.normal(0, 0.008, image.shape)
        kinds = {1: 1} | {int(i): 2 for i in np.unique(ids) if i}
        truth = Panoptic.from_ids(np.where(ids > 0, ids, 1), kinds, GLANDS, UM)
        yield np.rint(image.clip(0, 1) * 255).astype(np.uint8), truth


def _lay(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(side, side) ids of glands from 2 on, 0 = stroma; and how deep in its gland each pixel lies, in pixels."""
    ids, depth = np.zeros((side, side), np.int32), np.zeros((side, side))
    rows, columns = np.mgrid[:side, :side]
    taken: list[tuple[float, float, float]] = []
    for _ in range(60):
        middle, radius = rng.uniform(-10, side + 10, 2), rng.uniform(*_RADIUS) / UM
        if any(np.hypot(*(middle - t[:2])) < radius + t[2] + _BETWEEN / UM for t in taken):
            continue
        taken.append((*middle, radius))
        angle = np.arctan2(rows - middle[0], columns - middle[1])
        waves = sum(rng.uniform(0.02, 0.07) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 5))
        room = radius * (0.92 + waves) - np.hypot(rows - middle[0], columns - middle[1])
        mine = (room > 0) & (ids == 0)
        ids[mine], depth[mine] = len(taken) + 1, room[mine]
    return ids, depth
