"""EfficientPS: one backbone and one pyramid shared by a semantic and an instance head."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList

from pano_med.models.backbone import Backbone
from pano_med.models.centres import CentreHead, CentreRules, centre_loss, regions
from pano_med.models.instance import BoxHead, Detections, InstanceHead, MaskHead, RegionRules
from pano_med.models.losses import HARD_SHARE, hard_pixel_loss
from pano_med.models.plain import PYRAMIDS, SEMANTIC_HEADS
from pano_med.models.rpn import ProposalNetwork, ProposalRules
from pano_med.types import HE_CORE, OKABE_ITO, Category, Instances, Prediction, Taxonomy

#: Images are padded to multiples of this, the coarsest stride, so that all pyramid levels line up.
STRIDE = 32
#: Pixels that the counts of the nuclei setting (proposals, detections) belong to.
REFERENCE_PX = 256 * 256
#: Anchors for nuclei and small glands, in pixels.
NUCLEI_ANCHORS = ((14, 22), (34, 52), (80, 120), (180, 280))


class EfficientPS(nn.Module):
    """EfficientPS (Mohan & Valada 2021, IJCV; arXiv 2004.02307), composed of its four parts.

    `EfficientPS.paper(num_stuff, num_things)` is the paper's network (40,891,080 parameters for Cityscapes' 11 + 8).
    `EfficientPS.small(taxonomy)`, our default, departs from it where nuclei or a laptop ask for it:

    =========== ================================= ====================================== =======================
    part        paper                             small                                  why
    =========== ================================= ====================================== =======================
    backbone    EfficientNet-B5, 23.1 M           EfficientNet-lite0, 3.4 M              two CPU cores
    widths      pyramid 256, semantic head 128    pyramid 128, semantic head 96          few classes, little data
    box head    2 x 1024 units, 13.9 M of 40.9 M  2 x 256 units                          most of a small network
    box, mask   one set per class                 one set for all classes                nuclei without a type
    anchors     32, 64, 128, 256 px x 3 ratios    14 to 280 px, two per level x 3 ratios a nucleus is 12-60 px
    counts      1000 proposals, 100 detections    grow with the area of the image        2,000 nuclei in 1 mm2
    detection   score of one class                probability of being a thing at all    types are less certain
    proposals   of anchors                        of anchors, and of a centre cue        crowds of long nuclei
    =========== ================================= ====================================== =======================

    Args:
        backbone: images -> c4, c8, c16, c32.
        fpn: c4..c32 -> p4..p32.
        semantic_head: p4..p32, size -> logits.
        instance_head: proposals, boxes, masks.
        taxonomy: the table both heads speak.
    """

    def __init__(self, backbone: Backbone, fpn: nn.Module, semantic_head: nn.Module, instance_head: InstanceHead,
                 taxonomy: Taxonomy) -> None:
        super().__init__()
        self.backbone, self.fpn = backbone, fpn
        self.semantic_head, self.instance_head = semantic_head, instance_head
        self.taxonomy = taxonomy
        #: Share of the pixels that the semantic loss keeps.
        self.hard_share = HARD_SHARE
        #: Points each pixel of a thing at its middle, see `pano_med.models.centres`; None = the paper, anchors alone.
        self.centre_head: CentreHead | None = None
        self.centre_rules = CentreRules()
        #: JSON-ready description that `pano_med.models.build` rebuilds the network from, set by the class methods.
        self.config: dict[str, Any] = {}
        self.register_buffer("mean", torch.tensor(backbone.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(1, 3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)  # the order that convolutions are fastest in, on CPU and GPU

    @classmethod
    def paper(cls, num_stuff: int = 11, num_things: int = 8) -> EfficientPS:
        """The paper's network, random weights: 40,891,080 parameters with 11 stuff and 8 thing classes."""
        taxonomy = numbered_taxonomy(num_stuff, num_things)
        return cls.build(taxonomy, backbone="tf_efficientnet_b5", width=256, semantic_width=128, hidden=1024,
                         agnostic=False, proposals=ProposalRules(), regions=RegionRules())  # fmt: skip

    @classmethod
    def small(cls, taxonomy: Taxonomy = HE_CORE, pretrained: Mapping[str, Tensor] | None = None,
              backbone: str = "tf_efficientnet_lite0", own_activation: bool | None = None,
              mask_margin: float = 0.15, hard_share: float = 1.0, pyramid: str = "two-way",
              semantic: str = "wide context", centres: bool = True) -> EfficientPS:
        """Our default for nuclei and tissue: at most 8 million parameters with lite0.

        Args:
            taxonomy: stuff and things to learn.
            pretrained: ImageNet weights of the backbone (`pano_med.weights.imagenet_lite0()`), or None.
            backbone: any name of `pano_med.models.BACKBONES`.
            own_activation: keep the backbone's own activation; default: exactly if `pretrained` is given.
            mask_margin: see `RegionRules`.
            hard_share: share of the pixels, hardest first, that the semantic loss is the mean of; the paper keeps 0.25.
                Tissue is outlined coarsely, so its hardest pixels are mostly faults of the outline: we keep them all.
            pyramid: "two-way", or "one-way" (Lin et al. 2017) to measure what the second path is worth.
            semantic: "wide context", or "plain" (Panoptic FPN's head) to measure what the head is worth.
            centres: with the centre cue, see `pano_med.models.centres`.

        Raises:
            ValueError: another pyramid or semantic head.
        """
        net = cls.build(
            taxonomy, backbone=backbone, width=128, semantic_width=96, hidden=256, agnostic=True,
            proposals=ProposalRules(NUCLEI_ANCHORS, pre_nms=(1000, 300), post_nms=(500, 80), min_score=0.1,
                                    reference_px=REFERENCE_PX),
            regions=RegionRules(samples=128, positive=0.5, min_score=0.2, detections=60, reference_px=REFERENCE_PX,
                                mask_margin=mask_margin),
            pretrained=pretrained, own_activation=own_activation, pyramid=pyramid, semantic=semantic,
        )  # fmt: skip
        net.hard_share = hard_share
        if centres:
            net.centre_head = CentreHead(net.fpn.width)
            net.to(memory_format=torch.channels_last)
        net.config = {
            "name": "efficientps", "backbone": backbone, "own_activation": net.backbone.own_activation,
            "mask_margin": mask_margin, "hard_share": hard_share, "pyramid": pyramid, "semantic": semantic,
            "centres": centres, "taxonomy": taxonomy.to_dict(),
        }  # fmt: skip
        return net

    @classmethod
    def build(cls, taxonomy: Taxonomy, *, backbone: str, width: int, semantic_width: int, hidden: int, agnostic: bool,
              proposals: ProposalRules, regions: RegionRules, pretrained: Mapping[str, Tensor] | None = None,
              own_activation: bool | None = None, pyramid: str = "two-way",
              semantic: str = "wide context") -> EfficientPS:
        """Compose a network from its numbers; see the two settings above for what they mean."""
        for what, chosen, kinds in (("pyramid", pyramid, PYRAMIDS), ("semantic", semantic, SEMANTIC_HEADS)):
            if chosen not in kinds:
                raise ValueError(f"{what} must be one of {', '.join(kinds)}, got {chosen!r}")
        body, things = Backbone(backbone, pretrained, own_activation), taxonomy.num_things
        instance_head = InstanceHead(
            ProposalNetwork(width, proposals), BoxHead(width * 7 * 7, hidden, things, agnostic),
            MaskHead(width, things, agnostic), things, regions,
        )  # fmt: skip
        semantic_head = SEMANTIC_HEADS[semantic](width, len(taxonomy.channels), semantic_width)
        return cls(body, PYRAMIDS[pyramid](body.channels, width), semantic_head, instance_head, taxonomy)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """Losses in training mode, predictions in evaluation mode.

        Args:
            images: float tensors (3, H, W), RGB 0..1, at least 32 x 32 px; sizes may differ.
            targets: one per image when training: "boxes" (N, 4) xyxy, "labels" (N,) 1..T or T + 1 for a thing of
                unknown class, "masks" (N, H, W) bool, "allowed" (K, H, W) bool (the semantic channels that the truth
                permits; all True = unknown), "ignore" (H, W) bool, "things_known" bool (False: no instance loss).
                "seed" (int, may be absent): of the regions drawn in this image; without it the global generator's.

        Returns:
            Training: "objectness", "proposal_box", "class", "box", "mask", "semantic" and, with the centre cue,
            "centre", scalars of weight 1.
            Evaluation: one `Prediction` per image.

        Raises:
            ValueError: an image of the wrong shape, or targets missing in training.
        """
        check_images(images)
        if self.training:
            if targets is None:
                raise ValueError("training needs a target for each image, got none; call model.eval() to predict")
            return self._losses(images, [clean_target(t) for t in targets])
        if len({padded_size(i) for i in images}) > 1:  # an image's result must not depend on its neighbours
            return [prediction for image in images for prediction in self._predict([image])]
        return self._predict(images)

    def pyramid(self, batch: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) pixels 0..1, H and W multiples of 32 -> p4, p8, p16, p32."""
        return self.fpn(*self.backbone((batch - self.mean) / self.std))

    def _losses(self, images: Sequence[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        batch = pad_batch(images)
        pyramid = self.pyramid(batch.tensors)
        semantic = self.semantic_head(*pyramid, size=tuple(batch.tensors.shape[-2:]))
        losses = {"semantic": hard_pixel_loss(semantic, pad_allowed(targets, semantic.shape), self.hard_share)}
        rows = [i for i, t in enumerate(targets) if bool(t["things_known"])]
        if not rows:
            nothing = sum(p.sum() for p in pyramid) * 0.0
            names = ("objectness", "proposal_box", "class", "box", "mask", *(("centre",) if self.centre_head else ()))
            return losses | dict.fromkeys(names, nothing)
        known = ImageList(batch.tensors[rows], [batch.image_sizes[i] for i in rows])
        drawn = [targets[i] for i in rows]
        found = self.instance_head.losses(known, tuple(p[rows] for p in pyramid), drawn)
        if self.centre_head is not None:
            found["centre"] = centre_loss(self._centres(pyramid[0][rows], batch.tensors.shape[-2:]), drawn)
        return losses | {name: loss * (len(rows) / len(images)) for name, loss in found.items()}

    @torch.no_grad()
    def _predict(self, images: Sequence[Tensor]) -> list[Prediction]:
        batch = pad_batch(images)
        pyramid = self.pyramid(batch.tensors)
        semantic = self.semantic_head(*pyramid, size=tuple(batch.tensors.shape[-2:])).float()
        found = self.instance_head.detect(batch, pyramid, self._cue(pyramid[0], semantic, batch.image_sizes))
        return [
            Prediction(logits[:, :h, :w], to_instances(detections, masks, self.taxonomy), self.taxonomy)
            for logits, (h, w), (detections, masks) in zip(semantic, batch.image_sizes, found, strict=True)
        ]

    def _centres(self, p4: Tensor, size: Sequence[int]) -> Tensor:
        """p4 -> (B, 3, *size), what the centre head says of each pixel."""
        assert self.centre_head is not None
        return F.interpolate(self.centre_head(p4), size=tuple(size), mode="bilinear", align_corners=False)

    def _cue(self, p4: Tensor, semantic: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor] | None:
        """Boxes of the regions that the centre cue finds in each image; None without the cue."""
        if self.centre_head is None:
            return None
        thing = semantic.softmax(1)[:, self.taxonomy.num_stuff :].sum(1)
        said = zip(self._centres(p4, semantic.shape[-2:]), thing, sizes, strict=True)
        return [regions(o[:, :h, :w], t[:h, :w], self.centre_rules) for o, t, (h, w) in said]


def to_instances(found: Detections, mask_logits: Tensor, taxonomy: Taxonomy) -> Instances:
    """Detections with box labels 1..T -> `Instances` with the taxonomy's category ids; warns where the cap was met."""
    if found.capped:
        warnings.warn(
            f"more objects than the cap of {len(found.boxes)} for one image: the least certain were dropped; "
            "cut the image into smaller tiles",
            stacklevel=3,
        )
    ids = torch.tensor([0, *(c.id for c in taxonomy.things)], device=found.labels.device)
    return Instances(found.boxes.float(), ids[found.labels], found.scores.float(), mask_logits.float())


