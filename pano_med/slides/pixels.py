"""The colours of a slide as square tiles of an exact pyramid, ready for a page. No torch."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from pano_med.slides.reader import Slide, need_mpp
from pano_med.slides.source import SlideReadError

#: Side of a tile in pixels.
TILE = 256
#: Levels whose longest side is at most this many pixels are kept in memory; a slide without coarse levels needs it.
_KEPT = 1024
#: Colour of what the file can't show.
_DAMAGED = 160


class SlidePixels:
    """Tiles of a slide. A pixel of level n covers exactly 2^n x 2^n pixels of level 0, at every level.

    Viewers round the sizes of levels and so shift one against the other by up to a pixel. Here the slide is thought
    to be a little larger (white at the right and below), so that every size is whole at every level.

    Args:
        slide: the open slide, with a known pixel size.

    Attributes:
        depth: number of levels; the coarsest fits into one tile.
        size: (H, W) of level 0 with the white rim, multiples of 2^(depth - 1).

    Raises:
        ValueError: nobody knows the pixel size of the slide.
    """

    def __init__(self, slide: Slide) -> None:
        self.slide, self.mpp = slide, need_mpp(slide)
        self.depth, self.size = _pyramid(slide.size)
        self._lock, self._coarse = threading.Lock(), dict[int, np.ndarray]()
        #: The first level that is kept in memory.
        self._base = next(n for n in range(self.depth) if max(self.size) >> n <= _KEPT)

    @property
    def name(self) -> str:
        """The slide's file name."""
        return self.slide.name

    @property
    def slide_size(self) -> tuple[int, int]:
        """(H, W) of the slide's level 0 in pixels."""
        return self.slide.size

    def tile(self, level: int, row: int, column: int) -> np.ndarray:
        """One tile.

        Args:
            level: 0 is the finest.
            row: of the tile, from 0.
            column: of the tile.

        Returns:
            (h, w, 3) uint8, at most `TILE` x `TILE`, smaller at the right and lower border; grey where damaged.

        Raises:
            ValueError: no such tile.
        """
        h, w = self._size(level)
        top, left = row * TILE, column * TILE
        if not (0 <= top < h and 0 <= left < w):
            raise ValueError(f"level {level} of {self.slide.name} has no tile {row}, {column}; it has {h} x {w} pixels")
        bottom, right = min(top + TILE, h), min(left + TILE, w)
        if level >= self._base:
            return self._overview(level)[top:bottom, left:right]
        try:
            return self._read(level, top, left, bottom, right)
        except SlideReadError:
            return np.full((bottom - top, right - left, 3), _DAMAGED, np.uint8)

    def jpeg(self, level: int, row: int, column: int) -> bytes:
        """`tile` as JPEG."""
        return jpeg(self.tile(level, row, column))

    def overview(self) -> np.ndarray:
        """(h, w, 3) uint8: the slide without its rim, longest side at most 1024 pixels."""
        small = self._overview(self._base)
        h, w = (-(-n // (1 << self._base)) for n in self.slide.size)
        return small[:h, :w]

    def _size(self, level: int) -> tuple[int, int]:
        if not 0 <= level < self.depth:
            raise ValueError(f"{self.slide.name} has levels 0..{self.depth - 1} here, got {level}")
        return self.size[0] >> level, self.size[1] >> level

    def _read(self, level: int, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        step = 1 << level
        box = top * step, left * step, (bottom - top) * step, (right - left) * step
        return self.slide.region(*box, mpp=None if level == 0 else self.mpp * step)

    def _overview(self, level: int) -> np.ndarray:
        """A whole coarse level; the file is read once, coarser levels are means of 2 x 2."""
        with self._lock:
            if not self._coarse:
                self._coarse[self._base] = self._first()
            for n in range(self._base + 1, self.depth):
                if n not in self._coarse:
                    self._coarse[n] = _halved(self._coarse[n - 1])
            return self._coarse[level]

    def _first(self) -> np.ndarray:
        """The finest level that is kept; damaged parts are grey."""
        step, (h, w) = 1 << self._base, self._size(self._base)
        out = np.full((h, w, 3), 255, np.uint8)
        rows, columns = (n // step for n in self.slide.size)
        try:
            out[:] = self._read(self._base, 0, 0, h, w)
        except SlideReadError:
            small, damaged = self.slide.overview((max(1, rows), max(1, columns)))
            out[: small.shape[0], : small.shape[1]] = np.where(damaged[..., None], _DAMAGED, small)
        return out


class ThumbnailPixels:
    """As `SlidePixels`, made from a small picture of the slide, where the slide itself is not at hand.

    Args:
        path: the picture.
        size: (H, W) of the slide's level 0.
        mpp: micrometres per level-0 pixel.
        name: of the slide.

    Raises:
        OSError: no such picture.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], mpp: float, name: str) -> None:
        self.mpp, self.slide_size, self.name = mpp, size, name
        self._picture = Image.open(path).convert("RGB")
        self.depth, self.size = _pyramid(size)

    def jpeg(self, level: int, row: int, column: int) -> bytes:
        """One tile, enlarged from the thumbnail."""
        h, w = (n >> level for n in self.size)
        box = np.array([column, row, min(column + 1, w / TILE), min(row + 1, h / TILE)]) * TILE
        size = int(box[2] - box[0]), int(box[3] - box[1])
        scale = np.array(self._picture.size) / self.slide_size[::-1] * (1 << level)
        left, top, right, bottom = box * [*scale, *scale]
        picture = Image.new("RGB", size, "white")
        inside = min(right, self._picture.width), min(bottom, self._picture.height)
        if inside[0] > left and inside[1] > top:
            shown = max(1, round((inside[0] - left) / scale[0])), max(1, round((inside[1] - top) / scale[1]))
            picture.paste(self._picture.resize(shown, Image.Resampling.BILINEAR, (left, top, *inside)), (0, 0))
        return jpeg(np.asarray(picture))

    def overview(self) -> np.ndarray:
        """The thumbnail."""
        return np.asarray(self._picture)


def jpeg(rgb: np.ndarray) -> bytes:
    """An (h, w, 3) uint8 picture as JPEG; colours keep their full resolution, so that thin stains do not bleed."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "JPEG", quality=85, subsampling=0)
    return file.getvalue()


def _pyramid(size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """Number of levels, and the size with the rim that makes it whole at each of them."""
    depth = next(n for n in range(40) if max(size) <= TILE << n) + 1
    step = 1 << (depth - 1)
    return depth, (-(-size[0] // step) * step, -(-size[1] // step) * step)


def _halved(rgb: np.ndarray) -> np.ndarray:
    h, w = rgb.shape[0] // 2, rgb.shape[1] // 2
    parts = rgb[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).astype(np.uint16).sum((1, 3))
    return np.asarray((parts + 2) // 4, np.uint8)
