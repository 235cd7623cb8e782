"""The arms of the ablation: our default recipe, and eight others that differ from it in one thing each.

Every arm trains from the same start (ImageNet's backbone, heads drawn from the seed), sees the same crops in the same
order (`TrainConfig.seed`; without painted tiles there are others) and is judged on the same images, so the difference
of two arms is the thing left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pano_med.fusion import HeuristicRules, merge_heuristic
from pano_med.fusion.rules import PAPER_STUFF_FRACTION
from pano_med.models import EfficientPS, TwoNetworks
from pano_med.models.sampling import own_randomness
from pano_med.training.batches import read
from pano_med.training.config import TrainConfig
from pano_med.training.loop import FitResult, fit
from pano_med.training.recipe import SYNTHETIC, Ingredients
from pano_med.training.run import OnRow
from pano_med.training.sampler import name_of
from pano_med.training.validate import Fuse, Scores, at_mpp, fused, predict_sample
from pano_med.types import LazySample, Panoptic, Prediction, Sample, Taxonomy
from pano_med.weights import imagenet_lite0

#: The heuristic merge with our limits, so that the order in which things and stuff are merged is all that differs.
SAME_LIMITS = HeuristicRules(leftovers="stuff", min_stuff_fraction=PAPER_STUFF_FRACTION)


def merged(prediction: Prediction) -> Panoptic:
    """The map of a prediction by the heuristic merge, at the score cut, NMS and area limit of `fused`."""
    return merge_heuristic(prediction, SAME_LIMITS).panoptic


def unpainted(parts: Ingredients) -> Ingredients:
    """The recipe without its painted tiles.

    Raises:
        ValueError: nothing would be left to learn from.
    """
    train = [s for s in parts.train if s.source != SYNTHETIC]
    if not train:
        raise ValueError("an arm without painted tiles needs other images, the recipe has none; add a data set")
    return replace(parts, train=train, weights={k: w for k, w in parts.weights.items() if k != SYNTHETIC})


def taken_at_face_value(parts: Ingredients) -> Ingredients:
    """The recipe as if every label were complete: what nobody drew is not there."""
    return replace(parts, train=[_at_face_value(s) for s in parts.train])


def face_value(sample: Sample) -> Sample:
    """A sample read as a complete one: unlabelled pixels are the catch-all tissue, every category counts as drawn.

    The catch-all is the stuff whose name begins with "other", else the first stuff: the reading that is least wrong,
    so that the comparison is fair. Nuclei of unknown type keep that: a label that is there is not in question.
    """
    truth = sample.truth
    if truth is None:
        return sample
    stuff = truth.taxonomy.stuff
    rest = next((c for c in stuff if c.name.startswith("other")), stuff[0])
    classes = {s.id: s.category_id for s in truth.segments}
    crowds = [s.id for s in truth.segments if s.iscrowd]
    own = next((i for i, c in classes.items() if c == rest.id), max(classes, default=0) + 1)
    ids = np.where(truth.ids == 0, own, truth.ids)
    whole = Panoptic.from_ids(ids, classes | {own: rest.id}, truth.taxonomy, truth.pixel_size_um, crowds=crowds)
    return replace(sample, truth=whole, known=frozenset(c.id for c in truth.taxonomy.all))


def _at_face_value(item: Sample | LazySample) -> Sample | LazySample:
    return replace(item, read=partial(_read_whole, item)) if isinstance(item, LazySample) else face_value(item)


def _read_whole(item: LazySample) -> Sample:
    return face_value(item.read())


def _as_it_is(parts: Ingredients) -> Ingredients:
    return parts


@dataclass(frozen=True)
class Arm:
    """One way to train and judge.

    Attributes:
        name: what people call it.
        question: what comparing it with "full" answers, one plain sentence.
        network: (taxonomy, pretrained=...) -> the network.
        ingredients: what becomes of the recipe's images.
        changes: fields of `TrainConfig` that it sets.
        to_map: its fusion.
        trains_as: the arm whose trained network it judges; its own name but for a merge, which learns nothing.
    """

    name: str
    question: str
    network: Callable[..., nn.Module] = EfficientPS.small
    ingredients: Callable[[Ingredients], Ingredients] = _as_it_is
    changes: Mapping[str, Any] = field(default_factory=dict)
    to_map: Fuse = fused
    trains_as: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "trains_as", self.trains_as or self.name)


FULL = "full"
_ARMS = (
    Arm(FULL, "The recipe as it ships; every other arm is compared with it."),
    Arm("one-way pyramid", "Does a second path through the pyramid, from fine to coarse, help?",
        partial(EfficientPS.small, pyramid="one-way")),
    Arm("plain semantic head", "Do wide context and mismatch correction help, against the plain head of Panoptic FPN?",
        partial(EfficientPS.small, semantic="plain")),
    Arm("no centre cue", "Does it help crowded nuclei that every pixel points at the middle of its own?",
        partial(EfficientPS.small, centres=False)),
    Arm("heuristic merge", "Does the fusion beat the older merge, things first and stuff where they left room, on the "
        "predictions of the same network?", to_map=merged, trains_as=FULL),
    Arm("two networks", "Is one network with two heads better than two networks of the same backbone, an FCN and a "
        "Mask R-CNN, merged afterwards? (The pair has no centre cue: look at that arm too.)",
        TwoNetworks.small, to_map=merged),
    Arm("no partial labels", "Why tell the network what was labelled at all? Here every set is taken at face value: "
        "pixels that nobody labelled are other tissue, and where nobody drew nuclei there are none.",
        ingredients=taken_at_face_value),
    Arm("no stain augmentation", "Does it help to change the amounts of haematoxylin and eosin from crop to crop?",
        changes={"stain": False}),
    Arm("no painted tiles", "Do painted tiles, the only images with every label, help on real ones?",
        ingredients=unpainted),
)  # fmt: skip

#: Every arm by its name, "full" first.
ARMS: Mapping[str, Arm] = MappingProxyType({arm.name: arm for arm in _ARMS})


def find_arm(name: str) -> Arm:
    """The arm of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in ARMS:
        raise ValueError(f"no arm is called {name!r}; there are {', '.join(ARMS)}")
    return ARMS[name]


