"""What EfficientPS grew from, a one-way pyramid and a plain semantic head: to measure what its own parts are worth."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pano_med.models.fpn import TwoWayFPN
from pano_med.models.layers import PointwiseConv, SeparableConv, resize_like
from pano_med.models.semantic import SemanticHead


class OneWayFPN(nn.Module):
    """Feature pyramid with one path, from coarse to fine (Lin et al. 2017).

    It is made of `TwoWayFPN`'s blocks, so that the second path is all that sets the two apart (Lin et al. have plain
    3 x 3 convolutions and no norms).

    Args:
        inputs: channels of c4, c8, c16, c32.
        width: channels of each output.
    """

    def __init__(self, inputs: tuple[int, ...], width: int = 256) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(PointwiseConv(c, width) for c in inputs)
        self.output = nn.ModuleList(SeparableConv(width, width) for _ in inputs)
        self.width = width

    def forward(self, c4: Tensor, c8: Tensor, c16: Tensor, c32: Tensor) -> tuple[Tensor, ...]:
        """Four endpoints -> p4, p8, p16, p32, each (B, width, H/stride, W/stride)."""
        down = [lateral(c) for lateral, c in zip(self.lateral, (c4, c8, c16, c32), strict=True)]
        for i in (2, 1, 0):
            down[i] = down[i] + resize_like(down[i + 1], down[i], "nearest")
        return tuple(conv(down.pop(0)) for conv in self.output)


class PlainSemanticHead(nn.Module):
    """The semantic branch of Panoptic FPN (Kirillov et al. 2019, "Panoptic Feature Pyramid Networks", section 3.1).

    Each level takes as many steps of convolution and enlargement by 2 as it needs to reach stride 4; the four are
    added and scored by one 1 x 1 convolution. No dilated convolutions for context, no mismatch correction. As in
    `SemanticHead` the convolutions are separable with batch norm (the paper's are plain with group norm), so that the
    plan of the head is all that sets the two apart.

    Args:
        inputs: channels of each pyramid level.
        classes: semantic channels, stuff and things together.
        width: channels inside.
    """

    def __init__(self, inputs: int, classes: int, width: int = 128) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.ModuleList(SeparableConv(inputs if i == 0 else width, width) for i in range(max(1, doublings)))
            for doublings in range(4)
        )
        self.logits = nn.Conv2d(width, classes, 1)

    def forward(self, p4: Tensor, p8: Tensor, p16: Tensor, p32: Tensor, size: tuple[int, int]) -> Tensor:
        """Four pyramid levels -> (B, classes, *size) logits."""
        pyramid = (p4, p8, p16, p32)
        total = self.levels[0][0](p4)
        for level in (1, 2, 3):
            x = pyramid[level]
            for conv, finer in zip(self.levels[level], pyramid[level - 1 :: -1], strict=True):
                x = resize_like(conv(x), finer)
            total = total + x
        return F.interpolate(self.logits(total), size=size, mode="bilinear", align_corners=False)


#: `pyramid` and `semantic` of `EfficientPS.small` -> class.
PYRAMIDS = {"two-way": TwoWayFPN, "one-way": OneWayFPN}
SEMANTIC_HEADS = {"wide context": SemanticHead, "plain": PlainSemanticHead}
