"""The slide of lesson 08: two round cores of tissue on glass, as in a tissue microarray, written as a pyramid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from pano_med.types import HE_CORE, Panoptic

#: Colour of the glass and micrometres per pixel of level 0.
GLASS, MPP = (244, 243, 244), 0.5
_EDGE = 260


@dataclass(frozen=True)
class Core:
    """A punch of tissue on the slide.

    Attributes:
        name: what it is.
        centre: (row, column) in level-0 pixels.
        radius: in level-0 pixels.
    """

    name: str
    centre: tuple[int, int]
    radius: int


def microarray(images: Sequence[tuple[str, np.ndarray]]) -> tuple[np.ndarray, list[Core]]:
    """Cut a disc out of each image and lay them side by side on glass.

    Args:
        images: name and (H, W, 3) uint8 of each, all of one pixel size.

    Returns:
        (H, W, 3) uint8 and where each core lies.
    """
    radii = [min(image.shape[:2]) // 2 - 8 for _, image in images]
    height = 2 * max(radii) + 2 * _EDGE
    canvas = np.full((height, sum(2 * r + _EDGE for r in radii) + _EDGE, 3), GLASS, np.uint8)
    cores, left = [], _EDGE
    for (name, image), radius in zip(images, radii, strict=True):
        top = (height - 2 * radius) // 2
        middle = [n // 2 for n in image.shape[:2]]
        part = image[middle[0] - radius : middle[0] + radius, middle[1] - radius : middle[1] + radius]
        rows, columns = np.ogrid[-radius:radius, -radius:radius]
        inside = np.hypot(rows + 0.5, columns + 0.5) < radius
        canvas[top : top + 2 * radius, left : left + 2 * radius][inside] = part[inside]
        cores.append(Core(name, (top + radius, left + radius), radius))
        left += 2 * radius + _EDGE
    return canvas, cores


def write_slide(path: str | Path, image: np.ndarray, mpp: float = MPP, levels: int = 3) -> Path:
    """Write an image as scanners do: small tiles, and each level half as large as the one before.

    Args:
        path: ends with .tif; the pixel size stands in the file.
        image: (H, W, 3) uint8.
        mpp: micrometres per pixel.
        levels: of the pyramid.
    """
    with tifffile.TiffWriter(path) as file:
        for level in range(levels):
            density = (1e4 / (mpp * 2**level),) * 2
            file.write(image, tile=(256, 256), photometric="rgb", compression="zlib", metadata=None,
                       subfiletype=int(level > 0), resolution=density, resolutionunit="CENTIMETER")  # fmt: skip
            h, w = (n // 2 for n in image.shape[:2])
            image = image[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).mean((1, 3)).round().astype(np.uint8)
    return Path(path)


def side_by_side(image: np.ndarray, segment: Callable[[np.ndarray], Panoptic], side: int) -> Panoptic:
    """Segment tiles that do not overlap, each by itself, and lay the nuclei next to each other: how not to do it.

    Args:
        image: (H, W, 3) uint8.
        segment: gives the map of one tile.
        side: of a tile in pixels.
    """
    ids, classes = np.zeros(image.shape[:2], np.int32), {}
    for top in range(0, image.shape[0], side):
        for left in range(0, image.shape[1], side):
            window = slice(top, top + side), slice(left, left + side)
            found = segment(np.ascontiguousarray(image[window]))
            number = {s.id: len(classes) + i for i, s in enumerate(found.things, 1)}
            classes |= {number[s.id]: s.category_id for s in found.things}
            ids[window] = found.lookup(number)
    return Panoptic.from_ids(ids, classes, HE_CORE)


def on_lines(nuclei: Panoptic, side: int) -> int:
    """How many nuclei end exactly at a line between two tiles of this side."""
    ids, seen = nuclei.ids, set()
    for axis in (0, 1):
        for line in range(side, ids.shape[axis], side):
            a, b = (np.take(ids, i, axis) for i in (line - 1, line))
            other = a != b
            seen |= {*a[other].tolist(), *b[other].tolist()}
    return len(seen - {0})
