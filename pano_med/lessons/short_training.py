"""What lesson 05 trains on and with: glands, a network that has a start, losses without training (torch)."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pano_med.data import items, load_split
from pano_med.lessons.painted_glands import GLANDS, UM, painted_glands
from pano_med.models import EfficientPS
from pano_med.models.sampling import own_randomness
from pano_med.training import Scores, TrainConfig, at_mpp, fit, predict_sample
from pano_med.training.devices import freeze_norms
from pano_med.transforms import eval_pipeline
from pano_med.types import Sample, Taxonomy
from pano_med.weights import load

#: The set of the lesson, and where its files are looked for.
SET, VARIABLE = "ebhi_polyp_glands", "PANO_MED_DATA"
#: The weights that give a start.
START = "he-nano"
#: Layers that tell classes apart.
_TELL_CLASSES = ("semantic_head.logits.", "instance_head.box_head.cls_score.")


@dataclass(frozen=True)
class Glands:
    """Samples of glands in stroma.

    Attributes:
        train: to learn from.
        validation: of other patients (or other painted fields), to judge by.
        real: whether people drew them.
        words: one sentence that says what this is.
    """

    train: list[Sample]
    validation: list[Sample]
    real: bool
    words: str

    @property
    def taxonomy(self) -> Taxonomy:
        """Stroma and glands."""
        return GLANDS


def glands(root: str | Path | None = None, count: tuple[int, int] = (24, 8)) -> Glands:
    """The glands of EBHI where their files are, else painted ones.

    Args:
        root: folder of the data sets; None = what the variable PANO_MED_DATA names.
        count: painted fields for training and for validation, where they must be painted.
    """
    folder = root or os.environ.get(VARIABLE)
    try:
        if not folder:
            raise FileNotFoundError(f"the variable {VARIABLE} names no folder")
        items(SET, folder)
    except FileNotFoundError as why:
        train, validation = (_painted(number, seed) for seed, number in enumerate(count))
        words = f"Painted glands stand in for the real ones, and numbers differ from those in the text, because {why}."
        return Glands(train, validation, False, words)
    dealt = load_split(SET, folder)
    groups = [len({s.group for s in part}) for part in (dealt.train, dealt.validation)]
    words = (f"Real glands of colon polyps (EBHI): {len(dealt.train)} images of {groups[0]} patients to learn from, "
             f"{len(dealt.validation)} of {groups[1]} other patients to judge by.")  # fmt: skip
    return Glands(dealt.train, dealt.validation, True, words)


def _painted(count: int, seed: int) -> list[Sample]:
    known = frozenset(c.id for c in GLANDS.categories)
    return [Sample(torch.from_numpy(image.transpose(2, 0, 1).copy()), truth, UM, "painted glands", f"{seed}-{i}", known,
                   name=f"glands-{seed}-{i}")
            for i, (image, truth) in enumerate(painted_glands(count, seed))]  # fmt: skip


def begun(taxonomy: Taxonomy, seed: int = 0, parts: Sequence[str] = ("",)) -> EfficientPS:
    """A network for these classes that begins from he-nano: every tensor that fits is taken, the others are drawn.

    Args:
        taxonomy: the classes to learn. Layers whose size depends on them begin anew.
        seed: of what is drawn.
        parts: how the names of the tensors begin that may be taken, ("backbone.", "fpn.") for example.
    """
    trained: Any = load(START).model
    with own_randomness(seed, torch.device("cpu")):
        model = EfficientPS.small(taxonomy, own_activation=trained.backbone.own_activation)
    own, taken = model.state_dict(), trained.state_dict()
    fits = {k: v for k, v in taken.items() if k.startswith(tuple(parts)) and k in own and v.shape == own[k].shape}
    if taxonomy != trained.taxonomy:  # what tells classes apart begins anew, even where the sizes happen to agree
        fits = {k: v for k, v in fits.items() if not k.startswith(_TELL_CLASSES)}
    model.load_state_dict(fits, strict=False)
    return model


def quality(model: nn.Module, samples: Iterable[Sample], mpp: float) -> dict[str, float]:
    """PQ of a model on samples, the columns of a validation row; the model stays in the mode it was in."""
    mode, scores = model.training, Scores(model.taxonomy)  # type: ignore[arg-type]
    model.eval()
    for sample in samples:
        small = at_mpp(sample, mpp)
        scores.add(small, predict_sample(model, small, mpp))
    model.train(mode)
    return scores.row()


def losses(model: nn.Module, samples: Sequence[Sample], mpp: float, seed: int = 0) -> dict[str, float]:
    """The losses of whole images, without learning from them: mean over samples of each part, and "loss", their sum.

    Batch norm uses its stored statistics and keeps them; whatever is drawn comes from the seed.
    """
    mode, look, sums = model.training, eval_pipeline(mpp), dict[str, float]()
    device = next(model.parameters()).device
    model.train()
    freeze_norms(model)
    for number, sample in enumerate(samples):
        image, target = look(sample)
        there = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in target.items()}
        with torch.no_grad(), own_randomness(seed + number, device):
            parts: Mapping[str, Any] = model([image.to(device)], [there])
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value) / len(samples)
    model.train(mode)
    return {"loss": sum(sums.values()), **sums}


def course(data: Glands, lr: float, steps: int, mpp: float, crop: int = 96) -> list[float]:
    """The loss of each step of a short run at a constant learning rate.

    A run whose loss is no number any more ends there; the steps that are left count as nan.
    """
    seen: list[float] = []
    config = TrainConfig(steps=steps, batch_size=2, crop_size=crop, model_mpp=mpp, lr=lr, warmup=0, final_lr=1.0)
    model = begun(data.taxonomy)
    with tempfile.TemporaryDirectory() as folder:
        try:
            fit(model, data.train, [], config, folder, on_step=lambda row: seen.append(row["loss"]), progress=False)
        except FloatingPointError as error:
            print(f"lr {lr:g}: {error}")
    return seen + [math.nan] * (steps - len(seen))
