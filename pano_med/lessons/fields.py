"""Parts of images and maps: the rows that training never saw, windows, several tiles on one glass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pano_med.types import Panoptic

Window = tuple[slice, slice]


class Slide(Protocol):
    """An image with its truth: `demo.Region` and `synthetic.SyntheticTile` are such."""

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8."""

    @property
    def truth(self) -> Panoptic | None:
        """The map of its labels."""

    @property
    def pixel_size_um(self) -> float | None:
        """Side of a pixel."""


@dataclass(frozen=True)
class Field:
    """A part of a slide to be judged.

    Attributes:
        image: (H, W, 3) uint8.
        truth: the labelled nuclei; everything else is void.
        ignore: (H, W) bool, nuclei that the cut divided.
        pixel_size_um: side of a pixel.
    """

    image: np.ndarray
    truth: Panoptic
    ignore: np.ndarray
    pixel_size_um: float


def rows_from(slide: Slide, row: int) -> Field:
    """The rows from `row` on. Nuclei that cross the line stay in the truth and are marked in `ignore`.

    Raises:
        ValueError: the slide has no truth, no pixel size, or no such row.
    """
    if slide.truth is None or slide.pixel_size_um is None or not 0 <= row < slide.image.shape[0]:
        raise ValueError(f"a field needs a truth, a pixel size and a row within the image, got row {row}")
    below = (slice(row, None), slice(None))
    truth = part(slide.truth, below, things=True)
    crossing = np.intersect1d(slide.truth.ids[:row], truth.ids)
    ignore = np.isin(truth.ids, crossing[crossing > 0])
    return Field(slide.image[below].copy(), truth, ignore, slide.pixel_size_um)


def part(panoptic: Panoptic, window: Window, things: bool = False) -> Panoptic:
    """The map in a window; segment ids stay as they are.

    Args:
        panoptic: the map.
        window: rows and columns.
        things: leave stuff out.
    """
    chosen = panoptic.things if things else panoptic.segments
    ids = panoptic.ids[window]
    if things:
        ids = np.where(np.isin(ids, [s.id for s in chosen]), ids, 0)
    return Panoptic.from_ids(
        ids.copy(),
        {s.id: s.category_id for s in chosen},
        panoptic.taxonomy,
        panoptic.pixel_size_um,
        {s.id: s.score for s in chosen if s.score is not None},
    )


def on_one_glass(images: Sequence[np.ndarray], gap: int = 32) -> tuple[np.ndarray, list[Window]]:
    """Images of one size in a row on white glass, so that a network is asked once; and where each lies.

    Args:
        images: (H, W, 3) uint8 each.
        gap: white columns between them.
    """
    height, width = images[0].shape[:2]
    sheet = np.full((height, len(images) * (width + gap) - gap, 3), 245, np.uint8)
    windows = [(slice(0, height), slice(left, left + width)) for left in range(0, sheet.shape[1], width + gap)]
    for image, window in zip(images, windows, strict=True):
        sheet[window] = image
    return sheet, windows


def types_table(pairs: Sequence[tuple[int, int]], truth: Panoptic, found: Panoptic) -> np.ndarray:
    """(K, K) int: nuclei labelled as kind i (row) that are called kind j (column), kinds in the taxonomy's order.

    Args:
        pairs: matched (truth, found) segment ids, `Separation.matched`.
        truth: the labels.
        found: the map that is judged, of the same taxonomy.
    """
    place = {c.id: i for i, c in enumerate(truth.taxonomy.things)}
    kind = [{s.id: place[s.category_id] for s in p.things if s.category_id in place} for p in (truth, found)]
    table = np.zeros((len(place), len(place)), int)
    for t, p in pairs:
        if t in kind[0] and p in kind[1]:
            table[kind[0][t], kind[1][p]] += 1
    return table


def overlapping_boxes(boxes: np.ndarray) -> int:
    """Pairs of boxes that share pixels; boxes (N, 4) are x0, y0, x1, y1 with the far edges exclusive."""
    one, other = boxes[:, None], boxes[None]
    shared = (np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])).clip(0).prod(-1)
    return int(np.count_nonzero(np.triu(shared, 1)))
