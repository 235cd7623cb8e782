"""From the levels of a pyramid to any size, block by block, so that memory does not grow with what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from pano_med.slides.source import Level, SlideReadError

#: Side of the blocks that are read at a time when much is made small, in pixels of the level: 16 MiB as RGBA.
BLOCK = 2048
#: Damage is narrowed down to blocks of this side in an overview.
SMALLEST = 512
#: Pixels around a block that the filter may reach into, besides its own width.
_MARGIN = 4
#: level, top, left, height, width in pixels of the level -> (height, width, 3) uint8; any rectangle, white outside.
Read = Callable[[int, int, int, int, int], np.ndarray]
#: top, left, height, width in level-0 pixels.
Box = tuple[float, float, float, float]


def resampled(read: Read, levels: Sequence[Level], box: Box, size: tuple[int, int]) -> np.ndarray:
    """A box of a slide as a picture of `size`, bilinear where it grows, averaging where it shrinks.

    Pillow's filter looks past the edges of the part that it is given, so blocks (and tiles) meet without a seam.

    Args:
        read: reads a level.
        levels: the pyramid.
        box: what to show.
        size: (h, w) of the picture.

    Returns:
        (h, w, 3) uint8.
    """
    scale = box[2] / size[0], box[3] / size[1]
    level, step = _level(levels, min(scale)), _step(levels, min(scale), BLOCK)
    out = np.empty((*size, 3), np.uint8)
    for rows, columns in _blocks(size, step):
        per = levels[level].downsample
        start = (box[0] + rows.start * scale[0]) / per, (box[1] + columns.start * scale[1]) / per
        end = (box[0] + rows.stop * scale[0]) / per, (box[1] + columns.stop * scale[1]) / per
        out[rows, columns] = _block(read, level, start, end, (rows.stop - rows.start, columns.stop - columns.start))
    return out


def overview(read: Read, levels: Sequence[Level], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The whole slide made small, whatever damage it has.

    Args:
        read: reads a level; raises `SlideReadError` where the file can't be decoded.
        levels: the pyramid.
        size: (h, w) of the picture.

    Returns:
        (h, w, 3) uint8, white where the file can't be decoded, and (h, w) bool, True there.
    """
    out, damaged = np.full((*size, 3), 255, np.uint8), np.zeros(size, bool)
    scale = levels[0].size[0] / size[0], levels[0].size[1] / size[1]
    smallest = _step(levels, min(scale), SMALLEST)
    todo = list(_blocks(size, _step(levels, min(scale), BLOCK)))
    while todo:
        rows, columns = todo.pop()
        h, w = rows.stop - rows.start, columns.stop - columns.start
        try:
            box = rows.start * scale[0], columns.start * scale[1], h * scale[0], w * scale[1]
            out[rows, columns] = resampled(read, levels, box, (h, w))
        except SlideReadError:
            if max(h, w) <= smallest:
                damaged[rows, columns] = True
                continue
            for r, c in _blocks((h, w), (max(h, w) + 1) // 2):
                todo.append((slice(rows.start + r.start, rows.start + r.stop),
                             slice(columns.start + c.start, columns.start + c.stop)))  # fmt: skip
    return out, damaged


def _level(levels: Sequence[Level], factor: float) -> int:
    """The coarsest level that is not coarser than `factor` level-0 pixels per pixel."""
    return max((i for i, lv in enumerate(levels) if lv.downsample <= factor * 1.01), default=0)


def _step(levels: Sequence[Level], factor: float, block: int) -> int:
    """Pixels of a picture at this factor that a block of its level gives."""
    return max(1, int(block * levels[_level(levels, factor)].downsample / factor))


def _blocks(size: tuple[int, int], step: int) -> Iterator[tuple[slice, slice]]:
    """A picture of (h, w) in squares of `step`."""
    for row in range(0, size[0], step):
        for column in range(0, size[1], step):
            yield slice(row, min(row + step, size[0])), slice(column, min(column + step, size[1]))


def _block(read: Read, level: int, start: tuple[float, float], end: tuple[float, float],
           size: tuple[int, int]) -> np.ndarray:
    """(*size, 3) of the pixels from `start` to `end` (row, column) of a level."""
    pad = [_MARGIN + int(np.ceil((b - a) / n)) for a, b, n in zip(start, end, size, strict=True)]
    top, left = (int(np.floor(a)) - p for a, p in zip(start, pad, strict=True))
    bottom, right = (int(np.ceil(b)) + p for b, p in zip(end, pad, strict=True))
    pixels = read(level, top, left, bottom - top, right - left)
    part = start[1] - left, start[0] - top, end[1] - left, end[0] - top
    x, y = round(part[0]), round(part[1])
    if np.allclose(part, (x, y, x + size[1], y + size[0]), rtol=0, atol=1e-6):  # the level's own pixels
        return pixels[y : y + size[0], x : x + size[1]]
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR, box=part))
