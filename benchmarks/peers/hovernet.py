"""HoVer-Net (Graham et al. 2019) as MONAI builds, trains, tiles and post-processes it; mode "fast".

Its encoder starts from random numbers: the ImageNet weights that MONAI offers are a download, and MONAI ships none.
MONAI's loss knows no ignored pixels, so the few there are (cut-off slivers of nuclei, padding) count as background.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.apps.pathology.inferers import SlidingWindowHoVerNetInferer
from monai.apps.pathology.losses import HoVerNetLoss
from monai.apps.pathology.transforms.post.array import HoVerNetInstanceMapPostProcessing
from monai.networks.nets import HoVerNet
from monai.transforms import ComputeHoVerMaps
from monai.utils import HoVerNetBranch
from torch import Tensor, nn

from pano_med.models.sampling import own_randomness
from pano_med.training import TrainConfig
from pano_med.training.recipe import Ingredients
from pano_med.types import HE_CORE
from peers.budget import facts, labels, nuclei_only, train_network
from peers.peer import Method, at_model_scale, count, filled

#: The network takes windows of this side and speaks of their middle only.
WINDOW, MIDDLE = 256, 164
#: Peak rate of its paper; ours is too hot for a network without normalised start.
LR = 1e-4
NP, HV = HoVerNetBranch.NP.value, HoVerNetBranch.HV.value


class HoVer(nn.Module):
    """MONAI's network and loss behind the door of our training loop."""

    taxonomy = HE_CORE

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with own_randomness(seed, torch.device("cpu")):
            self.net = HoVerNet(mode="fast", in_channels=3, out_classes=0)
        self.loss = HoVerNetLoss()
        self.config = {"name": "hovernet"}

    def forward(self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """(3, 256, 256) images and targets as `hover_targets` makes them -> the sum of its losses."""
        truth = {key: torch.stack([t[key] for t in targets]) for key in (NP, HV)}
        return {"hovernet": self.loss(self.net(torch.stack(list(images))), truth)}


def hover_targets(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Background and nucleus (2, 164, 164), distances to the middle of one's nucleus (2, 164, 164), -1..1.

    The maps are made of the whole crop, then cut, as in the paper's code.
    """
    ids = labels(target["masks"])
    if tuple(ids.shape) != (WINDOW, WINDOW):
        raise ValueError(f"HoVer-Net (fast) takes crops of {WINDOW} px, got {tuple(ids.shape)}; use --crop {WINDOW}")
    maps = hover_maps(ids)
    inside = ids > 0
    edge = (WINDOW - MIDDLE) // 2
    middle = slice(edge, edge + MIDDLE)
    both = torch.stack([~inside, inside]).float()
    return {NP: both[:, middle, middle], HV: maps[:, middle, middle]}


def hover_maps(ids: Tensor) -> Tensor:
    """(H, W) numbers -> (2, H, W) float32: horizontal and vertical distance to the middle of one's nucleus, -1..1."""
    maps = torch.as_tensor(ComputeHoVerMaps()(ids.numpy()[None]))
    return torch.Tensor.as_subclass(maps, torch.Tensor).float()


def train(parts: Ingredients, config: TrainConfig, folder: Path) -> None:
    """Train, or go on, in a folder."""
    config = TrainConfig.from_dict({**config.to_dict(), "lr": LR})
    train_network(HoVer(config.seed), nuclei_only(parts), config, folder, hover_targets)


def load(folder: Path) -> Method:
    """The trained network with MONAI's tiling and post-processing."""
    model = filled(HoVer(), folder)
    mpp = float((facts(folder) or {})["config"]["model_mpp"])
    return Method(at_model_scale(Labeller(model.net), mpp), count(model))


class Labeller:
    """(3, H, W) image 0..1 -> (H, W) numbers, with the settings of MONAI's own HoVer-Net bundle."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net.to(memory_format=torch.channels_last)
        self.tiles = SlidingWindowHoVerNetInferer(
            roi_size=(WINDOW, WINDOW), sw_batch_size=4, overlap=1 - MIDDLE / WINDOW,
            extra_input_padding=((WINDOW - MIDDLE) // 2,) * 4,
        )  # fmt: skip
        self.post = HoVerNetInstanceMapPostProcessing(activation="softmax")

    def __call__(self, image: Tensor) -> np.ndarray:
        """Number the nuclei."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MONAI calls scikit-image by names that it is about to drop
            said = self.tiles(image[None], self.net)
            return hover_labels(said[NP][0], said[HV][0], self.post)


def hover_labels(logits: Tensor, maps: Tensor, post: HoVerNetInstanceMapPostProcessing) -> np.ndarray:
    """(2, H, W) logits and (2, H, W) distances -> (H, W) int32 numbers."""
    if not bool((logits[1] > logits[0]).any()):  # MONAI's markers need a nucleus
        return np.zeros(logits.shape[1:], np.int32)
    return np.asarray(post(logits, maps)[1]).reshape(logits.shape[1:]).astype(np.int32)
