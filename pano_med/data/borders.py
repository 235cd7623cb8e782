"""Pixels that are not tissue of the slide: corners filled by a rotation, rims of a warp, mirrored padding."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage


def augmented(image: np.ndarray, name: str) -> np.ndarray:
    """What the augmentation of the TNBC mirror painted.

    `rotated_DEGREES_*` turned the picture about its centre inside its frame and filled the corners with one colour:
    the geometry says which pixels, to which a rim of 3 px (interpolation, JPEG) is added. `distorted_*` drew black
    where the warp looked outside: a dark rim of 2 px everywhere, and black patches that touch the edge.
    """
    h, w = image.shape[:2]
    if turned := re.match(r"rotated_(\d+)_", name):
        angle = np.deg2rad(int(turned[1]))
        y, x = np.mgrid[:h, :w] - np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
        u, v = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
        outside = (np.abs(u) > w / 2 - 3) | (np.abs(v) > h / 2 - 3)
        return outside if int(turned[1]) % 90 else np.zeros((h, w), bool)
    if name.startswith("distorted_"):
        rim = np.ones((h, w), bool)
        rim[2:-2, 2:-2] = False
        black = ndimage.binary_propagation(rim, mask=rim | (image.max(-1) < 40))
        return rim | ndimage.binary_dilation(black & (image.max(-1) < 40), iterations=8)
    return np.zeros((h, w), bool)


def mirrored(image: np.ndarray, name: str) -> np.ndarray:
    """A strip at the right side that repeats the columns before it in reverse (reflected padding, bit for bit)."""
    out = np.zeros(image.shape[:2], bool)
    w = image.shape[1]
    for strip in range((w - 1) // 2, 7, -1):
        before = image[:, w - 2 * strip - 1 : w - strip - 1]
        if before.std() > 0 and np.array_equal(image[:, w - strip :], before[:, ::-1]):
            out[:, w - strip :] = True
            break
    return out


#: By the name that a card gives in `reading.borders`; each takes an image (H, W, 3) and the stem of its file, and gives
#: (H, W) bool.
BORDERS: Mapping[str, Callable[[np.ndarray, str], np.ndarray]] = {"augmented": augmented, "mirrored": mirrored}
