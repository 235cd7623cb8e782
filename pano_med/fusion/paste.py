"""From a box to a window of whole pixels, and mask logits from the box frame into that window.

The rule: a pixel belongs to a box when its *centre* does, near edge included, far edge excluded, so row r is in when
y1 <= r + 0.5 < y2. The M x M grid spans the whole box, also the part that sticks out of the image; a pixel takes
the bilinear value at its centre, with the outermost values continued to the box's edge. For a box on whole pixels
this is `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: Pixels of windows that are pasted together.
PIXELS_AT_ONCE = 1 << 18


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


def pasted(mask_logits: Tensor, spans: Sequence[Window], order: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
    """(index, logits in the pixels of its window) of each instance in `order` whose window is not empty.

    Instances are pasted in groups, because a thousand small ones would otherwise cost more in calls than in
    arithmetic. A group is padded to its largest window and ends before it holds more than `PIXELS_AT_ONCE`, so memory
    grows with the largest box only.

    Args:
        mask_logits: (N, M, M) on the CPU.
        spans: N windows.
        order: indices into both.

    Yields:
        Index and (h, w) logits, by the rule of this module.
    """
    for group in _groups(spans, order):
        part = [spans[i] for i in group]
        columns = _resample(mask_logits[group].mT.contiguous(), [(s.x0, s.x1, s.box[0], s.box[2]) for s in part])
        both = _resample(columns.mT.contiguous(), [(s.y0, s.y1, s.box[1], s.box[3]) for s in part])
        for index, span, logits in zip(group, part, both, strict=True):
            yield index, logits[: span.y1 - span.y0, : span.x1 - span.x0]


def paste(mask_logits: Tensor, window: Window) -> Tensor:
    """The (h, w) logits of one (M, M) mask in the pixels of its window (not empty), by the rule of this module."""
    ((_, logits),) = pasted(mask_logits[None], [window], [0])
    return logits


def _groups(spans: Sequence[Window], order: Iterable[int]) -> Iterator[list[int]]:
    """Runs of `order` whose windows, all padded to the largest of the run, hold at most `PIXELS_AT_ONCE`."""
    group: list[int] = []
    height = width = 0
    for i in order:
        if spans[i].is_empty:
            continue
        h, w = max(height, spans[i].y1 - spans[i].y0), max(width, spans[i].x1 - spans[i].x0)
        if group and (len(group) + 1) * h * w > PIXELS_AT_ONCE:
            yield group
            group, h, w = [], spans[i].y1 - spans[i].y0, spans[i].x1 - spans[i].x0
        group.append(i)
        height, width = h, w
    if group:
        yield group


def _resample(grids: Tensor, lines: list[tuple[int, int, float, float]]) -> Tensor:
    """Linear interpolation of (n, M, C) grids along their first side, which spans near..far, at the centres of pixels.

    Args:
        grids: contiguous.
        lines: start, stop, near and far of each grid.

    Returns:
        (n, largest stop - start, C); rows beyond a grid's own stop mean nothing.
    """
    n, side, width = grids.shape
    start, stop, near, far = np.array(lines).T[..., None]  # each (n, 1)
    pixels = start + np.arange(int((stop - start).max()))
    at = ((pixels + 0.5 - near) * (side / (far - near)) - 0.5).clip(0, side - 1)  # (n, longest)
    low = at.astype(np.int64)
    share = torch.from_numpy(at - low).to(grids.dtype)[..., None]
    first = np.arange(n)[:, None] * side  # where a grid begins in the stack of all rows
    before, after = (torch.from_numpy((first + i).ravel()) for i in (low, (low + 1).clip(max=side - 1)))
    rows = grids.view(n * side, width)
    # Indexing and `lerp`, not a matrix product: those keep their precision under autocast.
    near_end, far_end = (rows.index_select(0, i).view(n, -1, width) for i in (before, after))
    return torch.lerp(near_end, far_end, share)
