"""The baseline of 2018: an FCN and a Mask R-CNN, each with its own backbone, joined only after the fact.

The two know nothing of each other, so one may call a pixel stroma while the other draws a nucleus there; a heuristic
merge (`pano_med.fusion.merge_heuristic`) hides the contradiction, it does not resolve it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.image_list import ImageList
from torchvision.models.segmentation import FCN_ResNet50_Weights

from pano_med.models.backbone import Backbone
from pano_med.models.efficientps import (
    NUCLEI_ANCHORS,
    REFERENCE_PX,
    check_images,
    clean_target,
    pad_allowed,
    pad_batch,
    padded_size,
    to_instances,
)
from pano_med.models.fcn import FCN, ResNetFCN
from pano_med.models.instance import RegionRules
from pano_med.models.losses import hard_pixel_loss
from pano_med.models.mask_rcnn import MaskRCNN, rename_torchvision, resnet_mask_rcnn
from pano_med.models.rpn import ProposalRules
from pano_med.types import HE_CORE, OKABE_ITO, Category, Prediction, Taxonomy

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class TwoNetworks(nn.Module):
    """FCN for stuff, Mask R-CNN for things (Kirillov et al. 2019, section 6: what "panoptic" was before one network).

    It passes through the same doors as `EfficientPS`: same images, same targets, same losses' names, same
    `Prediction`. The semantic loss is the plain mean over pixels, as in 2015.

    Args:
        semantic_net: normalised pixels -> logits of every channel of the taxonomy.
        instance_net: a `MaskRCNN`.
        taxonomy: the table both speak.
        mean: of the pixels (0..1) the networks expect.
        std: their standard deviation.
    """

    def __init__(self, semantic_net: nn.Module, instance_net: MaskRCNN, taxonomy: Taxonomy,
                 mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.semantic_net, self.instance_net, self.taxonomy = semantic_net, instance_net, taxonomy
        #: JSON-ready description that `pano_med.models.build` rebuilds the networks from.
        self.config: dict[str, Any] = {}
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, 3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)

    @classmethod
    def small(cls, taxonomy: Taxonomy = HE_CORE, pretrained: Mapping[str, Tensor] | None = None,
              variant: str = "8s", own_activation: bool | None = None) -> TwoNetworks:
        """lite0 + lite0 with the widths, anchors and counts of `EfficientPS.small`, for a fair comparison."""
        bodies = [Backbone("tf_efficientnet_lite0", pretrained, own_activation) for _ in range(2)]
        instance_net = MaskRCNN(
            bodies[1], bodies[1].channels, width=128, hidden=256, num_things=taxonomy.num_things, agnostic=True,
            proposals=ProposalRules(NUCLEI_ANCHORS, pre_nms=(1000, 300), post_nms=(500, 80), min_score=0.1,
                                    reference_px=REFERENCE_PX),
            regions=RegionRules(samples=128, positive=0.5, min_score=0.2, detections=60, reference_px=REFERENCE_PX),
        )  # fmt: skip
        semantic_net = FCN(bodies[0], len(taxonomy.channels), variant)
        net = cls(semantic_net, instance_net, taxonomy, bodies[0].mean, bodies[0].std)
        net.config = {
            "name": "two_networks", "variant": variant, "own_activation": bodies[0].own_activation,
            "taxonomy": taxonomy.to_dict(),
        }  # fmt: skip
        return net

    @classmethod
    def resnet(cls, taxonomy: Taxonomy = HE_CORE) -> TwoNetworks:
        """torchvision's pair: FCN-ResNet50 and Mask R-CNN-ResNet50-FPN, random weights."""
        net = cls(ResNetFCN(len(taxonomy.channels)), resnet_mask_rcnn(taxonomy.num_things), taxonomy, *_IMAGENET)
        net.config = {"name": "two_resnets", "taxonomy": taxonomy.to_dict()}
        return net

    @classmethod
    def coco(cls) -> TwoNetworks:
        """torchvision's pair with its COCO weights (downloaded by torchvision, about 300 MB, hash checked).

        The FCN was trained with Pascal VOC's 20 classes, all of them things, and a background: that background is the
        only stuff.

        Raises:
            OSError: the weights can't be downloaded.
        """
        names = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
        voc = FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
        taxonomy = coco_taxonomy(names)
        net = cls(ResNetFCN(len(voc)), resnet_mask_rcnn(taxonomy.num_things), taxonomy, *_IMAGENET)
        masks = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.get_state_dict(progress=False, check_hash=True)
        net.instance_net.load_state_dict(rename_torchvision(masks))
        regions = FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.get_state_dict(progress=False, check_hash=True)
        net.semantic_net.net.load_state_dict({k: v for k, v in regions.items() if not k.startswith("aux_")})
        net.semantic_net = VOCChannels(net.semantic_net, voc, taxonomy)
        return net

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """Losses in training mode, predictions in evaluation mode; see `EfficientPS.forward`."""
        check_images(images)
        if self.training:
            if targets is None:
                raise ValueError("training needs a target for each image, got none; call model.eval() to predict")
            return self._losses(images, [clean_target(t) for t in targets])
        if len({padded_size(i) for i in images}) > 1:
            return [prediction for image in images for prediction in self._predict([image])]
        return self._predict(images)

    def _losses(self, images: Sequence[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        batch = pad_batch(images)
        pixels = (batch.tensors - self.mean) / self.std
        semantic = self.semantic_net(pixels)
        losses = {"semantic": hard_pixel_loss(semantic, pad_allowed(targets, semantic.shape), share=1.0)}
        rows = [i for i, t in enumerate(targets) if bool(t["things_known"])]
        if not rows:
            nothing = semantic.sum() * 0.0
            return losses | dict.fromkeys(("objectness", "proposal_box", "class", "box", "mask"), nothing)
        known = ImageList(pixels[rows], [batch.image_sizes[i] for i in rows])
        found = self.instance_net.losses(known, pixels[rows], [targets[i] for i in rows])
        return losses | {name: loss * (len(rows) / len(images)) for name, loss in found.items()}

    @torch.no_grad()
    def _predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        batch = pad_batch(images)
        pixels = (batch.tensors - self.mean) / self.std
        semantic, found = self.semantic_net(pixels).float(), self.instance_net.detect(batch, pixels)
        return [
            Prediction(logits[:, :h, :w], to_instances(detections, masks, self.taxonomy), self.taxonomy)
            for logits, (h, w), (detections, masks) in zip(semantic, batch.image_sizes, found, strict=True)
        ]


class VOCChannels(nn.Module):
    """Moves the channels of an FCN with Pascal VOC's classes to those of the COCO taxonomy."""

    def __init__(self, net: nn.Module, voc: Sequence[str], taxonomy: Taxonomy) -> None:
        super().__init__()
        self.net, self.channels = net, len(taxonomy.channels)
        same = {"__background__": "background", "aeroplane": "airplane", "diningtable": "dining table",
                "motorbike": "motorcycle", "pottedplant": "potted plant", "sofa": "couch",
                "tvmonitor": "tv"}  # fmt: skip
        self.places = [taxonomy.channel(same.get(name, name)) for name in voc]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H, W); classes that VOC lacks get the lowest logit of their pixel."""
        logits = self.net(images)
        out = logits.min(1, keepdim=True).values.repeat(1, self.channels, 1, 1)
        out[:, self.places] = logits
        return out


def coco_taxonomy(names: Sequence[str]) -> Taxonomy:
    """torchvision's COCO labels (91 places, some empty) as a taxonomy: things by label, then one stuff."""
    colors = [c for name, c in OKABE_ITO.items() if name != "black"]
    things = [
        Category(i, name if name != "N/A" else f"unused {i}", True, colors[i % len(colors)])
        for i, name in enumerate(names) if i
    ]  # fmt: skip
    background = Category(len(names), "background", False, OKABE_ITO["black"])
    return Taxonomy("coco", (*things, background))
