"""Slides of the vendors, by OpenSlide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
from PIL import Image

from pano_med.slides.source import Facts, level

#: Decoded tiles that OpenSlide keeps, in bytes: two rows of tiles of a wide scan.
CACHE = 64 << 20


class OpenSlideSource:
    """A file that OpenSlide knows.

    An OpenSlide handle that met one damaged tile answers every later call with the same error. So a read that fails
    is tried on a fresh handle, which judges this place alone and, if all is well there, takes the old one's place. The
    old one is closed when the last thread lets go of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cache = openslide.OpenSlideCache(CACHE)
        self._handle = self._open()
        self._downs = self._handle.level_downsamples  # OpenSlide's own idea of them; ours differ by rounding
        self.facts = _facts(self._handle)

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """See `Source.read`."""
        try:
            return self._pixels(self._handle, level, top, left, height, width)
        except openslide.OpenSlideError:
            fresh = self._open()
        try:
            pixels = self._pixels(fresh, level, top, left, height, width)
        except openslide.OpenSlideError as error:
            raise OSError(str(error)) from error
        self._handle = fresh
        return pixels

    def close(self) -> None:
        """See `Source.close`."""
        self._handle.close()

    def _open(self) -> openslide.OpenSlide:
        try:
            handle = openslide.OpenSlide(str(self._path))
        except (openslide.OpenSlideError, OSError) as error:
            raise OSError(
                f"{self._path} looks like a slide but can't be opened: {' '.join(str(error).split())}; it may be cut "
                "short or lack its companion files: copy it again, with the folder of its name where it has one"
            ) from error
        handle.set_cache(self._cache)
        return handle

    def _pixels(self, handle: openslide.OpenSlide, level: int, top: int, left: int, height: int,
                width: int) -> np.ndarray:
        down = self._downs[level]
        rgba = handle.read_region((round(left * down), round(top * down)), level, (width, height))
        pixels = np.asarray(rgba)
        if pixels[..., 3].min() < 255:  # never scanned
            white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
            pixels = np.asarray(Image.alpha_composite(white, rgba))
        return np.ascontiguousarray(pixels[..., :3])


def _facts(handle: openslide.OpenSlide) -> Facts:
    said = handle.properties
    sizes = [(h, w) for w, h in handle.level_dimensions]
    levels = tuple(level(size, sizes[0]) for size in sizes)
    x, y = (_number(said.get(key)) for key in (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y))
    return Facts(levels, (x, y) if x and y else None, _bounds(handle, levels[0].size),
                 _number(said.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)))


def _bounds(handle: openslide.OpenSlide, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    keys = (openslide.PROPERTY_NAME_BOUNDS_Y, openslide.PROPERTY_NAME_BOUNDS_X,
            openslide.PROPERTY_NAME_BOUNDS_HEIGHT, openslide.PROPERTY_NAME_BOUNDS_WIDTH)
    top, left, height, width = (_number(handle.properties.get(key)) for key in keys)
    if top is None or left is None or not height or not width:
        return None
    return (max(0, int(top)), max(0, int(left)), min(size[0], int(top + height)), min(size[1], int(left + width)))


def _number(text: str | None) -> float | None:
    """A property as a number; scanners write "0,25" too."""
    try:
        value = float((text or "").replace(",", "."))
    except ValueError:
        return None
    return value if np.isfinite(value) else None
