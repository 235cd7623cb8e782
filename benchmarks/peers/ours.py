"""EfficientPS and the two pairs of networks that it replaced, trained by the same loop and joined as they ship."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from ship_weights import MASK_GAIN
from torch import nn

from pano_med import models
from pano_med.models import EfficientPS, TwoNetworks
from pano_med.models.sampling import own_randomness
from pano_med.predict import Segmenter
from pano_med.training import TrainConfig
from pano_med.training.recipe import Ingredients
from pano_med.types import HE_CORE
from pano_med.weights import LoadedWeights, imagenet_lite0
from peers.budget import facts, train_network
from peers.peer import Method, count, filled


def train(build: Callable[[], nn.Module], parts: Ingredients, config: TrainConfig, folder: Path) -> None:
    """Train a network of ours, or go on, in a folder."""
    with own_randomness(config.seed, torch.device("cpu")):
        model = build()
    train_network(model, parts, config, folder)


def efficientps() -> nn.Module:
    """Ours, as `he-nano` is built."""
    return EfficientPS.small(HE_CORE, pretrained=imagenet_lite0())


def small_pair() -> nn.Module:
    """FCN and Mask R-CNN, each on a lite0 of its own."""
    return TwoNetworks.small(HE_CORE, pretrained=imagenet_lite0())


def resnet_pair() -> nn.Module:
    """torchvision's FCN-ResNet50 and Mask R-CNN-ResNet50-FPN, from random weights: its own ones are a download."""
    return TwoNetworks.resnet(HE_CORE)


def load(folder: Path) -> Method:
    """The trained network, its fusion as it ships (a heuristic merge for pairs) at the default score cut."""
    known = facts(folder) or {}
    model = filled(models.build(known["model"]), folder)
    meta = {"model_mpp": known["config"]["model_mpp"], "config": known["model"], "mask_gain": MASK_GAIN}
    segmenter = Segmenter(LoadedWeights(model, meta), "cpu")
    return Method(lambda image, mpp: segmenter(image, mpp).panoptic, count(model))


train_efficientps, train_small_pair, train_resnet_pair = (
    partial(train, build) for build in (efficientps, small_pair, resnet_pair)
)
