"""The legend: what each line and hatching means, and how much of it there is."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pano_med.pictures.styles import styles, swatch
from pano_med.pictures.text import line_height, text_width, write
from pano_med.types import Category, Panoptic, Taxonomy


def legend(what: Panoptic | Taxonomy, width: int = 800, font_size: int = 16) -> np.ndarray:
    """A strip that names the classes: sample, letter, name and, for a map, the count or the part of the area.

    Where things are among them, the note of the taxonomy stands below.

    Args:
        what: a map (its classes with counts; classes that it lacks are left out) or a taxonomy (all classes).
        width: pixels; entries wrap to as many lines as they need.
        font_size: pixels.

    Returns:
        (H, width, 3) uint8, black on white. An entry wider than the strip is cut.
    """
    taxonomy = what if isinstance(what, Taxonomy) else what.taxonomy
    amounts = None if isinstance(what, Taxonomy) else _amounts(what)
    shown = [c for c in taxonomy.all if amounts is None or c.id in amounts]
    texts = [_text(c, "" if amounts is None else amounts[c.id], styles(taxonomy)[c.id].letter) for c in shown]
    strip = _strip(taxonomy, shown, texts, width, font_size)
    return _noted(strip, taxonomy.note, font_size) if any(c.isthing for c in shown) else strip


def _noted(strip: np.ndarray, note: str, size: int) -> np.ndarray:
    """The strip with a sentence below, in as many lines as it needs."""
    lines: list[str] = []
    for word in note.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) + 2 * size <= strip.shape[1]:
            lines[-1] = longer
        else:
            lines.append(word)
    below = np.full((len(lines) * line_height(size), strip.shape[1], 3), 255, np.uint8)
    for number, line in enumerate(lines):
        write(below, line, number * line_height(size), size, size)
    return np.concatenate([strip, below])


def _amounts(panoptic: Panoptic) -> dict[int, str]:
    things = Counter(s.category_id for s in panoptic.things)
    area = Counter[int]()
    for s in panoptic.stuff:
        area[s.category_id] += s.area
    parts = {i: f"{n / panoptic.ids.size:.0%}" if n * 100 >= panoptic.ids.size else "under 1%" for i, n in area.items()}
    return {**parts, **{i: f"{n:,}" for i, n in things.items()}}


def _text(category: Category, amount: str, letter: str) -> str:
    sign = "" if category.isthing else f"{letter} = "
    return f"{sign}{category.name}" + (f": {amount}" if amount else "")


def _strip(taxonomy: Taxonomy, shown: list[Category], texts: list[str], width: int, size: int) -> np.ndarray:
    gap, height = size, line_height(size)
    sample = (size, 2 * size)
    places, row, column = [], 0, gap
    for text in texts:
        needed = sample[1] + gap // 2 + text_width(text, size)
        if column > gap and column + needed + gap > width:
            row, column = row + 1, gap
        places.append((gap // 2 + row * (height + gap // 3), column))
        column += needed + 2 * gap
    picture = np.full((gap + (row + 1) * (height + gap // 3) if texts else gap, width, 3), 255, np.uint8)
    look = styles(taxonomy)
    for category, text, (top, left) in zip(shown, texts, places, strict=True):
        image = swatch(category, look[category.id], sample)[:, : max(0, width - left)]
        picture[top + 2 : top + 2 + sample[0], left : left + sample[1]] = image
        if left + sample[1] + gap // 2 < width:
            write(picture, text, top, left + sample[1] + gap // 2, size)
    return picture
