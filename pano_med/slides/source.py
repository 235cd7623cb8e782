"""What every kind of slide file offers to `Slide`: levels, facts, and pixels of one level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class SlideReadError(OSError):
    """A part of a slide that opened well can't be read; the message names file and place."""


@dataclass(frozen=True)
class Level:
    """One level of a pyramid.

    Attributes:
        size: (H, W) in pixels of the level.
        downsample: level-0 pixels per pixel of this level, at least 1.
    """

    size: tuple[int, int]
    downsample: float


def level(size: tuple[int, int], whole: tuple[int, int]) -> Level:
    """A level by its own and level 0's (H, W): a whole downsample where sizes are that up to their rounding."""
    mean = (whole[0] / size[0] + whole[1] / size[1]) / 2
    n = round(mean)
    exact = all(abs(a * n - b) < n for a, b in zip(size, whole, strict=True))
    return Level(size, float(n) if exact else mean)


@dataclass(frozen=True)
class Facts:
    """What a file says about itself.

    Attributes:
        levels: the pyramid, level 0 first, each coarser than the one before.
        mpp_xy: micrometres per level-0 pixel along x and y, or None where the file is silent.
        bounds: top, left, bottom, right of the part that was scanned, in level-0 pixels, or None: all of it.
        objective: nominal magnification, e.g. 40, or None.
    """

    levels: tuple[Level, ...]
    mpp_xy: tuple[float, float] | None = None
    bounds: tuple[int, int, int, int] | None = None
    objective: float | None = None


class Source(Protocol):
    """A file that was opened. Reading is safe from several threads."""

    facts: Facts

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """(height, width, 3) uint8 of a rectangle, in pixels of the level, that lies inside the level.

        Raises:
            OSError: it can't be decoded; any message, `Slide` says where.
        """

    def close(self) -> None:
        """Let go of the file."""
