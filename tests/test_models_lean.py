"""The copy for prediction says what the network says: whole networks, odd sizes, strips, regions at the edge."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pano_med.models import EfficientPS, TwoNetworks, lean
from pano_med.models.bags import BagAlign
from pano_med.models.instance import _align
from pano_med.predict import load_segmenter
from pano_med.synthetic import he_tile
from pano_med.types import Prediction


def stirred(net: nn.Module) -> nn.Module:
    """The network with norms that do something: a fresh one has mean 0 and variance 1."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    return net.eval()


def same(ours: Prediction, theirs: Prediction) -> None:
    assert_close(ours.semantic_logits, theirs.semantic_logits, atol=1e-3, rtol=1e-3)
    assert len(ours.instances) == len(theirs.instances)
    assert_close(ours.instances.boxes, theirs.instances.boxes, atol=1e-2, rtol=1e-3)
    assert_close(ours.instances.scores, theirs.instances.scores, atol=1e-4, rtol=1e-3)
    assert_close(ours.instances.mask_logits, theirs.instances.mask_logits, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("make", [EfficientPS.small, TwoNetworks.small])
@pytest.mark.parametrize("strip", [1 << 30, 1 << 14], ids=["whole", "in strips"])
def test_random_networks_say_the_same(make: Callable[[], nn.Module], strip: int, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["pano_med.models.lean"], "STRIP_BYTES", strip)
    torch.manual_seed(0)
    net = stirred(make())
    slim = lean(net)
    assert not [m for m in slim.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.inference_mode():
        for image in (torch.rand(3, 97, 61), torch.rand(3, 32, 32)):
            same(slim([image])[0], net([image])[0])
        pair = [torch.rand(3, 64, 96), torch.rand(3, 64, 96)]
        for ours, theirs in zip(slim(pair), net(pair), strict=True):
            same(ours, theirs)


def test_the_shipped_weights_say_the_same_of_real_looking_tissue() -> None:
    image = torch.from_numpy(he_tile(2, (320, 416), pixel_size_um=0.25).image.copy()).permute(2, 0, 1) / 255
    net = load_segmenter(device="cpu").model
    with torch.inference_mode():
        ours, theirs = lean(net)([image])[0], net([image])[0]
    assert len(ours.instances) > 10
    same(ours, theirs)


def test_the_original_is_left_alone_and_what_is_no_network_comes_back() -> None:
    net = EfficientPS.small().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    slim = lean(net)
    assert net.training
    assert not slim.training
    assert list(before) == list(net.state_dict())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert not any(p.requires_grad for p in slim.parameters())
    assert lean("no network") == "no network"


@pytest.mark.parametrize("cells", [7, 14])
def test_regions_are_pooled_as_by_torchvision(cells: int) -> None:
    """Regions of every level, thin, outside, across the edge, on two images, in any memory order; in float64."""
    torch.manual_seed(0)
    align = _align(cells)
    order = torch.channels_last if cells == 7 else torch.contiguous_format
    sizes = {f"p{s}": (2, 8, 512 // s, 768 // s) for s in (4, 8, 16, 32)}
    levels = {k: torch.randn(*size, dtype=torch.float64).to(memory_format=order) for k, size in sizes.items()}
    corner, side = torch.rand(60, 2) * 800 - 50, torch.rand(60, 2) * torch.logspace(0, 2.8, 60)[:, None]
    boxes = torch.cat([corner, corner + side], 1).double()
    boxes[0], boxes[1] = torch.tensor([-300, -300, -200, -200]), torch.tensor([760, 500, 900, 700])
    for split in ([boxes[:25], boxes[25:]], [boxes, boxes[:0]], [boxes[:0], boxes[:0]]):
        expected = align(levels, split, [(512, 768)] * 2)
        found = BagAlign(align)(levels, split, [(512, 768)] * 2)
        assert_close(found, expected, atol=1e-9, rtol=1e-9)
