"""Does an image look like what the weights saw? One visible warning for what is far from H&E."""

from __future__ import annotations

import numpy as np

#: Denser than this (optical density of the densest channel) counts as tissue.
TISSUE_OD = 0.12
#: Below this share of tissue there is nothing to segment. Validation part: least 0.04.
MIN_TISSUE = 0.01
#: Green share of the mean direction in optical-density space. Haematoxylin and eosin absorb green most, DAB and most
#: photographs do not. Validation part: least 0.64 (all labelled images: 0.604); photographs 0.50-0.63, DAB 0.54.
MIN_GREEN = 0.60
#: Share of pixels darker than `DARK`. Validation part: below 0.001 (other labelled H&E: most
#: 0.006); a fluorescence image is mostly black.
MAX_DARK = 0.3
DARK = 40
#: The look needs no more pixels than this along a side.
_SIDE = 1024


def strangeness(image: np.ndarray) -> str | None:
    """Why an image is unlike H&E, in one sentence, or None.

    Args:
        image: (H, W, 3) uint8.
    """
    step = max(1, max(image.shape[:2]) // _SIDE)
    pixels = image[::step, ::step].reshape(-1, 3).astype(np.float32)
    if (pixels.max(1) < DARK).mean() > MAX_DARK:
        return "most of the image is dark, as in fluorescence; the weights know stained tissue on bright glass only"
    density = -np.log10((pixels + 1) / 256)
    tissue = density[density.max(1) > TISSUE_OD]
    if len(tissue) < MIN_TISSUE * len(pixels):
        return "the image is almost empty glass; there may be nothing to find"
    direction = tissue.sum(0) / np.linalg.norm(tissue, axis=1).sum()
    if direction[1] < MIN_GREEN:
        return (
            "the colours are not those of haematoxylin and eosin (another stain, a photograph?); "
            "do not trust the result"
        )
    return None
