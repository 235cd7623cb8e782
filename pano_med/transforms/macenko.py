"""Macenko's stain normalisation, in torch, with a guard for tiles without two stains.

Macenko et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MapTransform
from torch import Tensor

from pano_med.transforms.geometry import unit_image
from pano_med.transforms.stain import optical_density

#: The look that images are brought to: optical density (R, G, B) of haematoxylin and eosin and the amount of each
#: that 99 % of the tissue stays below, as in the authors' published code.
REFERENCE_STAINS = torch.tensor([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
REFERENCE_AMOUNTS = torch.tensor([1.9705, 1.0308])
#: Mean optical density above which a pixel is tissue.
GLASS = 0.15


def stain_vectors(
    image: Tensor, glass: float = GLASS, min_tissue: float = 0.02, min_angle: float = 0.12, min_dark: float = 0.85
) -> Tensor | None:
    """The two stains of one H&E image.

    Args:
        image: (3, H, W) float 0..1.
        glass: a pixel is tissue where its mean optical density is above this.
        min_tissue: least share of tissue, and never fewer than 100 pixels.
        min_angle: least angle in radians between the stains; H and E lie 0.39 apart in the reference, the noise of a
            single stain about 0.1.
        min_dark: least ratio of the optical density of the bluest fifth of the tissue to that of the reddest. Nuclei
            are the dark part of H&E: 1.0 to 2.8 where the result looks right on our real images, 0.2 to 0.8 where the
            nuclei would turn red (haematoxylin alone, brown nuclei).

    Returns:
        (2, 3) unit vectors, haematoxylin and eosin; None where the image is blank, of one colour, or does not look
        like two stains (the guard).
    """
    density = optical_density(image).flatten(1).double()  # (3, P)
    tissue = density[:, density.mean(0) > glass]
    if tissue.shape[1] < max(100, min_tissue * density.shape[1]):
        return None
    plane = torch.linalg.eigh(torch.cov(tissue)).eigenvectors[:, [2, 1]]
    plane = plane * torch.where(plane.sum(0) < 0, -1.0, 1.0)  # signs are free; the first axis must point to more stain
    x, y = plane.T @ tissue
    angle = torch.atan2(y, x)
    ends = _percentile(angle, (0.01, 0.2, 0.8, 0.99))
    if not min_angle < ends[3] - ends[0] < torch.pi / 2:
        return None
    stains = torch.stack([plane @ torch.stack([a.cos(), a.sin()]) for a in ends[[0, 3]]])  # (2, 3)
    dark = [tissue.sum(0)[side].median() for side in (angle <= ends[1], angle >= ends[2])]
    if stains[0, 0] < stains[1, 0]:  # haematoxylin takes more red
        stains, dark = stains.flip(0), dark[::-1]
    return None if dark[0] < min_dark * dark[1] else stains.float()


def macenko_normalize(image: Tensor, **guard: float) -> Tensor:
    """Bring H&E images to one common look (`REFERENCE_STAINS`, `REFERENCE_AMOUNTS`).

    Args:
        image: (..., 3, H, W), uint8 0..255 or float 0..1; each image of a batch gets its own fit.
        guard: arguments of `stain_vectors`.

    Returns:
        Shape and dtype as they came. An image without two stains (blank, of one colour) comes back unchanged; no value
        is ever NaN.

    Raises:
        ValueError: the image does not have three channels, or floats outside 0..1.
    """
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ValueError(f"Macenko normalisation takes (..., 3, H, W) images, got shape {tuple(image.shape)}")
    out = image.clone()
    for one in out.flatten(0, -4) if image.ndim > 3 else out[None]:
        _normalize(one, guard)
    return out


def _normalize(image: Tensor, guard: Mapping[str, float]) -> None:
    """One (3, H, W) image, in place."""
    unit = unit_image(image)
    stains = stain_vectors(unit, **guard)
    if stains is None:
        return
    density = optical_density(unit).flatten(1)
    amounts = torch.linalg.pinv(stains.T) @ density  # (2, P)
    # of the tissue, not of the tile: on nearly empty tiles the glass would hold 99 % of all pixels
    most = torch.stack([_percentile(a, (0.99,))[0] for a in amounts[:, density.mean(0) > guard.get("glass", GLASS)]])
    most.clamp_(min=1e-3)
    amounts *= (REFERENCE_AMOUNTS / most)[:, None]
    light = (-(REFERENCE_STAINS.T @ amounts)).exp_().clamp_(0, 1).view(image.shape)
    image.copy_(light if image.is_floating_point() else (light * 255).round_())


def _percentile(values: Tensor, shares: Sequence[float]) -> Tensor:
    """Values below which these shares lie. A sort: `torch.quantile` refuses images above 16 million pixels."""
    ordered = values.sort().values
    return ordered[[round(s * (len(ordered) - 1)) for s in shares]]


class MacenkoNormalized(MapTransform):
    """`macenko_normalize` on the images of a dictionary."""

    def __init__(self, keys: Sequence[str] = ("image",), **guard: float) -> None:
        super().__init__(keys)
        self.guard = guard

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**data, **{k: macenko_normalize(data[k], **self.guard) for k in self.keys}}
