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
from pano_med.formats import make_folder, replacing
from pano_med.models import EfficientPS, TwoNetworks
from pano_med.training import FitResult, TrainConfig, fit
from pano_med.training.recipe import HE_CORE_WEIGHTS, SYNTHETIC, Ingredients, he_core
from pano_med.weights import imagenet_lite0
from pano_med.weights import load as load_weights
from pano_med.weights import save as save_weights

#: Each network begins from an ImageNet lite0; the pair is the baseline of 2018.
MODELS = {"efficientps": EfficientPS.small, "two_networks": TwoNetworks.small}
RECIPE = "recipe.json"


@dataclass(frozen=True)
class Plan:
    """What a run is made of besides its config; kept in the run's folder, so that --resume needs no other option."""

    model: str = "efficientps"
    weights: str | None = None
    only: tuple[str, ...] = ()
    tiles: int = 32

    def __post_init__(self) -> None:
        strangers = sorted(set(self.only) - set(HE_CORE_WEIGHTS))
        if strangers:
            raise typer.BadParameter(f"no source is called {strangers[0]!r}; there are {', '.join(HE_CORE_WEIGHTS)}")
        if self.model not in MODELS:
            raise typer.BadParameter(f"no model is called {self.model!r}; there are {', '.join(MODELS)}")

    def network(self) -> nn.Module:
        """The network to train."""
        if self.weights:
            return load_weights(self.weights).model
        return MODELS[self.model](pretrained=imagenet_lite0())

    def ingredients(self, data: Path | None) -> Ingredients:
        """Its samples; a folder of data sets is needed for real ones only."""
        chosen = {name: share for name, share in HE_CORE_WEIGHTS.items() if not self.only or name in self.only}
        if data is None and set(chosen) != {SYNTHETIC}:
            raise typer.BadParameter(
                "real images are needed: set PANO_MED_DATA or --data to their folder, or paint with --only synthetic"
            )
        return he_core(data or Path.cwd(), self.tiles, weights=chosen)


def run(out: Path, data: Path | None, resume: bool, plan: Plan, options: dict[str, Any]) -> None:
    """Train, then write weights that `pano-med segment --weights` takes."""
    data = data or (Path(os.environ["PANO_MED_DATA"]) if os.environ.get("PANO_MED_DATA") else None)
    config = None
    if resume:
        plan, config = _stored(out)
    elif (options["steps"] is None) == (options["minutes"] is None):
        raise typer.BadParameter("give either --steps or --minutes")
    parts = plan.ingredients(data)
    config = config or TrainConfig(**options, source_weights=parts.weights)
    network = plan.network()
    say(f"{len(parts.train)} images to learn from, {len(parts.validation)} to judge by; the run is kept in {out}")
    if not resume:
        _store(out, plan)
    result = fit(network, parts.train, parts.validation, config, out, resume)
    _finish(network, result, plan, config, out)


def _store(out: Path, plan: Plan) -> None:
    if (out / "last.json").exists():
        raise FileExistsError(f"{out} already holds a run; add --resume to go on, or choose another folder")
    make_folder(out)
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
    print(f"use it: pano-med segment IMAGE --out results --weights {path}")
