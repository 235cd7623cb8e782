"""Fully convolutional networks for semantic segmentation: the first network of the 2018 baseline."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation import fcn_resnet50

from pano_med.models.backbone import Backbone
from pano_med.models.layers import resize_like

#: Which endpoints each variant scores, coarsest first (Long et al. 2015, figure 3).
SKIPS = {"32s": ("c32",), "16s": ("c32", "c16"), "8s": ("c32", "c16", "c8")}


class FCN(nn.Module):
    """FCN-32s, 16s or 8s (Long, Shelhamer & Darrell 2015) on its own EfficientNet.

    A 1 x 1 convolution scores each endpoint; coarse scores are enlarged and added to the finer ones. 32s has no skip
    connection and paints blobs, 8s has two and finds borders: compare them on one image. Enlarging is bilinear, the
    value at which the paper's deconvolutions start.

    Args:
        backbone: images -> c4, c8, c16, c32.
        classes: semantic channels.
        variant: "8s", "16s" or "32s".

    Raises:
        ValueError: another variant.
    """

    def __init__(self, backbone: Backbone, classes: int, variant: str = "8s") -> None:
        super().__init__()
        if variant not in SKIPS:
            raise ValueError(f"an FCN variant must be one of {', '.join(SKIPS)}, got {variant!r}")
        self.backbone, self.ends = backbone, SKIPS[variant]
        channels = dict(zip(("c4", "c8", "c16", "c32"), backbone.channels, strict=True))
        self.score = nn.ModuleDict({end: nn.Conv2d(channels[end], classes, 1) for end in self.ends})

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pixels -> (B, K, H, W) logits."""
        ends = dict(zip(("c4", "c8", "c16", "c32"), self.backbone(images), strict=True))
        logits = self.score["c32"](ends["c32"])
        for end in self.ends[1:]:
            finer = self.score[end](ends[end])
            logits = finer + resize_like(logits, finer)
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


class ResNetFCN(nn.Module):
    """torchvision's FCN on a dilated ResNet-50 (no skip connections), for its COCO weights.

    Args:
        classes: semantic channels.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = fcn_resnet50(weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pixels -> (B, K, H, W) logits."""
        return self.net(images)["out"]
