"""How each class looks: a colour, and something beside the colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pano_med.types import OKABE_ITO, Category, Taxonomy

#: Contours of things by the order of classes: part of the line in colour, length of its dashes in line widths.
LINES = ((1.0, 1), (0.85, 7), (0.6, 2.5), (0.4, 5))
#: Hatchings of stuff by the order of classes: steps (down, right) along which a line is constant.
HATCHES = ((1, 1), (1, -1), (1, 0), (0, 1))


@dataclass(frozen=True)
class Style:
    """How one class is drawn.

    Attributes:
        color: RGB of lines.
        letter: mark of the class in regions and in the legend; unique in a taxonomy.
        fill: opacity of the fill, 0..1 (stuff only).
        line: (part in colour, dash length in line widths); the rest of a line is `gap` (things only).
        hatch: direction of the hatching (stuff only).
        quiet: True for stuff that is drawn as faintly as can be: the glass.
    """

    color: tuple[int, int, int]
    letter: str
    fill: float
    line: tuple[float, float]
    hatch: tuple[int, int]
    quiet: bool

    @property
    def gap(self) -> tuple[int, int, int]:
        """RGB of the gaps of a dashed line: white, or black where the colour is nearly as light as white (yellow)."""
        red, green, blue = self.color  # weights of luma: ITU-R BT.601
        return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 190 else (255, 255, 255)


def styles(taxonomy: Taxonomy, fill: float = 0.16) -> dict[int, Style]:
    """A style for each category id of a taxonomy.

    Black stuff is background: no fill, faint grey hatching. Reddish purple stuff (#CC79A7) is not filled either: on
    the pink of eosin nobody sees it, so its lines and letters carry it.

    Args:
        taxonomy: the table.
        fill: opacity of stuff, 0..1.

    Raises:
        ValueError: a fill beyond 0..1.
    """
    if not 0 <= fill <= 1:
        raise ValueError(f"fill is an opacity from 0 to 1, got {fill}")
    letters = _letters(taxonomy)
    order = {c.id: i for group in (True, False) for i, c in enumerate(c for c in taxonomy.all if c.isthing == group)}
    found = {}
    for c in taxonomy.all:
        i, quiet = order[c.id], not c.isthing and c.color == OKABE_ITO["black"]
        opacity = 0.0 if c.isthing or quiet or c.color == OKABE_ITO["purple"] else fill
        found[c.id] = Style(c.color, letters[c.id], opacity, LINES[i % len(LINES)], HATCHES[i % len(HATCHES)], quiet)
    return found


def _letters(taxonomy: Taxonomy) -> dict[int, str]:
    """One sign for each class: a letter of its name if one is free, else its id."""
    taken: dict[str, int] = {}
    for c in taxonomy.all:
        free = (letter for letter in c.name.upper() if letter.isalnum() and letter not in taken)
        taken[next(free, str(c.id))] = c.id
    return {i: letter for letter, i in taken.items()}


def blend(picture: np.ndarray, where: np.ndarray, color: tuple[int, int, int], opacity: float) -> None:
    """Lay a colour over part of a picture, in place (own pictures only).

    Args:
        picture: (H, W, 3) uint8.
        where: (H, W) bool.
        color: RGB.
        opacity: 0..1.
    """
    levels = np.arange(256)[:, None] * (1 - opacity) + np.array(color) * opacity
    table = np.rint(levels).astype(np.uint8)  # (256, 3): what each level of each channel becomes
    picture[where] = table[picture[where], [0, 1, 2]]


def hatching(size: tuple[int, int], direction: tuple[int, int], spacing: int, width: int) -> np.ndarray:
    """(H, W) bool: parallel lines.

    Args:
        size: (H, W).
        direction: factors of row and column; their sum is constant along a line.
        spacing: pixels from line to line.
        width: pixels of a line.
    """
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows * direction[0] + columns * direction[1]) % spacing < width


def swatch(category: Category, style: Style, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 sample of a class for legends: its line for a thing, its fill and hatching for stuff."""
    picture = np.full((*size, 3), 255, np.uint8)
    width = max(2, size[0] // 7)
    if category.isthing:
        middle = size[0] // 2
        on, length = style.line
        period = max(2.0, length * width / on) if on < 1 else 1.0
        coloured = (np.arange(size[1]) % period) < on * period
        picture[middle - width // 2 - 1 : middle - width // 2 + width + 1] = (170, 140, 175)  # so that white shows
        picture[middle - width // 2 : middle - width // 2 + width] = np.where(coloured[:, None], style.color, style.gap)
        return picture
    color = (150, 150, 150) if style.quiet else style.color
    blend(picture, np.ones(size, bool), color, 0.0 if style.quiet else 0.35)
    picture[hatching(size, style.hatch, max(6, size[0] // 3), 1 if style.quiet else 2)] = color
    picture[[0, -1]] = picture[:, [0, -1]] = color
    return picture
