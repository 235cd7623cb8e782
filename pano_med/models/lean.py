"""The same network for prediction alone: norms folded into convolutions, wide layers computed strip of rows by strip.

A layer of EfficientNet widens its input sixfold before a depthwise convolution and narrows it again right after. At
full size that wide picture is the largest thing in memory and does not fit into a processor's cache; a strip of rows
does, so the same sums need a third of the time.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from timm.layers import Conv2dSame
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pano_med.models.layers import SeparableConv

T = TypeVar("T")
#: Bytes of a strip at its widest.
STRIP_BYTES = 4 << 20


def lean(model: T) -> T:
    """A copy that predicts the same, up to rounding, in less time and memory.

    It can't be trained, and does not follow later changes of the original.

    Args:
        model: a network of `pano_med.models`; anything that is no `torch.nn.Module` is given back as it is.
    """
    if not isinstance(model, nn.Module):
        return model
    slim = copy.deepcopy(model).eval().requires_grad_(False)
    _fold_norms(slim)
    for name, block in list(slim.named_modules()):
        if (strips := _strips(name, block)) is not None:
            slim.set_submodule(name, strips)
    return slim


class Strips(nn.Module):
    """One convolution between layers that look at single pixels, computed some rows at a time on the CPU.

    Args:
        before: layers in front of `conv` that look at single pixels.
        conv: the only one that looks at neighbours.
        after: layers behind it that look at single pixels.
        skip: add the input to the output (of the same shape).
    """

    def __init__(self, before: nn.Module, conv: nn.Conv2d, after: nn.Module, skip: bool = False) -> None:
        super().__init__()
        self.before, self.conv, self.after, self.skip = before, conv, after, skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> what `after(conv(before(x)))` gives."""
        (top, bottom), sides = _padding(self.conv, 0, x.shape[2]), _padding(self.conv, 1, x.shape[3])
        stride, reach = self.conv.stride[0], self.conv.dilation[0] * (self.conv.kernel_size[0] - 1) + 1
        height = (x.shape[2] + top + bottom - reach) // stride + 1
        rows = height
        if x.device.type == "cpu":
            row = len(x) * self.conv.in_channels * x.shape[3] * x.element_size() * stride  # bytes, at the widest
            rows = max(1, STRIP_BYTES // max(1, row))
        parts = []
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            first, last = start * stride - top, (stop - 1) * stride - top + reach  # rows of x, some may lie outside
            wide = self.before(x[:, :, max(first, 0) : last])
            wide = F.pad(wide, (*sides, max(-first, 0), max(last - x.shape[2], 0)))
            conv = self.conv
            part = F.conv2d(wide, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)
            parts.append(self.after(part))
        y = torch.cat(parts, 2) if len(parts) > 1 else parts[0]
        return y.add_(x) if self.skip else y


def _padding(conv: nn.Conv2d, side: int, length: int) -> tuple[int, int]:
    """Pixels of zeros before and after `length` pixels along side 0 (rows) or 1 (columns)."""
    if not isinstance(conv, Conv2dSame):
        return (conv.padding[side],) * 2
    stride, reach = conv.stride[side], conv.dilation[side] * (conv.kernel_size[side] - 1) + 1
    both = max(0, (-(-length // stride) - 1) * stride + reach - length)  # TensorFlow's rule: the odd one goes behind
    return both // 2, both - both // 2


def _strips(name: str, block: nn.Module) -> Strips | None:
    """The block in strips, or None where it is none that we know."""
    if isinstance(block, InvertedResidual):
        before, after = (block.conv_pw, block.bn1), (block.bn2, block.se, block.conv_pwl, block.bn3)
        return Strips(nn.Sequential(*before), block.conv_dw, nn.Sequential(*after), block.has_skip)
    if isinstance(block, DepthwiseSeparableConv):
        after = (block.bn1, block.se, block.conv_pw, block.bn2)
        return Strips(nn.Identity(), block.conv_dw, nn.Sequential(*after), block.has_skip)
    if isinstance(block, SeparableConv) or name.endswith("backbone.stem"):
        first, *rest = block.children()
        return Strips(nn.Identity(), first, nn.Sequential(*rest))
    return None


def _fold_norms(net: nn.Module) -> None:
    """Put every batch norm that follows a convolution into its weights; what stays of it is its activation."""
    conv = ""
    for name, layer in list(net.named_modules()):
        if isinstance(layer, nn.BatchNorm2d) and conv:
            net.set_submodule(conv, fuse_conv_bn_eval(net.get_submodule(conv), layer))
            net.set_submodule(name, getattr(layer, "act", nn.Identity()))  # timm's norms hold their activation
            conv = ""
        elif isinstance(layer, nn.Conv2d):
            conv = name
        elif not isinstance(layer, nn.Identity) and not list(layer.children()):
            conv = ""  # another layer stands between the two
