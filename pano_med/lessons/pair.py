"""Lesson 02's two networks: their cards side by side, the stages of Mask R-CNN, and what both cost (torch)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pano_med.models import EfficientPS, TwoNetworks
from pano_med.models.efficientps import pad_batch
from pano_med.weights import shipped

#: The weights of the pair, and the network that it is compared with.
PAIR, ONE = "he-pair", "he-nano"
_COLUMNS = ("objects_pq", "things_pq", "stuff_pq", "stuff_iou")


def equal_steps() -> dict[int, dict[str, tuple[float, ...]]]:
    """By training step: (nuclei PQ, mean PQ of types, tissue PQ, tissue IoU) of both networks after as many steps.

    From the cards' histories, on the whole validation part: the pair's training, and the first of the four that made
    `he-nano`. Both were trained on the same draws of the same images; the painted tiles among them changed a little
    between the two runs.
    """
    cards = shipped()
    ours = _history(cards.get(ONE, {}))
    pair = _history(cards.get(PAIR, {}))
    return {step: {ONE: ours[step], "pair": pair[step]} for step in sorted(ours.keys() & pair.keys())}


def _history(card: dict[str, Any]) -> dict[int, tuple[float, ...]]:
    rows = card.get("scores", {}).get("history", [])
    return {row["step"]: tuple(row[name] for name in _COLUMNS) for row in rows if all(name in row for name in _COLUMNS)}


@dataclass(frozen=True)
class Stages:
    """What Mask R-CNN has in hand after each stage, for one image.

    Attributes:
        anchors: how many boxes were judged.
        proposals: (P, 4) boxes after the first stage, the surest first.
        boxes: (N, 4) boxes after the second stage, the surest first.
        scores: (N,) their scores.
        masks: (N, 28, 28) mask logits, each in the frame of its box.
    """

    anchors: int
    proposals: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    masks: np.ndarray


@torch.no_grad()
def stages(model: EfficientPS | TwoNetworks, pixels: Tensor) -> Stages:
    """Run the instance half of either network and keep what each stage gives.

    Args:
        model: in evaluation mode.
        pixels: (3, H, W) float 0..1.
    """
    batch = pad_batch([pixels])
    if isinstance(model, EfficientPS):
        head, pyramid = model.instance_head, model.pyramid(batch.tensors)
    else:
        head, pyramid = model.instance_net.head, model.instance_net.pyramid((batch.tensors - model.mean) / model.std)
    proposals = head.rpn(batch, dict(enumerate(pyramid)))[0][0]
    anchors = len(head.rpn.anchor_generator(batch, list(pyramid))[0])
    found, masks = head.detect(batch, pyramid)[0]
    return Stages(anchors, *(t.numpy() for t in (proposals, found.boxes, found.scores, masks)))


def seconds(calls: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """Median time of each of several calls.

    They take turns, so that whatever else the machine does meanwhile slows down all of them. One more round before
    the others warms up and is not counted.

    Args:
        calls: what to time, by name.
        rounds: how many times each is timed, 1 or more.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for _ in range(rounds + 1):
            for name, call in calls.items():
                began = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def parameters(module: nn.Module) -> int:
    """Numbers to learn in a module."""
    return sum(p.numel() for p in module.parameters())
