"""A plain image as a slide of one level."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pano_med.formats import read_image
from pano_med.slides.source import Facts, Level


class PlainSource:
    """An image that `pano_med.formats.read_image` reads; it is held in memory."""

    def __init__(self, path: Path) -> None:
        image = read_image(path)
        self._array = image.array
        side = image.pixel_size_um
        self.facts = Facts((Level(image.size, 1.0),), None if side is None else (side, side))

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """See `Source.read`."""
        return self._array[top : top + height, left : left + width].copy()

    def close(self) -> None:
        """Let go of the pixels."""
        self._array = self._array[:0]
