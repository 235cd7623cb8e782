"""Words on pictures, with the font that comes with Pillow."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at a size in pixels."""
    return ImageFont.load_default(size=size)


def text_width(text: str, size: int) -> int:
    """Pixels that a line of text is wide."""
    return int(np.ceil(font(size).getlength(text)))


def line_height(size: int) -> int:
    """Pixels from line to line."""
    return int(size * 1.35)


def write(picture: np.ndarray, text: str, row: int, column: int, size: int, halo: bool = False) -> None:
    """Write a line into a picture, in place (own pictures only).

    Args:
        picture: (H, W, 3) uint8.
        text: one line.
        row: top of the line.
        column: its left end.
        size: height of the font in pixels.
        halo: True for black with a white rim, to be read on tissue.
    """
    top, left = max(row, 0), max(column, 0)
    bottom, right = row + line_height(size) + 4, column + text_width(text, size) + size
    part = Image.fromarray(np.ascontiguousarray(picture[top:bottom, left:right]))
    place, rim = (column - left, row - top), max(1, size // 8) if halo else 0
    ImageDraw.Draw(part).text(place, text, BLACK, font(size), stroke_width=rim, stroke_fill=WHITE)
    picture[top:bottom, left:right] = np.asarray(part)


def fitting_size(picture: np.ndarray, least: int = 12) -> int:
    """A font size that can be read when the picture fills a projector."""
    return max(least, round(min(picture.shape[0], picture.shape[1]) / 45))
