"""The losses of EfficientPS, each normalised per image so that a batch may be split at will, each for partial labels.

Partial labels (Fang & Yan 2020; Shi et al. 2021): where the truth only says that a pixel or an object belongs to *one
of several* classes, the probability of that set is maximised: -log sum_{k in set} p_k. A set of one gives ordinary
cross-entropy, the set of all classes gives exactly zero.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Share of an image's pixels that the semantic loss keeps: the hardest quarter.
HARD_SHARE = 0.25


def set_cross_entropy(logits: Tensor, allowed: Tensor, dim: int = 1) -> Tensor:
    """-log of the probability that the class is in the allowed set.

    Args:
        logits: any shape with the classes along `dim`.
        allowed: bool, same shape; at least one class per element should be allowed.
        dim: the dimension of the classes.

    Returns:
        The loss per element, `dim` removed, at least 0; 0 where every class is allowed.
    """
    logits = logits.float()
    inside = logits.masked_fill(~allowed, float("-inf")).logsumexp(dim)
    loss = logits.logsumexp(dim) - inside
    # An empty set (inf) or a full one carries no information; a full one would leave rounding noise.
    return torch.where(allowed.all(dim) | ~allowed.any(dim), torch.zeros_like(loss), loss)


def hard_pixel_loss(logits: Tensor, allowed: Tensor, share: float = HARD_SHARE) -> Tensor:
    """Semantic loss on the hardest pixels of each image (Mohan & Valada 2021, equation 1).

    The paper weighs the worst 25 % of an image's pixels by 4 / (W H) and all others by 0: their mean. Pixels without
    information count in W H with loss 0, as in the authors' code. The authors' code sorts over the whole batch; we
    sort per image, so that the loss does not depend on how a batch is split.

    Args:
        logits: (B, K, H, W).
        allowed: (B, K, H, W) bool.
        share: share of pixels kept, 0..1.

    Returns:
        Scalar: the mean over images.
    """
    loss = set_cross_entropy(logits, allowed).flatten(1)  # (B, H W)
    keep = max(1, int(share * loss.shape[1]))
    return loss.topk(keep, dim=1, sorted=False).values.mean()


def class_loss(logits: Tensor, labels: Tensor, unknown: int) -> Tensor:
    """Mean loss of the box classifier over one image's regions.

    Args:
        logits: (R, 1 + T), background first.
        labels: (R,) 0 = background, 1..T = class, `unknown` = an object of unknown class.
        unknown: the label that stands for "some thing" (T + 1).
    """
    if not len(labels):
        return logits.sum() * 0.0
    allowed = F.one_hot(labels.clamp(max=unknown - 1), unknown).bool()
    allowed[labels == unknown] = torch.arange(unknown, device=labels.device) > 0
    return set_cross_entropy(logits, allowed).mean()


def box_loss(deltas: Tensor, targets: Tensor, count: int, beta: float) -> Tensor:
    """Smooth L1 over the positives of one image, divided by all regions sampled there (Girshick 2015).

    Args:
        deltas: (P, 4) predicted offsets of positives.
        targets: (P, 4) true offsets.
        count: regions sampled in the image, background included.
        beta: where the loss turns from square to linear.
    """
    return F.smooth_l1_loss(deltas.float(), targets, beta=beta, reduction="sum") / max(1, count)


def mask_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of (P, M, M) mask logits; 0 (with a gradient path) where P = 0."""
    if not len(logits):
        return logits.sum() * 0.0
    return F.binary_cross_entropy_with_logits(logits.float(), targets)
