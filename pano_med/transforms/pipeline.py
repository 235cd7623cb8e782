"""The recipes: from a sample to what the network takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.transforms import Compose, RandFlipd, RandRotate90d
from torch import Tensor

from pano_med.transforms.geometry import RandScaleCropd, ScaleTod
from pano_med.transforms.stain import RandHEDJitterd, RandPhotometricd
from pano_med.transforms.targets import SPATIAL, PanopticTargetsd, to_dict


def train_pipeline(size: int = 256, mpp: float | None = None, seed: int = 0, min_pixels: int = 16,
                   by_class: bool = False, stain: bool = True) -> Compose:
    """`Sample` -> (image, target), with every augmentation.

    Args:
        size: side of the square crop in pixels.
        mpp: the model's pixel size in micrometres, or None to keep each sample's scale.
        seed: of the whole chain; `pipeline.set_random_state(n)` before an item makes that item repeatable.
        min_pixels: things with fewer visible pixels are ignored.
        by_class: crops are laid around things of every class equally often (see `RandScaleCropd`).
        stain: change the amounts of the stains; without, all else is drawn as it would be with it.

    Returns:
        a chain from `Sample` to ((3, size, size) float32 0..1, the dictionary of `panoptic_targets`).
    """
    return Compose(
        [
            to_dict,
            RandScaleCropd(size, mpp, turn=0.5, by_class=by_class),
            RandHEDJitterd() if stain else RandHEDJitterd(prob=0),
            RandPhotometricd(),
            RandFlipd(SPATIAL, prob=0.5, spatial_axis=0),
            RandRotate90d(SPATIAL, prob=0.75),  # with the flip: all eight views of a square, equally often
            PanopticTargetsd(min_pixels),
            to_pair,
        ]
    ).set_random_state(seed)


def eval_pipeline(mpp: float | None = None, min_pixels: int = 1) -> Compose:
    """`Sample` -> (image, target) of the whole image at the model's scale, without chance.

    Args:
        mpp: the model's pixel size in micrometres, or None to keep each sample's scale.
        min_pixels: things with fewer pixels are ignored.
    """
    return Compose([to_dict, ScaleTod(mpp), PanopticTargetsd(min_pixels), to_pair])


def to_pair(data: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """(image, target) out of a finished dictionary."""
    return data["image"], data["target"]
