"""`pano-med train`: the shipped recipe, or parts of it, through the loop of `pano_med.training`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from torch import nn

from pano_med.cli.app import say
from pano_med.data import items, load_split, read_card
from pano_med.formats import make_folder, replacing
from pano_med.models import EfficientPS, TwoNetworks
from pano_med.training import FitResult, TrainConfig, fit
from pano_med.training.batches import read
from pano_med.training.devices import is_first
from pano_med.training.lazy import lazy_split
from pano_med.training.lock import locked
from pano_med.training.recipe import HE_CORE_WEIGHTS, SYNTHETIC, Ingredients, he_core
from pano_med.types import HE_CORE, Sample
from pano_med.weights import imagenet_lite0
from pano_med.weights import load as load_weights
from pano_med.weights import save as save_weights

#: Each network begins from an ImageNet lite0; the pair is the baseline of 2018.
MODELS = {"efficientps": EfficientPS.small, "two_networks": TwoNetworks.small}
RECIPE = "recipe.json"
#: A set of more images is read image by image as training needs them, not held in memory.
HELD = 1000


@dataclass(frozen=True)
class Plan:
    """What a run is made of besides its config; kept in the run's folder, so that --resume needs no other option."""

    model: str = "efficientps"
    weights: str | None = None
    only: tuple[str, ...] = ()
    tiles: int = 32
    data_set: str | None = None

    def __post_init__(self) -> None:
        strangers = sorted(set(self.only) - set(HE_CORE_WEIGHTS))
        if strangers:
            raise typer.BadParameter(f"no source is called {strangers[0]!r}; there are {', '.join(HE_CORE_WEIGHTS)}")
        if self.model not in MODELS:
            raise typer.BadParameter(f"no model is called {self.model!r}; there are {', '.join(MODELS)}")

    def network(self) -> nn.Module:
        """The network to train."""
        taxonomy = read_card(self.data_set).taxonomy if self.data_set else HE_CORE
        if self.weights:
            model = load_weights(self.weights).model
            if model.taxonomy != taxonomy:
                raise ValueError(
                    f"the weights {self.weights} speak the classes of {model.taxonomy.name!r}, the data those of "
                    f"{taxonomy.name!r}; leave --weights out to begin from ImageNet's"
                )
            return model
        return MODELS[self.model](taxonomy, pretrained=imagenet_lite0())

    def ingredients(self, data: Path | None) -> Ingredients:
        """Its samples; a folder of data sets is needed for real ones only."""
        if self.data_set:
            return own_set(Path(self.data_set), data)
        chosen = {name: share for name, share in HE_CORE_WEIGHTS.items() if not self.only or name in self.only}
        if data is None and set(chosen) != {SYNTHETIC}:
            raise typer.BadParameter(
                "real images are needed: set PANO_MED_DATA or --data to their folder, or paint with --only synthetic"
            )
        return he_core(data or Path.cwd(), self.tiles, weights=chosen, on_broken=_left_out)


def own_set(path: Path, data: Path | None) -> Ingredients:
    """The samples of one data set by its card, which lies in the set's folder, or below `data`.

    Raises:
        ValueError: no image to learn from, or the card forbids training.
    """
    card = read_card(path)
    if not card.training:
        raise ValueError(f"the card {path} says that {card.name} is not for training; choose another set")
    if not (card.taxonomy.num_stuff and card.taxonomy.num_things):
        lost = "things" if card.taxonomy.num_stuff else "stuff"
        raise ValueError(f"a panoptic network learns stuff and things, the card {path} has no {lost}; label some too")
    root = card.path.parent if card.path.stem == "card" else data or Path.cwd()  # `data new` puts it into the folder
    if not card.windows and len(items(card, root)[0]) > HELD:
        train, validation = lazy_split(card, root)
    else:
        train, validation = load_split(card, root, on_broken=_left_out)
    if not train:
        raise ValueError(f"the card {path} deals no image that can be read into the part train; see its field 'split'")
    return Ingredients(train, validation, {card.name: 1.0})


def _left_out(name: str, error: Exception) -> None:
    if is_first():
        say(f"{name} cannot be read and is left out: {error}")


def _model_mpp(parts: Ingredients) -> float | None:
    """The data's own resolution where it is far from the default's, so that nothing is blown up; else None."""
    some = [s for s in parts.train if isinstance(s, Sample)] or [read(s) for s in parts.train[:5]]
    sizes = sorted(s.pixel_size_um for s in some if s.pixel_size_um)
    middle = sizes[len(sizes) // 2] if sizes else TrainConfig.model_mpp
    return None if 0.5 <= middle / TrainConfig.model_mpp <= 3 else middle


def run(out: Path, data: Path | None, resume: bool, plan: Plan, options: dict[str, Any]) -> None:
    """Train, then write weights that `pano-med segment --weights` takes."""
    data = data or (Path(os.environ["PANO_MED_DATA"]) if os.environ.get("PANO_MED_DATA") else None)
    config = None
    if resume:
        plan, config = _stored(out)
    elif (options["steps"] is None) == (options["minutes"] is None):
        raise typer.BadParameter("give either --steps or --minutes")
    parts = plan.ingredients(data)
    if plan.data_set and "model_mpp" not in options and (mpp := _model_mpp(parts)):
        options = {**options, "model_mpp": mpp}
    config = config or TrainConfig(**options, source_weights=parts.weights)
    network = plan.network()
    if is_first():  # with several devices every process comes here, and one of them writes and speaks
        say(f"{len(parts.train)} images to learn from, {len(parts.validation)} to judge by; the run is kept in {out}")
        if not resume:
            make_folder(out)
            with locked(out):
                _store(out, plan)
    result = fit(network, parts.train, parts.validation, config, out, resume)
    if is_first():
        _finish(network, result, plan, config, out)


def _store(out: Path, plan: Plan) -> None:
    if (out / "last.json").exists():
        raise FileExistsError(f"{out} already holds a run; add --resume to go on, or choose another folder")
    with replacing(out / RECIPE) as file:
        file.write(json.dumps(vars(plan), indent=1).encode())


def _stored(out: Path) -> tuple[Plan, TrainConfig]:
    """Plan and config of a run; its other options are not asked again.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: its files are broken.
    """
    try:
        table = json.loads((out / RECIPE).read_text(encoding="utf-8"))
        config = json.loads((out / "last.json").read_text(encoding="utf-8"))["config"]
        return Plan(**{**table, "only": tuple(table["only"])}), TrainConfig.from_dict(config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{out} holds no run to resume ({Path(error.filename).name} is missing)") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the run in {out} cannot be resumed, a file of it is broken: {error}") from error


def _finish(network: nn.Module, result: FitResult, plan: Plan, config: TrainConfig, out: Path) -> None:
    card = {
        "model_mpp": config.model_mpp,
        "data": sorted(config.source_weights),
        "recipe": {**vars(plan), **config.to_dict()},
        "scores": result.best,
    }
    path = save_weights(network, out / f"{out.resolve().name}.safetensors", card)
    best = {k: f"{v:.3f}" for k, v in (result.best or {}).items() if isinstance(v, float)}
    print(f"{result.steps} steps in {result.seconds / 60:.1f} minutes" + (f"; best validation: {best}" if best else ""))
    if result.ended != "finished":
        print(f"ended early: {result.ended}")
    if result.skipped:
        print(f"could not be read and was skipped: {', '.join(f'{k} ({n} x)' for k, n in result.skipped.items())}")
    print(f"use it: pano-med segment IMAGE --out results --weights {path}")
