"""Geometric transforms that MONAI has not: crop and scale in one cheap step, truth and padding included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.transforms import Randomizable, Transform
from torch import Tensor

from pano_med.types import Taxonomy, check_pixel_size


def unit_image(image: Tensor) -> Tensor:
    """(3, H, W) uint8 0..255 or float 0..1 -> float32 0..1.

    Raises:
        TypeError: another kind of number.
        ValueError: floats outside 0..1.
    """
    if image.dtype == torch.uint8:
        return image.float().div_(255)
    if not image.is_floating_point():
        raise TypeError(f"an image must hold uint8 0..255 or floats 0..1, got {image.dtype}")
    if image.numel() and not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"a float image must lie in 0..1, got {float(image.min()):g}..{float(image.max()):g}")
    return image.float()


def window(data: Mapping[str, Any], box: tuple[int, int, int, int], size: tuple[int, int]) -> dict[str, Any]:
    """Cut a window out of image, ids and ignore and resize it; what lies outside the image is black and ignored.

    The image is resized bilinearly with antialiasing; ids and ignore take the source pixel under the middle of each
    new pixel, so no new id appears. `pixel_size_um` follows.

    Args:
        data: a dictionary as `to_dict` makes it.
        box: top, left, height, width in pixels; may reach over the border.
        size: (H, W) of the result.
    """
    top, left, height, width = box
    rows, cols = data["ids"].shape[-2:]
    # left, right, top, bottom, as torch counts them
    over = (-left, left + width - cols, -top, top + height - rows)
    pad = [min(max(n, 0), extent) for n, extent in zip(over, (width, width, height, height), strict=True)]
    inside = (..., slice(max(top, 0), max(top + height, 0)), slice(max(left, 0), max(left + width, 0)))
    near = [((torch.arange(n) + 0.5) * (old / n)).long() for n, old in zip(size, (height, width), strict=True)]

    def nearest(x: Tensor, fill: bool) -> Tensor:
        return F.pad(x[inside], pad, value=fill)[..., near[0][:, None], near[1]]

    image = F.pad(unit_image(data["image"][inside]), pad)[None]
    if (height, width) != size:
        image = F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False).clamp_(0, 1)
    scale = height / size[0]
    return {
        **data,
        "image": image[0],
        "ids": nearest(data["ids"], False),
        "ignore": nearest(data["ignore"], True),
        "pixel_size_um": None if data["pixel_size_um"] is None else data["pixel_size_um"] * scale,
    }


#: A square that is turned by 45 degrees takes sqrt(2) of its side.
_ROOM = 1.42


def turned(data: Mapping[str, Any], angle: float, stretch: float, size: tuple[int, int]) -> dict[str, Any]:
    """The middle of a crop at any angle; what lies outside is black and ignored, as in `window`.

    Args:
        data: a dictionary as `window` gives it.
        angle: in radians.
        stretch: things become this much flatter and, across, this much wider.
        size: (H, W) of the result.
    """
    half = [torch.arange(n) + 0.5 - n / 2 for n in size]
    y, x = torch.meshgrid(half[0] * stretch, half[1] / stretch, indexing="ij")
    c, s = float(np.cos(angle)), float(np.sin(angle))
    rows, cols = data["ids"].shape[-2:]
    column, row = c * x - s * y + cols / 2, s * x + c * y + rows / 2  # places in the crop, in pixels
    outside = (row < 0) | (row >= rows) | (column < 0) | (column >= cols)
    at = row.long().clamp(0, rows - 1), column.long().clamp(0, cols - 1)
    grid = torch.stack([column * 2 / cols - 1, row * 2 / rows - 1], -1)[None]
    image = F.grid_sample(data["image"][None], grid, align_corners=False)[0]
    return {
        **data,
        "image": image.clamp_(0, 1),
        "ids": data["ids"][..., at[0], at[1]].masked_fill(outside, 0),
        "ignore": data["ignore"][..., at[0], at[1]] | outside,
    }


class RandScaleCropd(Randomizable, Transform):
    """A random window at a random scale around the model's, as one crop and one resize.

    Args:
        size: side of the result in pixels, or (H, W).
        pixel_size_um: pixel size of the result at scale 1; None, or a sample of unknown pixel size, keeps its scale.
        jitter: smallest and largest scale, drawn evenly on a log axis; 1.4 = things look 1.4 times as large.
        on_thing: probability that the window is laid around a random thing, so that few crops are empty.
        turn: probability that the window lies at any angle, stretched a little; MONAI's own warps know no ids.
        stretch: largest factor between height and width of a turned window.
        by_class: a window on a thing first draws one of the image's thing classes, each equally often, then a thing of
            it; else every thing is equally likely, and rare classes rarely come.

    Raises:
        ValueError: a size below 1, a jitter that is not 0 < low <= high, a probability outside 0..1, a stretch below 1.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        pixel_size_um: float | None = None,
        jitter: tuple[float, float] = (0.7, 1.4),
        on_thing: float = 0.5,
        turn: float = 0.0,
        stretch: float = 1.2,
        by_class: bool = False,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.pixel_size_um, self.jitter, self.on_thing = pixel_size_um, jitter, on_thing
        self.turn, self.stretch, self.by_class = turn, stretch, by_class
        check_pixel_size(pixel_size_um)
        if min(self.size) < 1:
            raise ValueError(f"a crop must be at least 1 px wide and high, got {self.size}")
        if not 0 < jitter[0] <= jitter[1]:
            raise ValueError(f"jitter must be two scales, 0 < low <= high, got {jitter}")
        if not 0 <= on_thing <= 1:
            raise ValueError(f"on_thing is a probability from 0 to 1, got {on_thing}")
        if not 0 <= turn <= 1:
            raise ValueError(f"turn is a probability from 0 to 1, got {turn}")
        if stretch < 1:
            raise ValueError(f"stretch is a factor of at least 1, got {stretch}")

    def randomize(self, data: Mapping[str, Any], room: float = 1.0) -> tuple[int, int, int, int]:
        """Draw a window, `room` times as large as the result: top, left, height, width in pixels of the source."""
        zoom = float(np.exp(self.R.uniform(*np.log(self.jitter))))
        if self.pixel_size_um and data["pixel_size_um"]:
            zoom *= data["pixel_size_um"] / self.pixel_size_um
        extent = [max(1, round(n * room / zoom)) for n in self.size]
        middle = self._thing(data) if self.R.uniform() < self.on_thing else None
        middle = middle or (None, None)
        top, left = (self._corner(*axis) for axis in zip(data["ids"].shape[-2:], extent, middle, strict=True))
        return top, left, extent[0], extent[1]

    def _corner(self, length: int, extent: int, middle: int | None) -> int:
        """Start of a window on one axis; inside the image where it fits, else over both its borders."""
        low, high = sorted((0, length - extent))
        if middle is None:
            return int(self.R.randint(low, high + 1))
        # not always in the very middle of the crop: nuclei must be found anywhere
        return int(np.clip(middle - round(extent * self.R.uniform(0.25, 0.75)), low, high))

    def _thing(self, data: Mapping[str, Any]) -> tuple[int, int] | None:
        """A pixel (row, column) of a random thing, or None without things."""
        taxonomy, categories = data["taxonomy"], data["categories"]
        thing = {c.id for c in taxonomy.all if c.isthing} if taxonomy else set()
        things = sorted(i for i, c in categories.items() if c != Taxonomy.VOID and c in thing)
        if not things:
            return None
        if self.by_class:
            kinds = sorted({categories[i] for i in things})
            kind = kinds[self.R.randint(len(kinds))]
            things = [i for i in things if categories[i] == kind]
        ids = data["ids"][0].numpy()
        pixel = int(np.argmax(ids == things[self.R.randint(len(things))]))  # its first one: one pass, no list of pixels
        return pixel // ids.shape[1], pixel % ids.shape[1]

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if not self.turn or self.R.uniform() >= self.turn:
            return window(data, self.randomize(data), self.size)
        angle, factor = self.R.uniform(0, 2 * np.pi), np.exp(self.R.uniform(-0.5, 0.5) * np.log(self.stretch))
        wide = window(data, self.randomize(data, _ROOM), tuple(round(n * _ROOM) for n in self.size))
        return turned(wide, angle, factor, self.size)


class ScaleTod(Transform):
    """The whole image at one pixel size, without chance; a sample of unknown pixel size keeps its scale."""

    def __init__(self, pixel_size_um: float | None = None) -> None:
        check_pixel_size(pixel_size_um)
        self.pixel_size_um = pixel_size_um

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        rows, cols = data["ids"].shape[-2:]
        known = self.pixel_size_um and data["pixel_size_um"]
        zoom = data["pixel_size_um"] / self.pixel_size_um if known else 1.0
        return window(data, (0, 0, rows, cols), (max(1, round(rows * zoom)), max(1, round(cols * zoom))))
