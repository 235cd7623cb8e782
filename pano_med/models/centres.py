"""The centre cue: every pixel of a thing points at the middle of its thing, and pixels that agree are a region.

Boxes fail where things crowd: of two long neighbours each box holds both. The cue is bottom-up, as in Panoptic-DeepLab
(Cheng et al. 2020): a small head beside the semantic one gives each pixel how close it lies to the middle of its thing
and the way there. The regions it finds become additional proposals of the instance head, so everything after it, the
fusion above all, stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn import functional as F

from pano_med.models.layers import SeparableConv

#: Pixels per unit of an offset, so that the head's outputs are near 1.
UNIT = 16.0
#: Pixels that the count of regions belongs to.
REFERENCE_PX = 256 * 256
#: Pixels are grouped on every second row and column: four times cheaper, and a proposal need not be exact.
STEP = 2


@dataclass(frozen=True)
class CentreRules:
    """Numbers of the grouping.

    Attributes:
        peak: least closeness (0..1) of a middle.
        reach: a middle is the closest pixel within so many rows and columns.
        thing: least probability of being a thing at all.
        min_pixels: smaller regions are dropped.
        most: regions kept for `REFERENCE_PX` pixels, those with the closest middles; larger images keep more.
    """

    peak: float = 0.3
    reach: int = 4
    thing: float = 0.5
    min_pixels: int = 24
    most: int = 160


class CentreHead(nn.Sequential):
    """p4 (B, inputs, H/4, W/4) -> (B, 3, H/4, W/4): logit of closeness, rows and columns to the middle in `UNIT` px."""

    def __init__(self, inputs: int, width: int = 64) -> None:
        super().__init__(
            SeparableConv(inputs, width), SeparableConv(width, width), SeparableConv(width, width),
            nn.Conv2d(width, 3, 1),
        )  # fmt: skip


def centre_targets(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (N, H, W) bool -> closeness (H, W) 0..1, offset (2, H, W) in pixels to the middle, thing (H, W) bool.

    Closeness falls from 1 in the middle to 0 at the radius of a circle of the thing's area, as far as it reaches.
    """
    n, h, w = masks.shape
    # Not a matrix product: autocast would make it bfloat16, whose whole numbers end at 256.
    covered = masks.flatten(1).byte()
    nobody = torch.zeros(h * w, dtype=torch.int64, device=masks.device)
    index = (covered.argmax(0) + 1) * covered.any(0) if n else nobody
    y, x = torch.meshgrid(torch.arange(h, device=masks.device), torch.arange(w, device=masks.device), indexing="ij")
    place = torch.stack([y, x], -1).flatten(0, 1).float()  # (HW, 2)
    area = torch.zeros(n + 1, device=masks.device).index_add_(0, index, torch.ones_like(place[:, 0]))
    middle = torch.zeros(n + 1, 2, device=masks.device).index_add_(0, index, place) / area.clamp(min=1)[:, None]
    offset = middle[index] - place
    radius = (area[index] / torch.pi).sqrt().clamp(min=1)
    closeness = (1 - offset.norm(dim=1) / radius).clamp(min=0)
    thing = index > 0
    return (closeness * thing).view(h, w), offset.T.reshape(2, h, w), thing.view(h, w)


def centre_loss(outputs: Tensor, targets: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Mean over images of cross-entropy of the closeness and smooth L1 of the offsets.

    Args:
        outputs: (B, 3, H, W) at the size of the images, of images whose things are known.
        targets: as in `EfficientPS.forward`.
    """
    losses = []
    for output, target in zip(outputs.float(), targets, strict=True):
        h, w = target["ignore"].shape
        output, clear = output[:, :h, :w], ~target["ignore"]
        closeness, offset, thing = centre_targets(target["masks"])
        thing = thing & clear
        loss = F.binary_cross_entropy_with_logits(output[0], closeness, reduction="none")
        loss = (loss * clear).sum() / clear.sum().clamp(min=1)
        if thing.any():
            loss = loss + F.smooth_l1_loss(output[1:, thing], offset[:, thing] / UNIT, beta=0.1)
        losses.append(loss)
    return torch.stack(losses).mean()


def regions(outputs: Tensor, thing: Tensor, rules: CentreRules) -> Tensor:
    """Group the pixels of one image by the middle they point at.

    Args:
        outputs: (3, H, W) of the head at the size of the image.
        thing: (H, W) probability of being a thing.
        rules: its numbers.

    Returns:
        (N, 4) float32 boxes xyxy of the regions, on multiples of `STEP` pixels.
    """
    outputs, thing = outputs[:, ::STEP, ::STEP].float(), thing[::STEP, ::STEP]
    closeness, inside = outputs[0].sigmoid(), thing > rules.thing
    reach = max(1, rules.reach // STEP)
    highest = F.max_pool2d(closeness[None], 2 * reach + 1, 1, reach)[0]
    peaks = (closeness == highest) & (closeness > rules.peak) & inside
    count = int(peaks.sum())
    y, x = torch.where(inside)
    if not count:
        return outputs.new_zeros((0, 4))
    number = torch.zeros_like(inside, dtype=torch.int64)
    number[peaks] = torch.arange(count, device=number.device)
    # The closest middle of every pixel, from one transform: a table to look up where the offsets end.
    near = distance_transform_edt(~peaks.cpu().numpy(), return_distances=False, return_indices=True)
    nearest = number[tuple(torch.from_numpy(i).to(number.device).long() for i in near)]
    way = (outputs[1:, y, x] * (UNIT / STEP)).round().long()
    h, w = thing.shape
    mine = nearest[(y + way[0]).clamp(0, h - 1), (x + way[1]).clamp(0, w - 1)]
    boxes = outputs.new_zeros((count, 4))
    for column, (edge, end) in enumerate(((x, "amin"), (y, "amin"), (x + 1, "amax"), (y + 1, "amax"))):
        boxes[:, column].scatter_reduce_(0, mine, edge.float(), end, include_self=False)
    large = torch.bincount(mine, minlength=count) * STEP**2 >= rules.min_pixels
    most = int(rules.most * max(1.0, h * w * STEP**2 / REFERENCE_PX))
    best = closeness[peaks].masked_fill(~large, 0).topk(min(most, int(large.sum()))).indices.sort().values
    return boxes[best] * STEP
