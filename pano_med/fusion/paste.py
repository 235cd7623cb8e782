"""From a box to a window of whole pixels, and mask logits from the box frame into that window.

The rule: a pixel belongs to a box when its *centre* does, near edge included, far edge excluded, so row r is in when
y1 <= r + 0.5 < y2. The M x M grid spans the whole box, also the part that sticks out of the image; a pixel takes
the bilinear value at its centre, with the outermost values continued to the box's edge. For a box on whole pixels
this is `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """The pixels of an image whose centres lie in a box: rows y0..y1, columns x0..x1, far ends excluded.

    Attributes:
        box: the float box (x1, y1, x2, y2) that the window was made from.
    """

    y0: int
    x0: int
    y1: int
    x1: int
    box: tuple[float, float, float, float]

    @property
    def slices(self) -> tuple[slice, slice]:
        """What cuts the window out of an (H, W) array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def is_empty(self) -> bool:
        """True if no pixel centre of the image lies in the box."""
        return self.y1 <= self.y0 or self.x1 <= self.x0


def windows(boxes: Tensor, size: tuple[int, int]) -> list[Window]:
    """The window of each box.

    Args:
        boxes: (N, 4) finite xyxy; they may stick out of the image or be degenerate.
        size: (H, W) of the image.
    """
    xyxy = boxes.detach().to("cpu", torch.float64).numpy()
    height, width = size
    ends = np.ceil(xyxy - 0.5).clip(0, [width, height, width, height]).astype(np.int64).tolist()
    return [Window(y0, x0, y1, x1, tuple(b)) for (x0, y0, x1, y1), b in zip(ends, xyxy.tolist(), strict=True)]


def paste(mask_logits: Tensor, window: Window) -> Tensor:
    """The (h, w) logits of one (M, M) mask in the pixels of its window (not empty), by the rule of this module."""
    x1, y1, x2, y2 = window.box
    rows = _resample(mask_logits, 0, window.y0, window.y1, y1, y2)
    return _resample(rows, 1, window.x0, window.x1, x1, x2)


def _resample(grid: Tensor, dim: int, start: int, stop: int, near: float, far: float) -> Tensor:
    """Linear interpolation along one dimension of a grid that spans near..far, at the centres of pixels start..stop.

    Indexing and `lerp`, not a matrix product: those keep their precision under autocast and TF32.
    """
    side = grid.shape[dim]
    at = ((np.arange(start, stop) + 0.5 - near) * (side / (far - near)) - 0.5).clip(0, side - 1)
    low = at.astype(np.int64)  # in NumPy, which is fast when small
    before, after = (torch.from_numpy(i).to(grid.device) for i in (low, (low + 1).clip(max=side - 1)))
    share = torch.from_numpy(at - low).to(grid)
    share = share[:, None] if dim == 0 else share
    return torch.lerp(grid.index_select(dim, before), grid.index_select(dim, after), share)
