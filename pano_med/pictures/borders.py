"""Borders of regions as pixels: always inside a region, so that they sit on it and never beside it."""

from __future__ import annotations

import numpy as np

from pano_med.pictures.styles import Style

_ALL, _FIRST, _LAST = slice(None), slice(None, -1), slice(1, None)
#: Views of a map and of it moved by one pixel to each of the four sides.
_PAIRS = tuple(
    (here, there)
    for one, other in (((_FIRST, _ALL), (_LAST, _ALL)), ((_ALL, _FIRST), (_ALL, _LAST)))
    for here, there in ((one, other), (other, one))
)


def inner_border(ids: np.ndarray, thickness: int = 1, ignore: np.ndarray | None = None) -> np.ndarray:
    """The outermost pixels of each region of a map; 0 has no border, nor has the frame of the picture.

    Args:
        ids: (H, W) integers.
        thickness: how many pixels deep, in steps to a side.
        ignore: (H, W) bool, neighbours that make no border; None: all do.

    Returns:
        (H, W) bool.
    """
    border = np.zeros(ids.shape, bool)
    for here, there in _PAIRS:
        different = ids[here] != ids[there]
        border[here] |= different if ignore is None else different & ~ignore[there]
    border &= ids > 0
    for _ in range(thickness - 1):
        grown = border.copy()
        for here, there in _PAIRS:
            grown[here] |= border[there] & (ids[here] == ids[there])
        border = grown
    return border


def dashes(border: np.ndarray, ids: np.ndarray, style_of: dict[int, Style], thickness: int) -> np.ndarray:
    """The pixels of borders that carry the class colour; the others of a dashed line are its gaps.

    A dash is a sector around the middle of its region; there is a whole number of dashes on each contour.

    Args:
        border: (H, W) bool, from `inner_border`.
        ids: (H, W) integers; dense (1, 2, 3, ...), as memory grows with the largest.
        style_of: the style of each id.
        thickness: pixels, the unit of dash lengths.

    Returns:
        (H, W) bool, part of `border`.
    """
    rows, columns = border.nonzero()
    label = ids[rows, columns]
    size = int(ids.max(initial=0)) + 1
    pixels = np.maximum(np.bincount(label, minlength=size), 1)
    middle_row = np.bincount(label, rows, size) / pixels
    middle_column = np.bincount(label, columns, size) / pixels
    on, length = (np.ones(size) for _ in range(2))
    for i, style in style_of.items():
        on[i], length[i] = style.line
    period = thickness * length / on
    number = np.maximum(3, np.rint(pixels / thickness / period))
    turn = np.arctan2(rows - middle_row[label], columns - middle_column[label]) / (2 * np.pi)
    coloured = (turn * number[label]) % 1 < on[label]
    drawn = np.zeros(border.shape, bool)
    drawn[rows[coloured], columns[coloured]] = True
    return drawn
