"""The shared backbone: an EfficientNet of timm without squeeze-excite, cut at strides 4, 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Mapping

import timm
from torch import Tensor, nn

from pano_med.models.layers import Leaky

#: Names that `Backbone` takes; lite0 has no squeeze-excite to begin with.
BACKBONES = ("tf_efficientnet_lite0", *(f"tf_efficientnet_b{i}" for i in range(8)))

# Index of the last block at each stride; x32 ends after `conv_head` (EfficientPS, section 3.1, figure 3).
_ENDS = {"x4": 1, "x8": 2, "x16": 4}


class Backbone(nn.Module):
    """EfficientNet as EfficientPS uses it (Mohan & Valada 2021, section 3.1).

    Squeeze-excite is left out, because the paper found that it hurts localisation; every activation is a leaky ReLU.
    A pretrained backbone keeps the activation it was trained with, since its weights know no other.

    Args:
        name: one of `BACKBONES`.
        pretrained: a state dict in timm's names (e.g. from `pano_med.weights`), or None for random weights.
            Entries of squeeze-excite and of the classifier are dropped.

    Raises:
        ValueError: an unknown name, or a state dict that does not fill the backbone.
    """

    def __init__(self, name: str = "tf_efficientnet_lite0", pretrained: Mapping[str, Tensor] | None = None,
                 own_activation: bool | None = None) -> None:
        super().__init__()
        if name not in BACKBONES:
            raise ValueError(f"the backbone must be one of {', '.join(BACKBONES)}, got {name!r}")
        keep = pretrained is not None if own_activation is None else own_activation
        # timm keeps squeeze-excite for se_layer=None; an identity in its place removes it.
        options: dict[str, object] = {"se_layer": nn.Identity} | ({} if keep else {"act_layer": Leaky})
        net = timm.create_model(name, pretrained=False, num_classes=0, **options)
        if pretrained is not None:
            _fill(net, pretrained, name)
        self.stem = nn.Sequential(net.conv_stem, net.bn1)
        self.blocks = net.blocks
        self.head = nn.Sequential(net.conv_head, net.bn2)
        #: Whether the activation is the pretrained one (saved in the configuration, so that a copy is the same net).
        self.own_activation = keep
        self.name = name
        #: Channels of the four endpoints, finest first.
        self.channels = (*(self.blocks[i][-1].bn3.num_features for i in _ENDS.values()), net.num_features)
        #: Mean and standard deviation the pixels (0..1) are normalised with.
        self.mean, self.std = net.default_cfg["mean"], net.default_cfg["std"]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) normalised pixels -> c4, c8, c16, c32 at strides 4, 8, 16, 32 (sizes rounded up)."""
        x, ends = self.stem(images), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in _ENDS.values():
                ends.append(x)
        c4, c8, c16 = ends
        return c4, c8, c16, self.head(x)


def _fill(net: nn.Module, pretrained: Mapping[str, Tensor], name: str) -> None:
    own = net.state_dict()
    found = {k: v for k, v in pretrained.items() if k in own and v.shape == own[k].shape}
    missing = [k for k in own if k not in found and not k.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(
            f"a pretrained state dict must fill the backbone, this one lacks {len(missing)} tensors of {name} "
            f"(first: {missing[0]}); was it saved from another network?"
        )
    net.load_state_dict(found, strict=False)
