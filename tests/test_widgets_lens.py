"""LayerLens and what it looks at: maps kept by hooks, fields by gradient, choices from the page."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from torch import nn

from pano_med.lessons.layers import CHANNELS, SIDE, activation_bytes, record
from pano_med.lessons.recorded import Layer
from pano_med.models import EfficientPS, TwoNetworks
from pano_med.widgets import LayerLens
from pano_med.widgets.lens import viridis

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


def _stack() -> nn.Sequential:
    """Three layers whose fields are known: 3 x 3, then stride 2, then 3 x 3 with (row, column) dilation (1, 4)."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 80, 1, stride=2),
                         nn.Conv2d(80, 2, 3, padding=(1, 4), dilation=(1, 4)))  # fmt: skip


def test_maps_are_the_modules_own_up_to_half_a_step() -> None:
    net = _stack().eval()
    layers = record(net, IMAGE)
    assert [layer.name for layer in layers] == ["0", "1", "2"]
    assert [layer.shape for layer in layers] == [(5, 64, 96), (80, 32, 48), (2, 32, 48)]
    assert [layer.parameters for layer in layers] == [140, 480, 1442]
    pixels = torch.from_numpy(IMAGE.copy()).permute(2, 0, 1).float().div(255)[None]
    with torch.no_grad():
        truth = net(pixels)[0].numpy()
    for place, channel in enumerate(layers[2].channels):
        step = (layers[2].high[place] - layers[2].low[place]) / 255
        assert np.abs(layers[2].values(place) - truth[channel]).max() <= 0.51 * step
    spread = truth.std((1, 2))[layers[2].channels]
    assert (np.diff(spread) <= 0).all(), "the strongest map comes first"


def test_what_is_kept_stays_small_and_says_so() -> None:
    first, second, _ = record(_stack(), IMAGE)
    assert (first.maps.shape, first.shrunk) == ((5, SIDE // 2, 48), 2), "two by two cells became one"
    assert second.maps.shape == (CHANNELS, 32, 48)
    assert second.shape[0] == 80, "the shape tells what was really there"


def test_fields_are_what_the_kernels_reach() -> None:
    first, second, third = record(_stack(), IMAGE)
    most = [layer.sees[1] for layer in (first, second, third)]
    assert most[0] == (1.5, 1.5, 1.5, 1.5), "3 x 3 pixels around the middle of a pixel"
    # a cell at stride 2 reads an even pixel, half a pixel above and left of its own middle, and that one's neighbours
    assert most[1] == (2.0, 2.0, 1.0, 1.0)
    assert most[2] == (4.0, 10.0, 3.0, 9.0), "one cell up and down, four to each side"
    assert first.span == (64, 96)
    assert all(layer.sees is None for layer in record(_stack(), IMAGE, sees=False))


def test_networks_are_watched_part_by_part_and_left_as_they_were() -> None:
    torch.manual_seed(0)
    net = EfficientPS.small().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = record(net, IMAGE, ["fpn.output.*", "semantic_head", "*.rpn.head"], sees=False)
    layers = {layer.name: layer for layer in found}
    shapes = [(128, 16, 24), (128, 8, 12), (128, 4, 6), (128, 2, 3)]
    assert [layers[f"fpn.output.{i}"].shape for i in range(4)] == shapes
    assert layers["semantic_head"].shape == (6, 64, 96)
    assert "instance_head.rpn.head #4" in layers, "one layer for each call"
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules()), "no hook stays behind"


def test_activations_are_counted_in_bytes_of_innermost_modules() -> None:
    plain = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), nn.Conv2d(2, 1, 1, stride=2))
    assert activation_bytes(plain, IMAGE) == 4 * (2 * 2 * 64 * 96 + 32 * 48)
    pair = TwoNetworks.small()
    assert activation_bytes(pair, IMAGE) > 4 * 2 * 32 * 32 * 48, "both stems write 32 maps at half size"


@pytest.mark.parametrize(
    ("model", "image", "names", "error", "words"),
    [
        (None, IMAGE, None, TypeError, "needs a torch module, got NoneType"),
        (_stack(), IMAGE / 255, None, ValueError, r"must be \(H, W, 3\) uint8, got \(64, 96, 3\) of float64"),
        (_stack(), IMAGE[:16], None, ValueError, r"32 to 768 pixels a side, got \(16, 96\); cut a part"),
        (_stack(), IMAGE, ["9"], ValueError, "no module is called '9'; names look like 0, 1, 2"),
        (nn.Sequential(nn.Flatten()), IMAGE, None, ValueError, "none of the 1 chosen modules .* made maps"),
    ],
)
def test_wrong_questions_get_a_sentence(model, image, names, error, words) -> None:
    with pytest.raises(error, match=words):
        record(model, image, names)


def test_the_page_chooses_and_python_answers() -> None:
    layers = record(_stack(), IMAGE)
    lens = LayerLens(layers, IMAGE, title="a small net")
    assert [row["size"] for row in lens.layers] == ["5 × 64 × 96", "80 × 32 × 48", "2 × 32 × 48"]
    assert lens.shown["cells"] == [5, 32, 48]
    lens.set_state({"chosen": 2})
    assert lens.shown["cells"] == [2, 32, 48]
    assert lens.shown["data"] == layers[2].maps.tobytes()
    lens.set_state({"chosen": 7})
    assert "`chosen` is the number of a layer, 0 to 2, got 7" in lens.fault
    assert lens.still().dtype == np.uint8
    assert "2 strongest maps of 2 (Conv2d, 2 × 32 × 48)" in lens.alt()
    assert LayerLens(layers[:1]).alt().startswith("The 5 strongest maps of 0")


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        ((), ValueError, "at least one layer, got none"),
        (["fpn"], TypeError, "number 0 is str; make them with"),
        (3, TypeError, "takes a list of layers, got int"),
    ],
)
def test_no_layers_no_lens(layers, error, words) -> None:
    with pytest.raises(error, match=words):
        LayerLens(layers, IMAGE)


def test_a_layer_checks_itself() -> None:
    one = np.zeros(1)
    with pytest.raises(ValueError, match=r"must be \(K, h, w\) uint8, x has \(1, 2, 2\) of float64"):
        Layer("x", "Conv2d", (1, 2, 2), 0, one, np.zeros((1, 2, 2)), one, one)
    with pytest.raises(ValueError, match="each of the 1 maps of x needs a channel"):
        Layer("x", "Conv2d", (1, 2, 2), 0, one, np.zeros((1, 2, 2), np.uint8), np.zeros(2), one)


def test_the_colours_are_viridis() -> None:
    known = (np.array(mpl.colormaps["viridis"].colors) * 255).round()
    assert np.abs(viridis().astype(float) - known).max() <= 6
