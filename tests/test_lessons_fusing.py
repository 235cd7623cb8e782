"""The fusion lab's merger: the rules by their names, every fate with its true numbers, and the two examples."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from pano_med.fusion import FusionRules, fuse
from pano_med.lessons.fusing import RULES, Merger
from pano_med.lessons.fusing_examples import Example, record, recorded, tiny
from pano_med.lessons.fusing_pictures import fits
from pano_med.types import Instances

RULE_NAMES = pytest.mark.parametrize("rule", list(RULES))


@pytest.fixture(scope="module")
def tile() -> Example:
    return recorded()


@pytest.fixture(scope="module")
def merge(tile: Example) -> Merger:
    return Merger(tile.prediction)


def test_the_paper_is_the_paper(tile: Example, merge: Merger) -> None:
    rules = replace(FusionRules.paper(), score=0.7, overlap=0.2, min_stuff_fraction=0.0)
    assert np.array_equal(merge("paper", 0.7, 0.2, 0).panoptic.ids, fuse(tile.prediction, rules).panoptic.ids)


@RULE_NAMES
def test_least_area_is_counted_in_whole_pixels(merge: Merger, rule: str) -> None:
    smallest = min(merge(rule).panoptic.stuff, key=lambda s: s.area)
    stays, goes = (merge(rule, min_area=smallest.area + more).panoptic for more in (0, 1))
    assert smallest.category_id in {s.category_id for s in stays.stuff}
    assert smallest.category_id not in {s.category_id for s in goes.stuff}


@RULE_NAMES
def test_layers_are_those_of_a_merge(merge: Merger, rule: str) -> None:
    every = merge.layers(rule)
    assert sorted(every) == list(range(len(merge.candidates)))
    for layer in merge(rule).trace.layers:
        assert layer.window == every[layer.instance].window
        assert np.array_equal(layer.mask_logits, every[layer.instance].mask_logits)
        if layer.fused_logits is not None:
            np.testing.assert_allclose(layer.fused_logits, every[layer.instance].fused_logits, rtol=1e-5, atol=1e-6)


@RULE_NAMES
@pytest.mark.parametrize("overlap", [0.1, 0.5])
def test_fates_tell_what_the_merge_did_with_true_numbers(merge: Merger, rule: str, overlap: float) -> None:
    fused = merge(rule, 0.4, overlap, 0)
    fates = merge.fates(fused, rule, 0.4, overlap)
    area = {s.id: s.area for s in fused.panoptic.segments}
    assert {i for i, fate in enumerate(fates) if fate.kept} == set(fused.kept)
    for index, fate in enumerate(fates):
        if fate.kept:
            assert fate.why == f"it owns {area[fused.kept[index]]} px"
        else:
            assert fate.reason == fused.dropped[index]
        if fate.reason == "overlap":  # the share, counted again on full canvases
            share, takers = _share(merge, fused, index)
            assert fate.why == f"{share:.0%} of its mask is taken by {takers}; more than {overlap:.0%} is too much"
        if fate.reason == "score":
            assert f"its score {merge.candidates[index].score:.2f} is" in fate.why


def _share(merge: Merger, fused: object, index: int) -> tuple[float, str]:
    size = merge.prediction.size

    def full(layer: object) -> np.ndarray:
        canvas = np.zeros(size, bool)
        y0, x0, y1, x1 = layer.window
        canvas[y0:y1, x0:x1] = layer.mask_logits > 0
        return canvas

    mine, number = full(merge.layers("heuristic")[index]), {i: c.number for i, c in enumerate(merge.candidates)}
    better = [layer for layer in fused.trace.layers if number[layer.instance] < number[index]]
    takers = [f"#{number[layer.instance]}" for layer in better if (full(layer) & mine).any()]
    return (np.any([full(layer) for layer in better], 0) & mine).sum() / mine.sum(), ", ".join(takers)


def test_doubles_name_the_better_one() -> None:
    example = tiny()
    found = example.prediction.instances
    twice = Instances(*(torch.cat([v, v[:1]]) for v in (found.boxes, found.category_ids)),
                      torch.tensor([0.9, 0.8, 0.7]), torch.cat([found.mask_logits, found.mask_logits[:1]]))
    merge = Merger(replace(example.prediction, instances=twice))
    fate = merge.fates(merge(), "paper", 0.5, 0.5)[2]
    assert fate.reason == "nms"
    assert fate.why == "a double of #1, same class and better score (IoU of the boxes 1.00, above 0.50)"


@pytest.mark.parametrize(
    ("rule", "second", "overlap", "words"),
    [
        ("paper", lambda one, two: torch.full_like(two, -1.0), 0.5, "not one pixel of its mask is positive"),
        ("paper", lambda one, two: two * 0.01, 0.5, "it took part, but at no pixel was its FL the largest"),
        ("heuristic", lambda one, two: one, 1.0, "it took part, but others had every pixel of its mask"),
    ],
)
def test_empty_and_beaten_masks_have_their_sentences(rule: str, second: Any, overlap: float, words: str) -> None:
    said = tiny().prediction
    one, two = said.instances.mask_logits
    boxes = said.instances.boxes[[0, 0] if overlap == 1 else [0, 1]]
    found = replace(said.instances, boxes=boxes, mask_logits=torch.stack([one, second(one, two)]))
    louder = said.semantic_logits * torch.tensor([9.0, 9, 1])[:, None, None]  # stuff is quite sure
    merge = Merger(replace(said, instances=found, semantic_logits=louder))
    merge.settings = partial(_without_nms, merge.settings)
    assert merge.fates(merge(rule, overlap=overlap), rule, 0.5, overlap)[1].why == words


def _without_nms(settings: Any, *arguments: Any) -> Any:
    return replace(settings(*arguments), nms=1.0)


def test_the_merger_keeps_a_copy() -> None:
    prediction = tiny().prediction
    merge = Merger(prediction)
    before = merge().panoptic.ids.copy()
    prediction.semantic_logits.zero_()
    prediction.instances.mask_logits.zero_()
    assert np.array_equal(merge().panoptic.ids, before)


def test_threads_of_torch_are_as_before() -> None:
    threads = torch.get_num_threads()
    Merger(tiny().prediction)()
    assert torch.get_num_threads() == threads


def test_wrong_settings_get_a_sentence(merge: Merger) -> None:
    with pytest.raises(ValueError, match=re.escape("the rule must be one of ('paper', ")):
        merge("papers")
    with pytest.raises(ValueError, match="between 0 and the image's 36864 px, got -1"):
        merge(min_area=-1)
    with pytest.raises(ValueError, match="`score` must lie between 0 and 1, got 2"):
        merge(score=2)
    with pytest.raises(TypeError, match="a Merger takes the Prediction of one image, got ndarray"):
        Merger(np.zeros((3, 8, 8)))


# -- the examples --------------------------------------------------------------------------------------------------


def test_the_tiny_example_shows_what_the_lesson_says() -> None:
    example = tiny()
    merge = Merger(example.prediction)
    winner = {rule: merge(rule).trace.intermediate for rule in RULES}
    shared = ([3, 4, 5], [5, 4, 3])
    assert winner["heuristic"][shared].tolist() == [3, 3, 3]  # 3 = the first layer, the better score
    assert winner["paper"][shared].tolist() == winner["official code"][shared].tolist() == [4, 4, 4]
    assert [winner[rule][3, 1] for rule in ("paper", "official code", "heuristic")] == [1, 3, 3]
    void = {rule: merge(rule).trace.void for rule in RULES}
    assert not void["paper"].any()
    assert void["official code"][:2, 6:].all()
    assert void["heuristic"][:2, 6:].all()


def test_the_fragment_lies_on_the_nuclei() -> None:
    merge = Merger(tiny(fragment=True).prediction)
    fates = merge.fates(merge(), "paper", 0.5, 0.5)
    assert [fate.reason for fate in fates] == ["kept", "kept", "overlap"]
    assert fates[2].why == "89% of its mask is taken by #1, #2; more than 50% is too much"


def test_the_recorded_tile_is_whole(tile: Example) -> None:
    assert tile.image.shape == (192, 192, 3)
    assert tile.truth.size == tile.prediction.size == (192, 192)
    assert (len(tile.truth.things), len(tile.truth.stuff), len(tile.prediction.instances)) == (21, 0, 30)
    assert "BSD-3-Clause" in tile.source


def test_what_is_recorded_comes_back(tile: Example, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(tmp_path / "x.safetensors", tile)
    monkeypatch.setattr("pano_med.lessons.fusing_examples.RECORDED", tmp_path / "x.safetensors")
    again = recorded()
    assert torch.equal(again.prediction.semantic_logits, tile.prediction.semantic_logits)
    assert torch.equal(again.prediction.instances.mask_logits, tile.prediction.instances.mask_logits)
    assert np.array_equal(again.truth.ids, tile.truth.ids)
    monkeypatch.setattr("pano_med.lessons.fusing_examples.RECORDED", tmp_path / "gone.safetensors")
    with pytest.raises(FileNotFoundError, match="gone.safetensors should stand in .*; reinstall the package"):
        recorded()


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda a, b: 1.0, r"gives the shapes \(\) and \(\)"),
        (lambda a, b: None, r"gives the shapes \(\) and \(\)"),
        (lambda a, b: np.ravel(a + b), r"gives the shapes \(6,\) and \(1,\)"),
        (lambda a, b: a @ b, "stops with ValueError: "),
        (lambda a, b: a * np.nan, "gives NaN or infinity"),
    ],
)
def test_a_wrong_fl_gets_a_sentence(wrong: Any, found: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not fits(wrong)
    said = capsys.readouterr().out
    assert re.search(f"finite number for each pair, but it {found}.*exercise 4.3, then run this cell again", said)


def test_any_fl_of_the_right_shape_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert fits(lambda a, b: a + b)
    assert capsys.readouterr().out == ""

    def stub(a: Any, b: Any) -> Any:
        raise NotImplementedError("exercise 4.3: write fused(a, b)")

    with pytest.raises(NotImplementedError, match=r"exercise 4\.3"):
        fits(stub)
