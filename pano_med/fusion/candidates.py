"""What comes before every merge: checks of the numbers, the score cut and class-wise NMS."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from pano_med.fusion.rules import MergeRules
from pano_med.types import Instances, Prediction, Taxonomy


@dataclass(frozen=True)
class Candidates:
    """Indices of instances after the cuts, best score first (of equal scores the earlier instance first).

    Attributes:
        after_score: those that passed the score cut.
        after_nms: those that passed class-wise NMS too.
        dropped: reason ("score" or "nms") for each other instance.
    """

    after_score: tuple[int, ...]
    after_nms: tuple[int, ...]
    dropped: dict[int, str]


def select(instances: Instances, rules: MergeRules) -> Candidates:
    """Apply the score cut, then class-wise NMS on the boxes.

    Args:
        instances: N things; checked by `check_prediction`.
        rules: `passes` and `nms` are used.
    """
    scores, boxes = instances.scores.detach().cpu().double(), instances.boxes.detach().cpu().double()
    order = torch.argsort(scores, descending=True, stable=True)
    order = order[rules.passes(instances.scores.cpu())[order]]
    # batched_nms tells classes apart by shifting them beyond the largest coordinate, so none may be negative
    boxes = boxes[order] - boxes.min() if boxes.numel() else boxes
    keep = batched_nms(boxes, scores[order], instances.category_ids.cpu()[order], rules.nms)
    after_score, after_nms = order.tolist(), order[keep.sort().values].tolist()
    dropped = dict.fromkeys(sorted(set(range(len(instances))) - set(after_score)), "score")
    dropped |= dict.fromkeys(sorted(set(after_score) - set(after_nms)), "nms")
    return Candidates(tuple(after_score), tuple(after_nms), dropped)


def check_prediction(prediction: Prediction) -> None:
    """Refuse numbers that no merge can use.

    Raises:
        ValueError: a logit, box or score that is NaN or infinite, a score outside 0..1, a category that is no thing.
    """
    _check_semantic(prediction.semantic_logits, prediction.taxonomy)
    found = prediction.instances
    for what, values in (("mask logits", found.mask_logits), ("box", found.boxes), ("score", found.scores)):
        bad = _first(~values.isfinite())
        if bad is not None:
            raise ValueError(
                f"{what} of instance {bad} must be finite, found NaN or infinity; look for overflow in the network "
                "that made it"
            )
    bad = _first((found.scores < 0) | (found.scores > 1))
    if bad is not None:
        raise ValueError(f"a score lies between 0 and 1, instance {bad} has {found.scores[bad].item():g}")
    _check_things(found.category_ids, prediction.taxonomy)


def _check_semantic(logits: Tensor, taxonomy: Taxonomy) -> None:
    for channel, (category, plane) in enumerate(zip(taxonomy.channels, logits, strict=True)):
        if plane.sum().isfinite():  # one pass without a copy; only a suspicious sum is looked at pixel by pixel
            continue
        bad = int((~plane.isfinite()).sum())
        if bad:
            raise ValueError(
                f"semantic logits must be finite, channel {channel} ({category.name!r}) holds NaN or infinity in "
                f"{bad} of {plane.numel()} pixels; look for overflow in the network that made it"
            )


def _check_things(category_ids: Tensor, taxonomy: Taxonomy) -> None:
    things = {c.id for c in taxonomy.all if c.isthing}
    for index, category in enumerate(category_ids.tolist()):
        if category not in things:
            raise ValueError(
                f"an instance must be a thing of taxonomy {taxonomy.name!r} (ids {sorted(things)}), "
                f"instance {index} has category {category}"
            )


def _first(bad: Tensor) -> int | None:
    where = bad.nonzero()
    return int(where[0, 0]) if len(where) else None
