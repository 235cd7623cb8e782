"""Real networks behind `Segmenter`: the shipped weights, and the baseline with its own merge."""

from __future__ import annotations

import numpy as np
import torch

from pano_med.fusion import HeuristicRules
from pano_med.models import TwoNetworks
from pano_med.predict import Segmenter, load_segmenter
from pano_med.synthetic import he_tile
from pano_med.weights import LoadedWeights


def test_two_networks_pass_the_same_door_with_the_heuristic_merge() -> None:
    torch.manual_seed(0)
    net = TwoNetworks.small().eval()
    segmenter = Segmenter(LoadedWeights(net, {"model_mpp": 0.25, "config": net.config}), "cpu")
    assert isinstance(segmenter.rules, HeuristicRules)
    assert segmenter(he_tile(0, (64, 64)).image, 0.5).panoptic.size == (64, 64)


def test_shipped_weights_find_painted_nuclei() -> None:
    """Most painted nuclei are found where they are."""
    tile = he_tile(3, (256, 256), pixel_size_um=0.5)
    result = load_segmenter(device="cpu")(tile.image, 0.5)
    truth = np.isin(tile.truth.ids, [s.id for s in tile.truth.things])
    found = np.isin(result.panoptic.ids, [s.id for s in result.panoptic.things])
    assert (truth & found).sum() / (truth | found).sum() > 0.5
