"""What is empty glass: the one rule that every tissue set of this project uses for `background`."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

#: Glass is at most this much denser than the clearest spot of its image (optical density, base 10).
MARGIN = 0.015
#: Nothing denser than this is glass, however dark the image: an image may hold no glass at all.
CEILING = 0.066
#: Smaller clear spots (gaps between cells, slits in loose stroma) belong to the tissue around them.
MIN_AREA_UM2 = 200.0
#: Smoothing and opening radius: bridges sensor noise, cuts through threads of light between fibres.
BLUR_UM = 1.0
#: Stands in where the pixel size is unknown.
DEFAULT_UM = 0.5


def glass_mask(image: np.ndarray, pixel_size_um: float | None = None) -> np.ndarray:
    """Find empty glass: slide without tissue, lumens, the inside of fat cells.

    The rule, in optical density OD = -log10((I + 1) / 256): a pixel is clear if the density of its darkest channel,
    smoothed over 1 um, is at most `MARGIN` above the clearest 0.1 % of the image and below `CEILING`. Clear spots are
    opened by 1 um; those of `MIN_AREA_UM2` or more are glass. The reference comes from the image because one
    scanner's glass (OD 0.05) is as dense as another's palest tissue. Tuned by eye on 24 H&E images of five sources:
    fat and lumens are found, pale stroma, pale cytoplasm and the membranes of fat cells are not.

    Args:
        image: (H, W, 3) uint8 RGB.
        pixel_size_um: side of a pixel; None counts as 0.5.

    Returns:
        (H, W) bool, True on glass.

    Raises:
        ValueError: not an (H, W, 3) uint8 image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"glass_mask needs an (H, W, 3) uint8 RGB image, got shape {image.shape} of {image.dtype}")
    um = pixel_size_um or DEFAULT_UM
    darkest = -np.log10((image.min(-1).astype(np.float32) + 1) / 256)
    smooth = ndimage.gaussian_filter(darkest, BLUR_UM / um)
    clear = smooth < min(float(np.quantile(smooth, 0.001)) + MARGIN, CEILING)
    # padding keeps the opening from eating glass that runs off the image
    pad = max(1, round(BLUR_UM / um))
    padded = np.pad(clear, pad + 1, mode="edge")
    clear = ndimage.binary_opening(padded, iterations=pad)[pad + 1 : -pad - 1, pad + 1 : -pad - 1]
    spots, _ = ndimage.label(clear)
    large = np.bincount(spots.ravel()) * um * um >= MIN_AREA_UM2
    large[0] = False
    return large[spots]
