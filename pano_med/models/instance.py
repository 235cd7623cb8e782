"""The instance head: Mask R-CNN's two stages on the pyramid, with separable convolutions in the mask branch."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder, Matcher
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.ops import MultiScaleRoIAlign, batched_nms, box_iou, clip_boxes_to_image
from torchvision.ops.poolers import LevelMapper

from pano_med.models.layers import SeparableConv
from pano_med.models.losses import box_loss, class_loss, mask_loss
from pano_med.models.rpn import ProposalNetwork, centred_on
from pano_med.models.sampling import own_randomness

LEVELS = ("p4", "p8", "p16", "p32")
#: Masks computed together when predicting.
REGIONS_AT_ONCE = 64


@dataclass(frozen=True)
class RegionRules:
    """Numbers of the second stage.

    Attributes:
        samples: regions per image that the box losses look at.
        positive: share of positives among them, at most.
        min_score: detections below this score are dropped (0..1). Low, because the fusion makes the real cut.
        nms: overlap (IoU) above which the weaker of two detections is dropped.
        detections: detections per image, for `reference_px` pixels.
        reference_px: area that `detections` belongs to; larger images get proportionally more. None = fixed.
        min_side: detections thinner than this are dropped, in pixels.
        mask_margin: share of its width (height) by which a box is widened on both sides before its mask is drawn, so
            that a box that is a little too small does not cut the object. 0 = the paper.
    """

    samples: int = 256
    positive: float = 0.25
    min_score: float = 0.05
    nms: float = 0.5
    detections: int = 100
    reference_px: int | None = None
    min_side: float = 1.0
    mask_margin: float = 0.0


@dataclass(frozen=True)
class Detections:
    """Regions of one image after the box branch: boxes (N, 4), labels (N,) 1..T, scores (N,), capped or not."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    capped: bool


class BoxHead(nn.Module):
    """Two fully connected layers, then class scores and box offsets.

    Args:
        inputs: channels x 7 x 7 of a pooled region.
        hidden: units of both layers (1024 in the paper).
        num_things: T; there are T + 1 class scores.
        agnostic: one set of offsets for all classes instead of T + 1.
    """

    def __init__(self, inputs: int, hidden: int, num_things: int, agnostic: bool) -> None:
        super().__init__()
        self.fc6, self.fc7 = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        self.cls_score = nn.Linear(hidden, num_things + 1)
        self.bbox_pred = nn.Linear(hidden, 4 if agnostic else 4 * (num_things + 1))

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """(R, C, 7, 7) -> (R, T + 1) class logits, (R, 1 or T + 1, 4) offsets."""
        x = torch.relu(self.fc7(torch.relu(self.fc6(regions.flatten(1)))))
        return self.cls_score(x), self.bbox_pred(x).unflatten(1, (-1, 4))


class MaskHead(nn.Sequential):
    """Four separable convolutions, a deconvolution, one mask per class (or one for all): 14 x 14 -> 28 x 28."""

    def __init__(self, width: int, num_things: int, agnostic: bool) -> None:
        super().__init__(
            *(SeparableConv(width, width) for _ in range(4)),
            nn.ConvTranspose2d(width, width, 2, stride=2), nn.ReLU(inplace=True),
            nn.Conv2d(width, 1 if agnostic else num_things + 1, 1),
        )  # fmt: skip


class PlainMaskHead(nn.Sequential):
    """Mask head of Mask R-CNN (He et al. 2017): four plain 3 x 3 convolutions where EfficientPS has separable ones."""

    def __init__(self, width: int, num_things: int, agnostic: bool) -> None:
        super().__init__(
            *(m for _ in range(4) for m in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True))),
            nn.ConvTranspose2d(width, width, 2, stride=2), nn.ReLU(inplace=True),
            nn.Conv2d(width, 1 if agnostic else num_things + 1, 1),
        )  # fmt: skip


