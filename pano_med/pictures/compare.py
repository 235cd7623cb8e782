"""Truth and prediction beside their image."""

from __future__ import annotations

from typing import Any

import numpy as np

from pano_med.pictures.layout import side_by_side, stack
from pano_med.pictures.legend import legend
from pano_med.pictures.overlay import enlarge, overlay
from pano_med.pictures.text import fitting_size
from pano_med.types import Panoptic


def triptych(image: np.ndarray, truth: Panoptic, prediction: Panoptic, *, scale: int = 1, **options: Any) -> np.ndarray:
    """Image, truth and prediction side by side, with the legend of their taxonomy below.

    Args:
        image: (H, W, 3) uint8.
        truth: map of the same size.
        prediction: map of the same size.
        scale: how many times all three are enlarged.
        options: passed to `overlay`.

    Raises:
        ValueError: sizes differ (as `overlay`).
    """
    drawn = [overlay(image, panoptic, scale=scale, **options) for panoptic in (truth, prediction)]
    picture = side_by_side([enlarge(image, scale), *drawn], ["image", "truth", "prediction"])
    return stack([picture, legend(truth.taxonomy, picture.shape[1], fitting_size(drawn[0]))])
