"""The region proposal network: torchvision's, with losses per image, places to ignore and caps that grow with area."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from pano_med.models.losses import box_loss
from pano_med.models.sampling import own_randomness


@dataclass(frozen=True)
class ProposalRules:
    """Numbers of the proposal stage.

    Attributes:
        sizes: anchor sides in pixels for each pyramid level, finest first.
        ratios: heights / widths of anchors.
        pre_nms: (training, testing) best anchors per level before suppression, for `reference_px` pixels.
        post_nms: (training, testing) proposals per image after it, for `reference_px` pixels.
        min_score: proposals below this objectness are dropped when testing (0..1).
        reference_px: area the counts above belong to; larger images get proportionally more, so that crowded large
            images lose nothing. None = the paper's fixed counts.
        samples: anchors per image that the loss looks at, half of them positive.
    """

    sizes: tuple[tuple[int, ...], ...] = ((32,), (64,), (128,), (256,))
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    pre_nms: tuple[int, int] = (2000, 1000)
    post_nms: tuple[int, int] = (2000, 1000)
    min_score: float = 0.0
    reference_px: int | None = None
    samples: int = 256


class ProposalNetwork(RegionProposalNetwork):
    """RPN (Ren et al. 2015) as torchvision has it; what differs is in the module's first line.

    Args:
        width: channels of the pyramid.
        rules: its numbers.
    """

    def __init__(self, width: int, rules: ProposalRules) -> None:
        anchors = AnchorGenerator(rules.sizes, (rules.ratios,) * len(rules.sizes))
        super().__init__(
            anchors, RPNHead(width, anchors.num_anchors_per_location()[0]),
            fg_iou_thresh=0.7, bg_iou_thresh=0.3, batch_size_per_image=rules.samples, positive_fraction=0.5,
            pre_nms_top_n={}, post_nms_top_n={}, nms_thresh=0.7,
        )  # fmt: skip
        self.rules = rules
        self.area_factor = 1.0
        self.seeds: list[int | None] = []

    def forward(self, images, features, targets=None):  # type: ignore[no-untyped-def]
        """As in torchvision: (ImageList, features by level, targets) -> (proposals per image, losses)."""
        h, w = images.tensors.shape[-2:]
        self.area_factor = max(1.0, h * w / self.rules.reference_px) if self.rules.reference_px else 1.0
        self.score_thresh = 0.0 if self.training else self.rules.min_score
        self.seeds = [target.get("seed") for target in targets or ()]
        return super().forward(images, features, targets)

    def pre_nms_top_n(self) -> int:
        """Anchors kept per level before suppression, for the image at hand."""
        return int(self.rules.pre_nms[0 if self.training else 1] * self.area_factor)

    def post_nms_top_n(self) -> int:
        """Proposals kept per image, for the image at hand."""
        return int(self.rules.post_nms[0 if self.training else 1] * self.area_factor)

    def assign_targets_to_anchors(self, anchors, targets):  # type: ignore[no-untyped-def]
        """torchvision's assignment; unmatched anchors centred on ignored pixels take no part in the loss."""
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, anchor, target in zip(labels, anchors, targets, strict=True):
            label[(label == 0) & centred_on(anchor, target["ignore"])] = -1.0
        return labels, boxes

    def compute_loss(self, objectness, pred_bbox_deltas, labels, regression_targets):  # type: ignore[no-untyped-def]
        """Binary cross-entropy and smooth L1 (beta 1/9), normalised inside each image, then averaged over images."""
        positive, negative = self._sample(labels)
        objectness, deltas = objectness.view(len(labels), -1), pred_bbox_deltas.view(len(labels), -1, 4)
        scores, boxes = [], []
        for i, label in enumerate(labels):
            inside, chosen = positive[i].bool(), (positive[i] + negative[i]).bool()
            count = int(chosen.sum())
            score = F.binary_cross_entropy_with_logits(objectness[i][chosen].float(), label[chosen], reduction="sum")
            scores.append(score / max(1, count))
            boxes.append(box_loss(deltas[i][inside], regression_targets[i][inside], count, beta=1 / 9))
        return torch.stack(scores).mean(), torch.stack(boxes).mean()

    def _sample(self, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """torchvision's draw of anchors, image by image: an image with a seed draws the same in any batch."""
        pairs = []
        for label, seed in zip(labels, self.seeds or [None] * len(labels), strict=True):
            with own_randomness(seed, label.device):
                pairs.append(self.fg_bg_sampler([label]))
        return [p[0] for p, _ in pairs], [n[0] for _, n in pairs]


def centred_on(boxes: Tensor, mask: Tensor) -> Tensor:
    """(N,) bool: the centre of the box lies on a True pixel of the (H, W) mask; False outside the mask."""
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).floor().long().unbind(1)
    h, w = mask.shape
    inside = (x >= 0) & (y >= 0) & (x < w) & (y < h)
    return inside & mask[y.clamp(0, h - 1), x.clamp(0, w - 1)]
