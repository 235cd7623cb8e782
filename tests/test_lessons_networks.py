"""What lessons 02 and 03 stand on: trained score layers, stages of Mask R-CNN, cards side by side, pictures."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from pano_med.lessons import insides, pair_pictures
from pano_med.lessons.effort import more
from pano_med.lessons.pair import equal_steps, seconds, stages
from pano_med.lessons.skips import field, normalised, paint, scores, train_scores
from pano_med.metrics import Story
from pano_med.models import Backbone, TwoNetworks
from pano_med.models.fcn import FCN
from pano_med.types import HE_CORE


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return Backbone().eval()


def test_painted_fields_speak_in_channels() -> None:
    made = field(7)
    names = {c.name for c in HE_CORE.channels}
    painted = {HE_CORE.channels[n].name for n in made.wanted.unique().tolist()}
    true = {HE_CORE[s.category_id].name for s in made.tile.truth.segments}
    assert painted == true
    assert painted <= names


@pytest.mark.parametrize("variant", ["32s", "16s", "8s"])
def test_scores_of_endpoints_are_those_of_the_whole_network(backbone: Backbone, variant: str) -> None:
    net, made = FCN(backbone, 6, variant).eval(), field(1)
    with torch.no_grad():
        ends = dict(zip(("c4", "c8", "c16", "c32"), backbone(normalised(backbone, made.pixels)), strict=True))
        coarse = scores(net.score, ends)
        whole = torch.nn.functional.interpolate(coarse, size=(256, 256), mode="bilinear", align_corners=False)
        assert torch.allclose(whole, net(normalised(backbone, made.pixels)), atol=1e-5)


def test_only_the_score_layers_learn(backbone: Backbone) -> None:
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    fields = [field(i) for i in range(4)]
    net, again = (train_scores("16s", backbone, fields, steps=3) for _ in range(2))
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert torch.equal(net.score["c16"].weight, again.score["c16"].weight), "the same seed, the same layers"
    longer = train_scores("16s", backbone, fields, steps=30)
    right = [np.mean([(paint(n, f) == f.wanted.numpy()).mean() for f in fields]) for n in (net, longer)]
    assert right[1] > right[0]


def test_cards_are_compared_at_equal_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    table = equal_steps()
    assert 600 in table
    assert table[600]["he-nano"][0] > table[600]["pair"][0], "one network is ahead at nuclei"
    assert table[600]["he-nano"][3] < table[600]["pair"][3], "and behind at tissue"
    row = {"step": 1200, "objects_pq": 0.5, "things_pq": 0.4, "stuff_pq": 0.3, "stuff_iou": 0.2}
    later = row | {"objects_pq": 0.6}
    cards = {
        "he-nano": {"scores": {"history": [row | {"step": 600}, later]}},
        "he-pair": {"scores": {"history": [row, row | {"step": 1800}]}},
    }
    monkeypatch.setattr("pano_med.lessons.pair.shipped", lambda: cards)
    assert equal_steps() == {1200: {"he-nano": (0.6, 0.4, 0.3, 0.2), "pair": (0.5, 0.4, 0.3, 0.2)}}


def test_stages_end_in_the_networks_own_boxes() -> None:
    torch.manual_seed(0)
    net = TwoNetworks.small().eval()
    pixels = torch.rand(3, 64, 64)
    stage = stages(net, pixels)
    own = net([pixels])[0].instances
    assert stage.anchors == 6 * (16**2 + 8**2 + 4**2 + 2**2)
    assert np.allclose(stage.boxes, own.boxes.numpy())
    assert stage.masks.shape[1:] == (28, 28)


def test_calls_that_are_timed_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    clock = iter([0, 9, 0, 90, 0, 1, 0, 10, 0, 2, 0, 20, 0, 6, 0, 60])  # the first round warms up
    monkeypatch.setattr("pano_med.lessons.pair.time.perf_counter", lambda: next(clock))
    taken = seconds({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, rounds=3)
    assert turns == ["a", "b"] * 4
    assert taken == {"a": 2, "b": 20}


@pytest.mark.parametrize(("found", "does"), [(False, 3), (True, 8)])
def test_an_accelerator_does_more(monkeypatch: pytest.MonkeyPatch, found: bool, does: int) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: found)
    assert more(3, accelerator=8) == does


def test_the_reach_is_written_above_the_dots() -> None:
    cells = np.zeros((9, 9), bool)
    cells[3:6, [0, 4, 8]] = True
    figure = insides.fields({"x": cells})
    assert figure.axes[0].get_title() == "x\n3 × 9 cells"
    plt.close(figure)


def test_contradictions_are_told_by_hatching_too() -> None:
    story = np.zeros((8, 8), np.uint8)
    for kind in Story:
        story[kind] = kind
    figure = pair_pictures.stories(np.zeros((8, 8, 3), np.uint8), {"a network": story})
    words = [t.get_text() for t in figure.legends[0].get_texts()]
    assert len(words) == 4, "both heads say tissue: nothing is drawn"
    hatches = [patch.get_hatch() for patch in figure.legends[0].get_patches()]
    assert len(set(hatches)) == 4, "each kind has its own hatching, or none"
    plt.close(figure)


def test_bars_say_their_bands() -> None:
    figure = pair_pictures.bands([0, 1, np.inf], {"a": [0.5, 0.75]})
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0 to 1 µm", "beyond 1 µm"]
    assert "75%" in [t.get_text() for t in figure.axes[0].texts]
    plt.close(figure)
