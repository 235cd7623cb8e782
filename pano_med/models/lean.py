"""The same network for prediction alone, in less time and memory: `lean(model)` gives a copy with three changes.

1. Batch norms are folded into the convolutions in front of them.
2. An inverted residual widens its input sixfold before a depthwise convolution and narrows it again right after. At
   full size that wide picture is the largest thing in memory and no processor's cache holds it; a strip of rows fits.
3. RoIAlign reads its samples as weighted sums of whole feature vectors, see `BagAlign`.

Everything else, and every result up to rounding, stays as the network says.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from timm.layers import Conv2dSame
from timm.models._efficientnet_blocks import InvertedResidual
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops import MultiScaleRoIAlign

from pano_med.models.bags import BagAlign

T = TypeVar("T")
#: Bytes of a strip at its widest.
STRIP_BYTES = 8 << 20


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
    for name, layer in list(slim.named_modules()):
        if isinstance(layer, InvertedResidual):
            slim.set_submodule(name, StripResidual(layer))
        elif isinstance(layer, MultiScaleRoIAlign):
            slim.set_submodule(name, BagAlign(layer))
    return slim


class StripResidual(nn.Module):
    """timm's inverted residual (norms folded), on the CPU computed some rows at a time where it is large.

    Args:
        block: the block; its layers are shared.
    """

    def __init__(self, block: InvertedResidual) -> None:
        super().__init__()
        self.widen = nn.Sequential(block.conv_pw, block.bn1)
        self.conv = block.conv_dw  # the only layer that looks at neighbours
        self.narrow = nn.Sequential(block.bn2, block.se, block.conv_pwl, block.bn3)
        self.skip = block.has_skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> what the block gives."""
        (top, bottom), sides = _padding(self.conv, 0, x.shape[2]), _padding(self.conv, 1, x.shape[3])
        stride, reach = self.conv.stride[0], self.conv.dilation[0] * (self.conv.kernel_size[0] - 1) + 1
        height = (x.shape[2] + top + bottom - reach) // stride + 1
        row = len(x) * self.conv.in_channels * x.shape[3] * x.element_size()  # bytes, at the widest
        rows = height
        if x.device.type == "cpu" and row * x.shape[2] > 2 * STRIP_BYTES:
            rows = max(1, STRIP_BYTES // (row * stride))
        parts = []
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            first, last = start * stride - top, (stop - 1) * stride - top + reach  # rows of x, some may lie outside
            wide = self.widen(x[:, :, max(first, 0) : last])
            wide = _convolve(self.conv, wide, (max(-first, 0), max(last - x.shape[2], 0)), sides)
            parts.append(self.narrow(wide))
        y = torch.cat(parts, 2) if len(parts) > 1 else parts[0]
        return y.add_(x) if self.skip else y


def _padding(conv: nn.Conv2d, side: int, length: int) -> tuple[int, int]:
    """Zeros before and after `length` pixels along side 0 (rows) or 1 (columns)."""
    if not isinstance(conv, Conv2dSame):
        return (conv.padding[side],) * 2
    stride, reach = conv.stride[side], conv.dilation[side] * (conv.kernel_size[side] - 1) + 1
    both = max(0, (-(-length // stride) - 1) * stride + reach - length)  # TensorFlow's rule: the odd one goes behind
    return both // 2, both - both // 2


def _convolve(conv: nn.Conv2d, x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """`conv` with these rows and columns of zeros (before, after); a padded copy is made only where it must be."""
    even = [side[0] if side[0] == side[1] else 0 for side in (rows, columns)]
    odd = [n - own for side, own in zip((columns, rows), even[::-1], strict=True) for n in side]
    if any(odd):
        x = F.pad(x, odd)
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, tuple(even), conv.dilation, conv.groups)


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