class InstanceHead(nn.Module):
    """Instance head of EfficientPS (Mohan & Valada 2021, section 3.4) after Mask R-CNN (He et al. 2017).

    With class-agnostic boxes and masks a detection is *one* object whose score is the probability of being a thing
    at all and whose label is its most probable class; an object of unknown class then trains everything but the class.
    With class-specific ones (the paper) a region may become one detection for each class, and an object of unknown
    class trains only the probability of being a thing.

    Args:
        rpn: proposal network.
        box_head: (R, C, 7, 7) -> class logits, offsets.
        mask_head: (R, C, 14, 14) -> (R, 1 or T + 1, M, M) logits.
        num_things: T.
        rules: its numbers.
    """

    def __init__(self, rpn: ProposalNetwork, box_head: nn.Module, mask_head: nn.Module, num_things: int,
                 rules: RegionRules) -> None:
        super().__init__()
        self.rpn, self.box_head, self.mask_head = rpn, box_head, mask_head
        self.box_align, self.mask_align = _align(7), _align(14)
        self.num_things, self.rules = num_things, rules
        self.coder = BoxCoder((10.0, 10.0, 5.0, 5.0))  # the inverse of the standard deviations .1 .1 .2 .2
        self.matcher = Matcher(0.5, 0.5, allow_low_quality_matches=False)
        self.sampler = BalancedPositiveNegativeSampler(rules.samples, rules.positive)

    @property
    def unknown(self) -> int:
        """Label of a thing whose class is unknown."""
        return self.num_things + 1

    def losses(self, images: ImageList, pyramid: tuple[Tensor, ...],
               targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The five instance losses, each the mean over images; targets as in `EfficientPS.forward`."""
        features = OrderedDict(zip(LEVELS, pyramid, strict=False))
        proposals, rpn = self.rpn(images, dict(enumerate(pyramid)), targets)
        chosen = [self._sample(p, t) for p, t in zip(proposals, targets, strict=True)]
        boxes, labels, matches = (list(column) for column in zip(*chosen, strict=True))
        logits, deltas = self.box_head(self.box_align(features, boxes, images.image_sizes))
        counts = [len(b) for b in boxes]
        per_image: dict[str, list[Tensor]] = {"class": [], "box": []}
        for score, delta, box, label, match, target in zip(
            logits.split(counts), deltas.split(counts), boxes, labels, matches, targets, strict=True
        ):
            per_image["class"].append(class_loss(score, label, self.unknown))
            per_image["box"].append(self._box_loss(delta, box, label, match, target))
        losses = {name: torch.stack(values).mean() for name, values in per_image.items()}
        losses["mask"] = self._mask_loss(features, images.image_sizes, boxes, labels, matches, targets)
        return {"objectness": rpn["loss_objectness"], "proposal_box": rpn["loss_rpn_box_reg"], **losses}

    @torch.no_grad()
    def _sample(self, proposals: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Proposals and true boxes of one image -> sampled boxes (R, 4), labels (R,), matched truth (R,)."""
        truth = target["boxes"].to(proposals.dtype)
        boxes = torch.cat([proposals, truth])
        labels = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        match = torch.zeros_like(labels)
        if len(truth):
            found = self.matcher(box_iou(truth, boxes))
            match = found.clamp(min=0)
            labels = torch.where(found >= 0, target["labels"][match], labels)
        labels[(labels == 0) & centred_on(boxes, target["ignore"])] = -1  # neither object nor background
        seed = target.get("seed")
        with own_randomness(None if seed is None else seed + 1, labels.device):  # other draws than the proposals'
            positive, negative = self.sampler([labels])
        keep = torch.where(positive[0].bool() | negative[0].bool())[0]
        return boxes[keep], labels[keep], match[keep]

    def _box_loss(self, deltas: Tensor, boxes: Tensor, labels: Tensor, match: Tensor,
                  target: dict[str, Tensor]) -> Tensor:
        rows, channel = self._trained(labels, deltas.shape[1])
        if not len(rows):
            return deltas.sum() * 0.0
        truth = self.coder.encode_single(target["boxes"][match[rows]].to(boxes.dtype), boxes[rows])
        return box_loss(deltas[rows, channel], truth, len(labels), beta=1.0)

    def _mask_loss(self, features: OrderedDict[str, Tensor], sizes: list[tuple[int, int]], boxes: list[Tensor],
                   labels: list[Tensor], matches: list[Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
        positive = [torch.where(label > 0)[0] for label in labels]
        regions = [
            widened(b[p], self.rules.mask_margin, size) for b, p, size in zip(boxes, positive, sizes, strict=True)
        ]
        logits = self.mask_head(self.mask_align(features, regions, sizes)) if sum(map(len, regions)) else None
        if logits is None:
            return features["p4"].sum() * 0.0
        losses = []
        for score, region, label, match, target in zip(
            logits.split([len(r) for r in regions]), regions, (x[p] for x, p in zip(labels, positive, strict=True)),
            (x[p] for x, p in zip(matches, positive, strict=True)), targets, strict=True,
        ):  # fmt: skip
            rows, channel = self._trained(label, score.shape[1])
            truth = score.new_zeros((0, *score.shape[-2:]))
            if len(rows):
                masks, side = target["masks"].float(), score.shape[-1]
                truth = project_masks_on_boxes(masks, region[rows].float(), match[rows], side)
            losses.append(mask_loss(score[rows, channel], truth))
        return torch.stack(losses).mean()

    def _trained(self, labels: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """Positives that train boxes and masks, and the output channel of each."""
        if channels == 1:
            rows = torch.where(labels > 0)[0]
            return rows, torch.zeros_like(rows)
        rows = torch.where((labels > 0) & (labels < self.unknown))[0]
        return rows, labels[rows]

    def detect(self, images: ImageList, pyramid: tuple[Tensor, ...],
               more: list[Tensor] | None = None) -> list[tuple[Detections, Tensor]]:
        """Detections of each image, each with its (N, M, M) mask logits in the frame of its box.

        Args:
            images: padded.
            pyramid: its features.
            more: boxes (N, 4) of each image that join the proposals.
        """
        features = OrderedDict(zip(LEVELS, pyramid, strict=False))  # a fifth level is for proposals only
        proposals, _ = self.rpn(images, dict(enumerate(pyramid)))
        if more is not None:
            proposals = [torch.cat([p, m.to(p)]) for p, m in zip(proposals, more, strict=True)]
        logits, deltas = self.box_head(self.box_align(features, proposals, images.image_sizes))
        counts = [len(p) for p in proposals]
        found = [
            self._decode(*per_image)
            for per_image in zip(logits.split(counts), deltas.split(counts), proposals, images.image_sizes, strict=True)
        ]
        found = [
            replace(f, boxes=widened(f.boxes, self.rules.mask_margin, size))
            for f, size in zip(found, images.image_sizes, strict=True)
        ]
        pairs = enumerate(zip(found, images.image_sizes, strict=True))
        return [(f, self._masks(features, i, f, size)) for i, (f, size) in pairs]

    def _masks(self, features: OrderedDict[str, Tensor], image: int, found: Detections,
               size: tuple[int, int]) -> Tensor:
        """(N, M, M) mask logits of one image, some regions at a time: a crowded tile must not decide peak memory."""
        own = OrderedDict((name, level[image : image + 1]) for name, level in features.items())
        masks = [self.mask_head(self.mask_align(own, [part], [size])) for part in found.boxes.split(REGIONS_AT_ONCE)]
        logits = torch.cat(masks)  # (N, 1 or T + 1, M, M)
        channel = found.labels if logits.shape[1] > 1 else torch.zeros_like(found.labels)
        return logits[torch.arange(len(channel), device=channel.device), channel]

    def _decode(self, logits: Tensor, deltas: Tensor, proposals: Tensor, size: tuple[int, int]) -> Detections:
        probability = logits.float().softmax(1)  # (R, T + 1)
        if deltas.shape[1] == 1:
            scores, labels = 1 - probability[:, 0], probability[:, 1:].argmax(1) + 1
            boxes = self.coder.decode_single(deltas[:, 0].float(), proposals)
        else:
            scores, rows = probability[:, 1:].flatten(), torch.arange(len(proposals), device=logits.device)
            labels = torch.arange(1, self.num_things + 1, device=logits.device).repeat(len(proposals))
            rows = rows.repeat_interleave(self.num_things)
            boxes = self.coder.decode_single(deltas[rows, labels].float(), proposals[rows])
        boxes = clip_boxes_to_image(boxes.reshape(-1, 4), size)
        whole = ((boxes[:, 2:] - boxes[:, :2]) >= self.rules.min_side).all(1) & (scores > self.rules.min_score)
        boxes, labels, scores = boxes[whole], labels[whole], scores[whole]
        groups = torch.zeros_like(labels) if deltas.shape[1] == 1 else labels
        keep = batched_nms(boxes, scores, groups, self.rules.nms)
        cap = self.rules.detections
        if self.rules.reference_px:
            cap = int(cap * max(1.0, size[0] * size[1] / self.rules.reference_px))
        kept = keep[:cap]
        return Detections(boxes[kept], labels[kept], scores[kept], capped=len(keep) > cap)


def widened(boxes: Tensor, margin: float, size: tuple[int, int]) -> Tensor:
    """(N, 4) boxes with `margin` of their width and height more on each side, cut at the border of the image."""
    more = (boxes[:, 2:] - boxes[:, :2]) * margin
    return clip_boxes_to_image(torch.cat([boxes[:, :2] - more, boxes[:, 2:] + more], 1), size) if margin else boxes


def _align(size: int) -> MultiScaleRoIAlign:
    """RoIAlign on the pyramid: level floor(log2(sqrt(area) / 56)), as in the FPN paper."""
    align = MultiScaleRoIAlign(list(LEVELS), size, sampling_ratio=2)
    # Set here, because torchvision guesses the strides from the first image it meets, wrongly if that one is tiny.
    align.scales, align.map_levels = [1 / 4, 1 / 8, 1 / 16, 1 / 32], LevelMapper(2, 5)
    return align


__all__ = ["LEVELS", "BoxHead", "Detections", "InstanceHead", "MaskHead", "PlainMaskHead", "RegionRules"]
