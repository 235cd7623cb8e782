"""Mask R-CNN: the second network of the 2018 baseline."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d

from pano_med.models.instance import LEVELS, BoxHead, Detections, InstanceHead, PlainMaskHead, RegionRules
from pano_med.models.rpn import ProposalNetwork, ProposalRules


class MaskRCNN(nn.Module):
    """Mask R-CNN (He et al. 2017) on a one-way feature pyramid (Lin et al. 2017).

    It differs from the instance half of EfficientPS in three things only: its own backbone, the one-way pyramid, and
    plain instead of separable convolutions.

    Args:
        backbone: images -> c4, c8, c16, c32.
        channels: channels of the four endpoints.
        width: channels of the pyramid.
        hidden: units of the box head.
        num_things: thing classes.
        agnostic: one set of boxes and masks for all classes.
        proposals: numbers of the first stage; with five anchor sizes a fifth, pooled level is added for the RPN.
        regions: numbers of the second stage.
    """

    def __init__(self, backbone: nn.Module, channels: tuple[int, ...], *, width: int, hidden: int, num_things: int,
                 agnostic: bool, proposals: ProposalRules, regions: RegionRules) -> None:
        super().__init__()
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(list(channels), width)
        self.head = InstanceHead(
            ProposalNetwork(width, proposals), BoxHead(width * 7 * 7, hidden, num_things, agnostic),
            PlainMaskHead(width, num_things, agnostic), num_things, regions,
        )  # fmt: skip
        self.pooled_level = len(proposals.sizes) == len(LEVELS) + 1

    def pyramid(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) normalised pixels -> p4, p8, p16, p32 (and p64 where the anchors ask for it)."""
        ends = OrderedDict(zip(LEVELS, self.backbone(images), strict=True))
        levels = tuple(self.fpn(ends).values())
        return (*levels, F.max_pool2d(levels[-1], 1, 2)) if self.pooled_level else levels

    def losses(self, images: ImageList, normalised: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The five instance losses, as in `InstanceHead.losses`."""
        return self.head.losses(images, self.pyramid(normalised), targets)

    def detect(self, images: ImageList, normalised: Tensor) -> list[tuple[Detections, Tensor]]:
        """Detections and mask logits of each image, as in `InstanceHead.detect`."""
        return self.head.detect(images, self.pyramid(normalised))


class ResNetBody(nn.Module):
    """ResNet-50 with frozen batch norm, cut at strides 4, 8, 16 and 32, named as in torchvision's Mask R-CNN."""

    channels = (256, 512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        net = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
        self.conv1, self.bn1 = net.conv1, net.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) normalised pixels -> c4, c8, c16, c32."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        c4 = self.layer1(x)
        c8 = self.layer2(c4)
        c16 = self.layer3(c8)
        return c4, c8, c16, self.layer4(c16)


def resnet_mask_rcnn(num_things: int) -> MaskRCNN:
    """The network of `torchvision.models.detection.maskrcnn_resnet50_fpn`, layer for layer, random weights."""
    sizes = ((32,), (64,), (128,), (256,), (512,))
    net = MaskRCNN(
        ResNetBody(), ResNetBody.channels, width=256, hidden=1024, num_things=num_things, agnostic=False,
        proposals=ProposalRules(sizes, pre_nms=(2000, 1000), post_nms=(2000, 1000)),
        regions=RegionRules(samples=512, positive=0.25, min_side=0.01),
    )  # fmt: skip
    for module in net.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0  # as in torchvision's COCO weights
    return net


def rename_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of torchvision's maskrcnn_resnet50_fpn -> keys of `resnet_mask_rcnn`."""
    masks = {"mask_predictor.conv5_mask": "mask_head.8", "mask_predictor.mask_fcn_logits": "mask_head.10"}
    pairs = {f"roi_heads.mask_head.{i}.0.": f"head.mask_head.{2 * i}." for i in range(4)}
    pairs |= {f"roi_heads.{old}.": f"head.{new}." for old, new in masks.items()}
    pairs |= {
        "roi_heads.box_head.": "head.box_head.", "roi_heads.box_predictor.": "head.box_head.", "rpn.": "head.rpn.",
        "backbone.body.": "backbone.", "backbone.fpn.": "fpn.",
    }  # fmt: skip
    out = {}
    for key, value in state.items():
        old = next(p for p in pairs if key.startswith(p))
        out[pairs[old] + key.removeprefix(old)] = value
    return out