def train_arm(arm: str, parts: Ingredients, config: TrainConfig, out: str | Path,
              pretrained: Mapping[str, Tensor] | None = None, on_step: OnRow | None = None, progress: bool = True
              ) -> Scores:
    """Train an arm and judge it on the recipe's validation part, with the arm's own fusion.

    Args:
        arm: a name in `ARMS`.
        parts: the recipe, the same for every arm.
        config: the run, the same for every arm: its seed also draws the heads, and its `source_weights`, where empty,
            are the recipe's.
        out: folder of the run. A run in it goes on where it stopped, a finished one is only judged.
        pretrained: weights of the backbone, as `pano_med.weights.imagenet_lite0()` gives them; None = these.
        on_step, progress: see `pano_med.training.fit`.

    Raises:
        ValueError: an unknown arm, or what `fit` raises.
        Interrupted: Ctrl-C; the same call goes on.
    """
    model, _ = train(arm, parts, config, out, pretrained, on_step, progress)
    scores = Scores(model.taxonomy, find_arm(arm).to_map)
    for sample in validation(parts, config.model_mpp):
        scores.add(sample, predict_sample(model, sample, config.model_mpp))
    return scores


def train(arm: str, parts: Ingredients, config: TrainConfig, out: str | Path,
          pretrained: Mapping[str, Tensor] | None = None, on_step: OnRow | None = None, progress: bool = True
          ) -> tuple[nn.Module, FitResult]:
    """The first half of `train_arm`: the trained network, in evaluation mode, and its run.

    Validation during the run happens only where `config.val_every` asks for it; then the best weights count.
    """
    chosen = find_arm(arm)
    mine = chosen.ingredients(parts)
    gone = {s.source for s in parts.train} - {s.source for s in mine.train}
    sources = {k: w for k, w in (config.source_weights or parts.weights).items() if k not in gone}
    config = replace(config, source_weights=sources, **chosen.changes)
    pretrained = imagenet_lite0() if pretrained is None else pretrained
    with own_randomness(config.seed, torch.device("cpu")):
        model = chosen.network(taxonomy_of(parts), pretrained=pretrained)
    folder = Path(out)
    judged = mine.validation if config.val_every else []
    result = fit(model, mine.train, judged, config, folder, (folder / "last.json").exists(), on_step,
                 to_map=chosen.to_map, progress=progress)  # fmt: skip
    return model, result


def validation(parts: Ingredients, mpp: float) -> Iterator[Sample]:
    """The samples that judge every arm, at `mpp` micrometres per pixel; one that can't be read is named, left out."""
    for i, item in enumerate(parts.validation):
        try:
            sample = read(item)
        except (OSError, ValueError, EOFError) as error:
            warnings.warn(f"{name_of(item, i)} cannot be read and judges nothing: {error}", stacklevel=2)
            continue
        yield at_mpp(sample, mpp)


def taxonomy_of(parts: Ingredients) -> Taxonomy:
    """The table of classes that the recipe's images speak.

    Raises:
        ValueError: it has no image with a truth.
    """
    items: Iterable[Sample | LazySample] = (*parts.train, *parts.validation)
    for item in items:
        with suppress(OSError, ValueError, EOFError):
            truth = read(item).truth
            if truth is not None:
                return truth.taxonomy
    raise ValueError("an ablation needs labelled images, the recipe has none; choose a data set")
