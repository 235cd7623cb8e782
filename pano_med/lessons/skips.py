"""Lesson 02's experiment: FCN-32s, 16s and 8s on one frozen backbone, trained on painted tiles in seconds (torch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pano_med.models import Backbone
from pano_med.models.fcn import FCN
from pano_med.synthetic import SyntheticTile, he_tile

#: Side and pixel size of the painted tiles.
SIDE, PIXEL_UM = 256, 0.25


@dataclass(frozen=True)
class Field:
    """A painted tile as numbers for learning.

    Attributes:
        tile: picture and exact truth.
        pixels: (3, H, W) float 0..1.
        wanted: (H, W) int64, the channel of each pixel in the order of the taxonomy.
    """

    tile: SyntheticTile
    pixels: Tensor
    wanted: Tensor


def field(seed: int) -> Field:
    """Paint a tile and translate its truth into channels."""
    tile = he_tile(seed, (SIDE, SIDE), pixel_size_um=PIXEL_UM)
    table = np.zeros(max(c.id for c in tile.truth.taxonomy.all) + 1, np.int64)
    for number, category in enumerate(tile.truth.taxonomy.channels):
        table[category.id] = number
    pixels = torch.from_numpy(tile.image.copy()).permute(2, 0, 1).float() / 255
    return Field(tile, pixels, torch.from_numpy(table[tile.truth.semantic()]))


def train_scores(variant: str, backbone: Backbone, fields: Sequence[Field], steps: int = 150, batch: int = 4,
                 rate: float = 0.02, seed: int = 0) -> FCN:
    """An FCN whose 1 x 1 score layers learn on these tiles; the backbone is shared, frozen and looked at once.

    Args:
        variant: "32s", "16s" or "8s".
        backbone: stays as it is.
        fields: tiles to learn from, at least `batch`.
        steps: of Adam, each on `batch` tiles.
        batch: tiles a step.
        rate: learning rate at the start; it falls to zero along a cosine.
        seed: of the score layers' start and of the draws.

    Returns:
        The network in evaluation mode.
    """
    torch.manual_seed(seed)
    net = FCN(backbone, len(fields[0].tile.truth.taxonomy.channels), variant)
    net.eval()  # the backbone's batch norms keep their averages
    wanted = torch.stack([f.wanted for f in fields])
    seen = _endpoints(backbone, fields)
    optimizer = torch.optim.AdamW(net.score.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw = np.random.default_rng(seed)
    for _ in range(steps):
        rows = torch.from_numpy(draw.choice(len(fields), batch, replace=False))
        logits = scores(net.score, {end: maps[rows] for end, maps in seen.items()})
        # Every second pixel is enough to learn from, and four times quicker.
        logits = F.interpolate(logits, size=(SIDE // 2, SIDE // 2), mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, wanted[rows, ::2, ::2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net


def scores(layers: nn.ModuleDict, ends: dict[str, Tensor]) -> Tensor:
    """Coarse scores enlarged and added to finer ones, as `FCN.forward` does, on endpoints that are there already."""
    logits = None
    for end, layer in layers.items():  # coarsest first
        finer = layer(ends[end])
        enlarged = 0 if logits is None else F.interpolate(logits, size=finer.shape[-2:], mode="bilinear",
                                                          align_corners=False)  # fmt: skip
        logits = finer + enlarged
    return logits


@torch.no_grad()
def _endpoints(backbone: Backbone, fields: Sequence[Field]) -> dict[str, Tensor]:
    """c4..c32 of each tile, stacked."""
    found = [backbone(normalised(backbone, f.pixels)) for f in fields]
    return {name: torch.cat(maps) for name, maps in zip(("c4", "c8", "c16", "c32"), zip(*found, strict=True),
                                                        strict=True)}  # fmt: skip


def normalised(backbone: Backbone, pixels: Tensor) -> Tensor:
    """(3, H, W) pixels 0..1 -> the (1, 3, H, W) batch that the backbone expects."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
    return (pixels[None] - mean) / std


@torch.no_grad()
def paint(net: FCN, field: Field) -> np.ndarray:
    """(H, W) int64: the channel with the largest score in each pixel."""
    return net(normalised(net.backbone, field.pixels))[0].argmax(0).numpy()
