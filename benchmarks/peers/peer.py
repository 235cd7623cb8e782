"""What a peer is: it trains in a folder within a budget, and gives a method from an image to a map of nuclei."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pano_med.lessons.classical import as_panoptic
from pano_med.predict.scale import to_tensor
from pano_med.training import TrainConfig, load_weights
from pano_med.training.recipe import Ingredients
from pano_med.types import Panoptic


@dataclass(frozen=True)
class Method:
    """A peer that is ready to predict.

    Attributes:
        call: (H, W, 3) uint8 image, its pixel size in micrometres -> map of that size.
        parameters: numbers that were learned.
        peak_mib: MiB that its own process took at most, where that is not this process; else None.
        close: ends that process.
    """

    call: Callable[[np.ndarray, float], Panoptic]
    parameters: int
    peak_mib: Callable[[], float] | None = None
    close: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Peer:
    """One way to find nuclei.

    Attributes:
        name: on the command line and of its folder.
        title: in the table.
        start: what its weights are before training.
        train: trains, or goes on, in a folder; None = there is nothing to train.
        load: the trained method of a folder.
        absent: why it cannot run here, or "".
    """

    name: str
    title: str
    start: str
    train: Callable[[Ingredients, TrainConfig, Path], None] | None
    load: Callable[[Path], Method]
    absent: Callable[[], str] = lambda: ""


def filled(model: nn.Module, folder: Path) -> nn.Module:
    """The network with the averaged weights of its run, ready to predict."""
    load_weights(model, folder, "last")
    return model.eval().requires_grad_(False)


def count(model: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(p.numel() for p in model.parameters())


def at_model_scale(label: Callable[[Tensor], np.ndarray], mpp: float) -> Callable[[np.ndarray, float], Panoptic]:
    """A method from a function that numbers the nuclei of a (3, H, W) image 0..1 at `mpp`.

    The image is brought to that scale as ours is; the numbers take the nearest pixel on the way back.
    """

    def call(image: np.ndarray, pixel_size_um: float) -> Panoptic:
        height, width = image.shape[:2]
        factor = pixel_size_um / mpp
        with torch.inference_mode():
            ids = label(to_tensor(image, (max(32, round(height * factor)), max(32, round(width * factor)))))
        if ids.shape != (height, width):
            whole = torch.from_numpy(ids.astype(np.float64))[None, None]  # float64 holds every number exactly
            ids = F.interpolate(whole, (height, width), mode="nearest-exact")[0, 0].numpy()
        return as_panoptic(ids.astype(np.int32), pixel_size_um)

    return call
