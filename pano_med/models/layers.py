"""The two building blocks that every part of EfficientPS shares."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

#: The paper's activation (inside its in-place activated batch norm): leaky ReLU with slope 0.01.
LEAKY_SLOPE = 0.01
Leaky = partial(nn.LeakyReLU, negative_slope=LEAKY_SLOPE, inplace=True)


class NormAct(nn.Sequential):
    """Batch norm, then leaky ReLU: what the paper's iABN computes, without its compiled kernel."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.BatchNorm2d(channels), Leaky())


class PointwiseConv(nn.Sequential):
    """1 x 1 convolution without bias, norm, activation: (B, in, h, w) -> (B, out, h, w)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 1, bias=False), NormAct(outputs))


class SeparableConv(nn.Sequential):
    """3 x 3 depthwise, 1 x 1 pointwise, one norm and activation: (B, in, h, w) -> (B, out, h, w).

    Args:
        inputs: channels in.
        outputs: channels out.
        dilation: (row, column) dilation of the depthwise half; padding equals it, so the size stays.
    """

    def __init__(self, inputs: int, outputs: int, dilation: tuple[int, int] = (1, 1)) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            NormAct(outputs),
        )


def resize_like(x: Tensor, reference: Tensor, mode: str = "bilinear") -> Tensor:
    """`x` resized to the height and width of `reference`, so that odd sizes always meet."""
    size = reference.shape[-2:]
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode=mode, align_corners=False if mode == "bilinear" else None)
