"""The two-way feature pyramid: one path down, one path up, added scale by scale."""

from __future__ import annotations

from torch import Tensor, nn

from pano_med.models.layers import PointwiseConv, SeparableConv, resize_like


class TwoWayFPN(nn.Module):
    """Two-way FPN of EfficientPS (Mohan & Valada 2021, section 3.2, figure 4).

    An ordinary FPN hands coarse context down to fine scales only. Here a second, independent path hands fine detail
    up as well, and each output is a separable convolution over the sum of both.

    Args:
        inputs: channels of c4, c8, c16, c32.
        width: channels of each output (256 in the paper).
    """

    def __init__(self, inputs: tuple[int, ...], width: int = 256) -> None:
        super().__init__()
        self.lateral_down = nn.ModuleList(PointwiseConv(c, width) for c in inputs)
        self.lateral_up = nn.ModuleList(PointwiseConv(c, width) for c in inputs)
        self.output = nn.ModuleList(SeparableConv(width, width) for _ in inputs)
        self.width = width

    def forward(self, c4: Tensor, c8: Tensor, c16: Tensor, c32: Tensor) -> tuple[Tensor, ...]:
        """Four endpoints -> p4, p8, p16, p32, each (B, width, H/stride, W/stride)."""
        ends = (c4, c8, c16, c32)
        down = [lateral(c) for lateral, c in zip(self.lateral_down, ends, strict=True)]
        for i in (2, 1, 0):
            down[i] = down[i] + resize_like(down[i + 1], down[i], "nearest")
        up = [lateral(c) for lateral, c in zip(self.lateral_up, ends, strict=True)]
        for i in (1, 2, 3):  # nearest, as in the official code: no strided convolution, no pooling
            up[i] = up[i] + resize_like(up[i - 1], up[i], "nearest")
        # Each pair leaves its list when it is joined: the finest is most of the pyramid's memory.
        return tuple(conv(down.pop(0) + up.pop(0)) for conv in self.output)
