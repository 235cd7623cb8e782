"""Stain and photometric transforms for H&E, in torch; all keep (..., 3, H, W) float images in 0..1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MapTransform, Randomizable
from torch import Tensor
from torch.nn.functional import normalize
from torchvision.transforms.functional import gaussian_blur, rgb_to_grayscale

#: Optical densities (R, G, B) of haematoxylin, eosin and DAB: Ruifrok & Johnston, Anal Quant Cytol Histol 23, 291
#: (2001). DAB takes up what the other two leave.
RUIFROK = normalize(torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]), dim=1)


def optical_density(image: Tensor) -> Tensor:
    """-ln(light) of an image in 0..1; black counts as 1/255, the darkest that a scanner stores."""
    return -image.clamp(1 / 255, 1).log()


def jitter_hed(image: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Change the amount of each stain: amount * gain + bias, by colour deconvolution.

    Args:
        image: (..., 3, H, W) float 0..1.
        gain: (..., 3) factor of haematoxylin, eosin and the rest; 1 leaves a stain as it is.
        bias: (..., 3) optical density that is added; 0 leaves a stain as it is.

    Returns:
        (..., 3, H, W) float 0..1; gain 1 and bias 0 give the image back (black at 1/255).
    """
    to_rgb = RUIFROK.to(image)
    # both deconvolution and jitter are linear in optical density: one 3 x 3 matrix does it all
    mix = torch.linalg.inv(to_rgb) @ (gain[..., :, None] * to_rgb)  # (..., 3, 3)
    shift = bias @ to_rgb  # (..., 3)
    density = mix.mT @ optical_density(image).flatten(-2) + shift[..., None]  # (..., 3, H * W)
    return (-density).exp_().clamp_(0, 1).view(image.shape)


class RandHEDJitterd(Randomizable, MapTransform):
    """Random amounts of haematoxylin and eosin, as between laboratories (after Tellez et al., MedIA 58, 2019).

    Args:
        keys: images, (3, H, W) float 0..1.
        gain: the amount of each stain is multiplied by up to 1 + gain, or divided by it.
        bias: up to this optical density is added or taken away.
        prob: probability that anything is done.
    """

    def __init__(
        self, keys: Sequence[str] = ("image",), gain: float = 0.4, bias: float = 0.03, prob: float = 0.8
    ) -> None:
        super().__init__(keys)
        if gain < 0 or bias < 0:
            raise ValueError(f"gain and bias of the stain jitter must be at least 0, got {gain} and {bias}")
        self.gain, self.bias, self.prob = gain, bias, prob

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        out = dict(data)
        if self.R.uniform() < self.prob:
            gain = torch.tensor((1 + self.gain) ** self.R.uniform(-1, 1, 3), dtype=torch.float32)
            bias = torch.tensor(self.R.uniform(-self.bias, self.bias, 3), dtype=torch.float32)
            out |= {k: jitter_hed(data[k], gain, bias) for k in self.keys}
        return out


class RandPhotometricd(Randomizable, MapTransform):
    """What scanners, lamps and focus do: brightness, gamma, a slight blur, noise, sometimes faded colours.

    Args:
        keys: images, (3, H, W) float 0..1.
        brightness: light is multiplied by 1 - brightness .. 1 + brightness.
        gamma: exponent between 1 / (1 + gamma) and 1 + gamma.
        blur: largest sigma in pixels, in one image of four.
        noise: largest standard deviation, in one image of four.
        grey: largest share of grey, in one image of ten.
    """

    def __init__(
        self,
        keys: Sequence[str] = ("image",),
        brightness: float = 0.1,
        gamma: float = 0.25,
        blur: float = 1.0,
        noise: float = 0.03,
        grey: float = 0.6,
    ) -> None:
        super().__init__(keys)
        self.brightness, self.gamma, self.blur, self.noise, self.grey = brightness, gamma, blur, noise, grey

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {**data, **{k: self._change(data[k]) for k in self.keys}}

    def _change(self, image: Tensor) -> Tensor:
        some = self.R.uniform(size=3) < (0.25, 0.25, 0.1)
        if some[0]:
            image = gaussian_blur(image, [5, 5], [self.R.uniform(0.3, max(self.blur, 0.3))] * 2)
        gain = self.R.uniform(1 - self.brightness, 1 + self.brightness)
        image = image.pow((1 + self.gamma) ** self.R.uniform(-1, 1)) * gain
        if some[1]:
            generator = torch.Generator().manual_seed(int(self.R.randint(2**31)))
            image = image + torch.randn(image.shape, generator=generator) * self.R.uniform(0, self.noise)
        if some[2]:
            image = torch.lerp(image, rgb_to_grayscale(image, 3), self.R.uniform(0, self.grey))
        return image.clamp(0, 1)
