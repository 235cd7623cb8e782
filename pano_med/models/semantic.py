"""The semantic head: large-scale features, dense prediction cells, mismatch correction."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pano_med.models.layers import PointwiseConv, SeparableConv, resize_like


class LSFE(nn.Sequential):
    """Large Scale Feature Extractor for p4 and p8: two separable convolutions keep fine detail cheaply."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(SeparableConv(inputs, outputs), SeparableConv(outputs, outputs))


class DPC(nn.Module):
    """Dense Prediction Cell for p16 and p32: five dilated separable convolutions gather long-range context.

    The (row, column) dilations come from the architecture search of Chen et al. 2018; the graph is
    a -> b, c, d and d -> e, all five concatenated.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.a = SeparableConv(inputs, inputs, (1, 6))
        self.b = SeparableConv(inputs, inputs, (1, 1))
        self.c = SeparableConv(inputs, inputs, (6, 21))
        self.d = SeparableConv(inputs, inputs, (18, 15))
        self.e = SeparableConv(inputs, inputs, (6, 3))
        self.project = PointwiseConv(5 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        a = self.a(x)
        d = self.d(a)
        return self.project(torch.cat([a, self.b(a), self.c(a), d, self.e(d)], dim=1))  # (B, 5 inputs, h, w)


class MC(nn.Sequential):
    """Mismatch Correction: two separable convolutions before features move to the next finer scale."""

    def __init__(self, channels: int) -> None:
        super().__init__(SeparableConv(channels, channels), SeparableConv(channels, channels))


class SemanticHead(nn.Module):
    """Semantic head of EfficientPS (Mohan & Valada 2021, section 3.3, figure 5).

    Args:
        inputs: channels of each pyramid level.
        classes: semantic channels, stuff and things together.
        width: channels inside (128 in the paper).
    """

    def __init__(self, inputs: int, classes: int, width: int = 128) -> None:
        super().__init__()
        self.lsfe4, self.lsfe8 = LSFE(inputs, width), LSFE(inputs, width)
        self.dpc16, self.dpc32 = DPC(inputs, width), DPC(inputs, width)
        self.mc16, self.mc8 = MC(width), MC(width)
        self.logits = nn.Conv2d(4 * width, classes, 1)

    def forward(self, p4: Tensor, p8: Tensor, p16: Tensor, p32: Tensor, size: tuple[int, int]) -> Tensor:
        """Four pyramid levels -> (B, classes, *size) logits."""
        s32, s16 = self.dpc32(p32), self.dpc16(p16)
        s8 = self.lsfe8(p8)
        s8 = s8 + resize_like(self.mc16(s16 + resize_like(s32, s16)), s8)
        s4, m8 = self.lsfe4(p4), self.mc8(s8)  # the paper's feature at this scale is s4 + enlarged m8
        # It concatenates the four at the scale of s4 and scores them with one 1 x 1 convolution. Scoring each first and
        # adding the enlarged scores is the same sum, with K instead of 4 width channels to enlarge.
        w4, w8, w16, w32 = self.logits.weight.split(s4.shape[1], dim=1)
        at8 = F.conv2d(m8, w4) + F.conv2d(s8, w8)  # (B, K, h, w) each
        coarse = (at8, F.conv2d(s16, w16), F.conv2d(s32, w32))
        logits = sum((resize_like(x, s4) for x in coarse), F.conv2d(s4, w4)) + self.logits.bias.view(1, -1, 1, 1)
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
