"""A network of two layers, painted squares and a noisy pipeline: a training run of a second. Also a program."""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pano_med.training import TrainConfig, fit
from pano_med.types import HE_CORE, Instances, Panoptic, Prediction, Sample

K = len(HE_CORE.channels)
CPU = {"accelerator": "cpu", "precision": "32-true", "batch_size": 2, "warmup": 2}


def samples(count: int, first: int = 0, source: str = "syn", bare: bool = False) -> list[Sample]:
    """32 px images: a dark square (a nucleus) on a tissue of its own shade; everything known."""
    return [_sample(first + i, source, bare) for i in range(count)]


def _sample(i: int, source: str, bare: bool) -> Sample:
    rng = np.random.default_rng(i)
    top, left = rng.integers(2, 18, 2)
    ids = np.ones((32, 32), np.int32)
    ids[top : top + 10, left : left + 10] = 2
    image = np.where(ids == 2, 0.2, 0.8) + rng.normal(0, 0.02, (3, 32, 32))
    truth = Panoptic.from_ids(ids, {1: 2 + i % 2, 2: 4 + i % 3}, HE_CORE, 0.5)
    known = {c.id for c in HE_CORE.categories}
    name = "bare" if bare else f"{source}{i}"
    return Sample(torch.tensor(image, dtype=torch.float32).clamp(0, 1), None if bare else truth, 0.5, source,
                  f"group{i}", known, name=name)


class FakePipeline:
    """Flips and noise, from the seed alone."""

    def set_random_state(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, sample: Sample) -> tuple[Tensor, dict[str, Tensor]]:
        noise = torch.tensor(self.rng.normal(0, 0.05, (3, 32, 32)), dtype=torch.float32)
        semantic = torch.tensor(sample.truth.semantic().astype(np.int64) - 1)
        image = sample.image + noise
        return (image.flip(-1), {"semantic": semantic.flip(-1)}) if self.rng.random() < 0.5 else (
            image, {"semantic": semantic})


class FakeNet(nn.Module):
    """Two convolutions with a norm; in training it also draws from torch's global generator, as torchvision does."""

    taxonomy = HE_CORE

    def __init__(self, width: int = 4, break_at: int = 0, kind: str = "loss", pause: float = 0,
                 noise: float = 0.01, forever: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.head = nn.Conv2d(width, K, 1)
        self.config = {"name": "fake"}
        self.calls, self.break_at, self.kind, self.pause, self.noise = 0, break_at, kind, pause, noise
        self.forever = forever

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None):
        logits = self.head(self.norm(self.conv(torch.stack(images))).relu())
        if not self.training:
            return [Prediction(x, self._instance(x), HE_CORE) for x in logits]
        time.sleep(self.pause)
        self.calls += 1
        loss = F.cross_entropy(logits, torch.stack([t["semantic"] for t in targets]))
        if self.calls == self.break_at or (self.forever and self.calls > self.break_at):
            loss = loss * torch.nan if self.kind == "loss" else loss + (logits.sum() * 0).sqrt()  # d sqrt(0) = inf
        noise = self.noise * (logits * torch.rand(logits.shape)).square().mean()
        return {"semantic": loss, "noise": noise}

    def _instance(self, logits: Tensor) -> Instances:
        """One box around where things outweigh stuff."""
        rows, columns = torch.nonzero(logits.argmax(0) >= HE_CORE.num_stuff, as_tuple=True)
        if not len(rows):
            return Instances(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0, 8, 8))
        box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()[None]
        thing = int(logits[HE_CORE.num_stuff :].amax((1, 2)).argmax())
        return Instances(box, torch.tensor([HE_CORE.things[thing].id]), torch.ones(1), torch.full((1, 8, 8), 5.0))


def main(folder: str, pause: str, *flags: str) -> None:
    """A run of 40 steps, a checkpoint after each; `pause` seconds per step give time to kill it."""
    torch.manual_seed(0)
    config = TrainConfig(steps=40, batch_size=2, warmup=4, val_every=10, lr=0.02, checkpoint_minutes=0,
                         accelerator="cpu", precision="32-true")
    net = FakeNet(pause=float(pause))
    fit(net, samples(4), samples(2, 50), config, Path(folder), "--resume" in flags, pipeline=FakePipeline())


if __name__ == "__main__":
    main(*sys.argv[1:])
