"""RoIAlign for the CPU: each cell of a region is a weighted sum of feature vectors, which one fast kernel adds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import MultiScaleRoIAlign

#: Regions whose samples are listed together; bounds the memory of the list.
REGIONS_AT_ONCE = 128


class BagAlign(nn.Module):
    """What torchvision's `MultiScaleRoIAlign` computes, read in whole feature vectors.

    torchvision walks through one channel after the other, first bringing the features into that order. In memory all
    channels of a pixel lie side by side (channels last), so a bilinear sample is a sum of four vectors; `embedding_bag`
    adds the vectors of a cell's samples in one go.

    Args:
        align: with scales and level mapper set; used as it is on other devices.
    """

    def __init__(self, align: MultiScaleRoIAlign) -> None:
        super().__init__()
        self.align = align

    def forward(self, features: dict[str, Tensor], boxes: list[Tensor], sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Levels (B, C, h, w) by name, boxes (R, 4) per image, image sizes -> (all R, C, cells, cells)."""
        levels = [features[name] for name in self.align.featmap_names]
        if levels[0].device.type != "cpu":
            return self.align(features, boxes, sizes)
        regions = torch.cat(boxes)
        image = torch.repeat_interleave(torch.tensor([len(b) for b in boxes]))  # of each region
        level = self.align.map_levels(boxes)
        side, channels = self.align.output_size[0], levels[0].shape[1]
        out = levels[0].new_empty(len(regions), side, side, channels)
        for number, (plane, scale) in enumerate(zip(levels, self.align.scales, strict=True)):
            for part in torch.where(level == number)[0].split(REGIONS_AT_ONCE):
                if len(part):
                    out[part] = self._pool(plane, regions[part] * scale, image[part])
        return out.permute(0, 3, 1, 2)

    def _pool(self, plane: Tensor, regions: Tensor, image: Tensor) -> Tensor:
        """(B, C, h, w) and regions (R, 4) in its pixels -> (R, cells, cells, C)."""
        batch, channels, h, w = plane.shape
        rows, row_shares = self._samples(regions[:, 1], regions[:, 3], h)
        columns, column_shares = self._samples(regions[:, 0], regions[:, 2], w)
        rows = rows + (image * h)[:, None, None]  # of the pixels of all images, one below the other
        index = (rows[:, :, None, :, None] * w + columns[:, None, :, None, :]).flatten(3)  # (R, cells, cells, 16)
        share = (row_shares[:, :, None, :, None] * column_shares[:, None, :, None, :]).flatten(3).to(plane)
        vectors = plane.permute(0, 2, 3, 1).reshape(batch * h * w, channels)  # no copy of channels-last features
        bags = F.embedding_bag(index.flatten(0, 2), vectors, mode="sum", per_sample_weights=share.flatten(0, 2))
        return bags.view(*index.shape[:3], channels)

    def _samples(self, low: Tensor, high: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Along one side: (R, cells, 2 x samples) pixels that a cell reads and the share of each in its mean."""
        cells, samples = self.align.output_size[0], self.align.sampling_ratio
        size = (high - low).clamp(min=1.0) / cells
        steps = (torch.arange(cells * samples, dtype=low.dtype) + 0.5) / samples
        at = low[:, None] + size[:, None] * steps  # (R, cells x samples)
        inside = (at >= -1) & (at <= length)  # torchvision's rule: further out a sample is 0
        at = at.clamp(0, length - 1)
        before = at.floor()
        after = (before + 1).clamp(max=length - 1)
        far = (at - before) * inside / samples
        near = inside / samples - far
        pixels, shares = torch.stack([before.long(), after.long()], -1), torch.stack([near, far], -1)
        return pixels.view(len(low), cells, -1), shares.view(len(low), cells, -1)
