"""Chance that belongs to one image, so that a batch may be split over processes at will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_randomness(seed: int | None, device: torch.device) -> Iterator[None]:
    """torchvision's samplers know the global generator only: seed it inside, give it back as it was.

    Args:
        seed: 0 .. 2**63 - 1, or None: nothing is seeded, the global generator goes on.
        device: where the tensors are that are drawn from.
    """
    if seed is None:
        yield
        return
    others = [] if device.type in ("cpu", "mps") else [device.index or 0]
    with torch.random.fork_rng(devices=others, device_type=device.type):
        torch.manual_seed(seed)
        yield
