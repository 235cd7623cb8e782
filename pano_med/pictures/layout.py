"""Pictures beside each other, titles, a line across, a scale bar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pano_med.pictures.text import fitting_size, line_height, text_width, write
from pano_med.types import check_pixel_size


def stack(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures under each other on white, as wide as the widest."""
    width = max(p.shape[1] for p in pictures)
    return np.concatenate([_pad(p, p.shape[0], width) for p in pictures])


def side_by_side(pictures: Sequence[np.ndarray], titles: Sequence[str] = (), gap: int = 8) -> np.ndarray:
    """Pictures in a row on white, with titles above.

    Args:
        pictures: (H, W, 3) uint8 each; sizes may differ.
        titles: one for each picture, or none.
        gap: white pixels between them.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: no picture, or another number of titles.
    """
    if not pictures or len(titles) not in (0, len(pictures)):
        raise ValueError(f"there must be a title for each picture or none, got {len(pictures)} and {len(titles)}")
    height, size = max(p.shape[0] for p in pictures), fitting_size(pictures[0])
    head = line_height(size) + 6 if titles else 0
    columns: list[np.ndarray] = []
    for i, picture in enumerate(pictures):
        column = np.full((head + height, picture.shape[1] + (gap if i else 0), 3), 255, np.uint8)
        column[head : head + picture.shape[0], column.shape[1] - picture.shape[1] :] = picture
        if titles:
            write(column, titles[i], 2, gap if i else 0, size)
        columns.append(column)
    return np.concatenate(columns, 1)


def mark_row(picture: np.ndarray, row: int, above: str = "", below: str = "") -> np.ndarray:
    """A copy with a line across: black dashes on white, and what it divides.

    Args:
        picture: (H, W, 3) uint8.
        row: the line runs between the rows row - 1 and row.
        above: said above the line.
        below: said below the line.

    Raises:
        ValueError: the row lies outside the picture.
    """
    if not 0 <= row <= picture.shape[0]:
        raise ValueError(f"the line must lie within rows 0..{picture.shape[0]}, got {row}")
    out, size = picture.copy(), fitting_size(picture)
    half = max(1, size // 8)
    line = out[max(row - half, 0) : row + half]
    line[:] = 255
    line[:, np.arange(out.shape[1]) % (4 * size) < 2 * size] = 0
    for text, top in ((above, row - half - line_height(size) - 4), (below, row + half + 4)):
        if text:
            _box(out, text, max(top, 0), size // 2, size)
    return out


def _box(picture: np.ndarray, text: str, row: int, column: int, size: int) -> None:
    """Black words on a white box, in place."""
    picture[row : row + line_height(size), column : column + text_width(text, size) + size] = 255
    write(picture, text, row, column + size // 2, size)


def scale_bar(picture: np.ndarray, pixel_size_um: float) -> np.ndarray:
    """A copy with a scale bar in the lower left corner, of a round length near a fifth of the width.

    Args:
        picture: (H, W, 3) uint8.
        pixel_size_um: side of its pixels.

    Raises:
        ValueError: the pixel size is not positive.
    """
    check_pixel_size(pixel_size_um)
    length = round_length(picture.shape[1] * pixel_size_um / 5)
    size, out = fitting_size(picture), picture.copy()
    text, pixels = _length_text(length), round(length / pixel_size_um)
    thick, margin = max(2, size // 4), size // 2
    height, width = line_height(size) + thick + 2 * margin, max(pixels, text_width(text, size)) + 2 * margin
    if height > out.shape[0] or width > out.shape[1] or pixels < 1:
        return out  # too small a picture for a bar
    top = out.shape[0] - height
    out[top:, :width] = 255
    out[top + margin : top + margin + thick, margin : margin + pixels] = 0
    write(out, text, top + margin + thick + 1, margin, size)
    return out


def round_length(longest: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50, ... (and 0.5, 0.2, ...) that is not above `longest`."""
    power = 10.0 ** np.floor(np.log10(longest))
    return float(max(f * power for f in (1, 2, 5) if f * power <= longest * (1 + 1e-9)))


def _length_text(micrometres: float) -> str:
    return f"{micrometres / 1000:g} mm" if micrometres >= 1000 else f"{micrometres:g} um"


def _pad(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    out = np.full((height, width, 3), 255, np.uint8)
    out[: picture.shape[0], : picture.shape[1]] = picture
    return out