def numbered_taxonomy(num_stuff: int, num_things: int) -> Taxonomy:
    """A taxonomy of nameless classes, stuff first, for networks whose classes do not matter."""
    colors = [c for name, c in OKABE_ITO.items() if name != "black"]
    rows = (
        Category(i + 1, f"stuff {i + 1}" if i < num_stuff else f"thing {i + 1 - num_stuff}", i >= num_stuff,
                 colors[i % len(colors)])
        for i in range(num_stuff + num_things)
    )  # fmt: skip
    return Taxonomy(f"numbered-{num_stuff}-{num_things}", tuple(rows))


def check_images(images: Sequence[Tensor]) -> None:
    """Raise ValueError unless every image is (3, H, W) float with both sides at least 32 px."""
    for i, image in enumerate(images):
        shape = tuple(image.shape)
        if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
            raise ValueError(f"images must be float tensors (3, H, W), image {i} is {shape} of {image.dtype}")
        if min(image.shape[-2:]) < STRIDE:
            raise ValueError(f"images must be at least {STRIDE} px on each side, image {i} is {shape[-2:]}")


def clean_target(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The target without boxes that have no area, which no region could ever match."""
    boxes = target["boxes"]
    whole = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1) if len(boxes) else torch.zeros(0, dtype=torch.bool)
    return {**target, **{k: target[k][whole] for k in ("boxes", "labels", "masks")}}


def padded_size(image: Tensor) -> tuple[int, int]:
    """(H, W) rounded up to multiples of 32."""
    h, w = image.shape[-2:]
    return math.ceil(h / STRIDE) * STRIDE, math.ceil(w / STRIDE) * STRIDE


def pad_batch(images: Sequence[Tensor]) -> ImageList:
    """Images padded at the bottom and right to one size, a multiple of 32, by repeating their edge."""
    h = max(padded_size(i)[0] for i in images)
    w = max(padded_size(i)[1] for i in images)
    padded = [F.pad(i[None], (0, w - i.shape[2], 0, h - i.shape[1]), mode="replicate")[0] for i in images]
    return ImageList(torch.stack(padded), [tuple(i.shape[-2:]) for i in images])


def pad_allowed(targets: Sequence[Mapping[str, Tensor]], shape: torch.Size) -> Tensor:
    """Stack "allowed" to (B, K, H, W); in the padding every class is allowed, so it has no loss."""
    out = torch.ones(shape, dtype=torch.bool, device=targets[0]["allowed"].device)
    for row, target in zip(out, targets, strict=True):
        h, w = target["allowed"].shape[-2:]
        row[:, :h, :w] = target["allowed"]
    return out
