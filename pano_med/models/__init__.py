"""The networks: EfficientPS and the two-network baseline that it replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pano_med.models.backbone import BACKBONES, Backbone
from pano_med.models.efficientps import EfficientPS
from pano_med.models.lean import lean
from pano_med.models.losses import HARD_SHARE
from pano_med.models.two_networks import TwoNetworks
from pano_med.types import Taxonomy

__all__ = ["BACKBONES", "Backbone", "EfficientPS", "TwoNetworks", "build", "lean"]


def build(config: Mapping[str, Any]) -> EfficientPS | TwoNetworks:
    """The network that `model.config` describes, with random weights, in training mode.

    Args:
        config: "name" ("efficientps", "two_networks" or "two_resnets"), "taxonomy" as by `Taxonomy.to_dict`, and the
            options of the class method.

    Raises:
        ValueError: a name that is none of these, or an entry is missing.
    """
    try:
        taxonomy = Taxonomy.from_dict(config["taxonomy"])
        if config["name"] == "efficientps":
            return EfficientPS.small(
                taxonomy, backbone=config["backbone"], own_activation=config["own_activation"],
                # older weights do not name these
                mask_margin=config.get("mask_margin", 0.0), hard_share=config.get("hard_share", HARD_SHARE),
                pyramid=config.get("pyramid", "two-way"), semantic=config.get("semantic", "wide context"),
                centres=config.get("centres", False),
            )
        if config["name"] == "two_networks":
            return TwoNetworks.small(taxonomy, variant=config["variant"], own_activation=config["own_activation"])
        if config["name"] == "two_resnets":
            return TwoNetworks.resnet(taxonomy)
    except KeyError as error:
        raise ValueError(f"a model configuration needs name, taxonomy and its options, {error} is missing") from error
    raise ValueError(f"a model is efficientps, two_networks or two_resnets, got {config['name']!r}")
