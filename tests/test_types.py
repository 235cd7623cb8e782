"""The doors check themselves: what fits passes unchanged, what does not is refused with one sentence."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from pano_med.types import HE_CORE, Category, Instances, Panoptic, Prediction, Sample, Segment, Taxonomy, count_ids

IDS = np.array([[1, 1, 0], [2, 2, 7]])
CLASSES = {1: 2, 2: 4, 7: 5}
RED = (255, 0, 0)


def panoptic() -> Panoptic:
    return Panoptic.from_ids(IDS, CLASSES, HE_CORE, 0.5, scores={2: 0.75}, crowds=[7])


def instances(count: int = 2, **changes: torch.Tensor) -> Instances:
    parts = {"boxes": torch.zeros(count, 4), "category_ids": torch.full((count,), 4), "scores": torch.ones(count),
             "mask_logits": torch.zeros(count, 28, 28)}  # fmt: skip
    return Instances(**(parts | changes))


def test_map_by_hand() -> None:
    p = panoptic()
    assert [(s.id, s.category_id, s.score, s.area, s.iscrowd) for s in p.segments] == [
        (1, 2, None, 2, False), (2, 4, 0.75, 2, False), (7, 5, None, 1, True)]  # fmt: skip
    assert p.ids.dtype == np.int32
    assert p.size == (2, 3)
    assert [s.id for s in p.things] == [2, 7]
    assert [s.id for s in p.stuff] == [1]
    np.testing.assert_array_equal(p.semantic(), [[2, 2, 0], [4, 4, 5]])
    np.testing.assert_array_equal(p.lookup({7: 9}), [[0, 0, 0], [0, 0, 9]])


def test_large_sparse_ids_are_counted_and_looked_up() -> None:
    ids = np.array([[0, 2_000_000_000], [5, 5]])
    assert count_ids(ids) == {5: 2, 2_000_000_000: 1}
    p = Panoptic.from_ids(ids, {5: 1, 2_000_000_000: 4}, HE_CORE)
    np.testing.assert_array_equal(p.semantic(), [[0, 4], [1, 1]])


def test_nobody_can_hand_the_constructor_counts_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The constructor always counts, and `from_ids` counts once."""
    wrong = (Segment(1, 2, area=5), Segment(2, 4, area=2), Segment(7, 5, area=1))
    with pytest.raises(TypeError):
        Panoptic(IDS, wrong, HE_CORE, 0.5, {1: 5, 2: 2, 7: 1})  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="segment 1 says it covers 5 px, the map holds 2"):
        Panoptic(IDS, wrong, HE_CORE, 0.5)
    calls = []
    monkeypatch.setattr("pano_med.types.panoptic.count_ids", lambda ids: calls.append(1) or count_ids(ids))
    made = panoptic()
    assert len(calls) == 1
    assert Panoptic(made.ids, made.segments, HE_CORE, 0.5).segments == made.segments
    assert len(calls) == 2


def test_doors_are_frozen_and_leave_the_callers_array_alone() -> None:
    kept = IDS.copy()
    p = panoptic()
    with pytest.raises(FrozenInstanceError):
        p.taxonomy = HE_CORE
    with pytest.raises(ValueError, match="read-only"):
        p.ids[0, 0] = 3
    np.testing.assert_array_equal(kept, IDS)
    assert replace(p, pixel_size_um=1.0).segments == p.segments  # and checks again


@pytest.mark.parametrize(
    ("ids", "segments", "words"),
    [
        (np.zeros((2, 2)), (), "must be an .H, W. integer array, got shape .2, 2. of float64"),
        (np.zeros(4, int), (), "must be an .H, W. integer array"),
        (np.array([[-1]]), (), "ids must fit 0..2.31-1, got -1..-1"),
        (np.array([[1]]), (), "only in the map: .1., only in the list: ..$"),
        (np.array([[0]]), (Segment(3, 1, area=1),), "only in the list: .3."),
        (np.array([[1]]), (Segment(1, 1, area=1), Segment(1, 2, area=1)), "listed once, got .1, 1."),
        (np.array([[1]]), (Segment(1, 99, area=1),), "segment 1 has category 99"),
        (np.array([[1]]), (Segment(1, 1, area=5),), "segment 1 says it covers 5 px, the map holds 1"),
    ],
)
def test_maps_that_disagree_are_refused(ids: np.ndarray, segments: tuple[Segment, ...], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        Panoptic(ids, segments, HE_CORE)


def test_more_refusals_of_maps() -> None:
    with pytest.raises(ValueError, match=r"needs a category, \[2, 7\] have none"):
        Panoptic.from_ids(IDS, {1: 1}, HE_CORE)
    with pytest.raises(ValueError, match="pixel_size_um must be a positive number"):
        Panoptic.from_ids(IDS, CLASSES, HE_CORE, 0.0)
    with pytest.raises(ValueError, match="segment id must be at least 1"):
        Segment(0, 1)
    with pytest.raises(ValueError, match="score lies between 0 and 1, segment 4 has 1.5"):
        Segment(4, 1, 1.5)


def test_taxonomy_is_one_table() -> None:
    assert [c.name for c in HE_CORE.channels] == [c.name for c in (*HE_CORE.stuff, *HE_CORE.things)]
    assert HE_CORE.channel("tumour") == 1
    assert HE_CORE.channel(4) == HE_CORE.num_stuff == 3
    assert HE_CORE["nucleus"] == HE_CORE.unclassed
    assert "nucleus" in HE_CORE
    assert 99 not in HE_CORE
    assert Taxonomy.from_dict(HE_CORE.to_dict()) == HE_CORE


def test_taxonomies_that_do_not_hold_are_refused() -> None:
    with pytest.raises(KeyError, match="has no category 99; it has 1 background"):
        HE_CORE[99]
    with pytest.raises(KeyError, match="has no channel: it means 'type unknown'"):
        HE_CORE.channel("nucleus")
    with pytest.raises(ValueError, match="category id may stand once in a taxonomy, 't' repeats .1."):
        Taxonomy("t", (Category(1, "a", True, RED), Category(1, "b", True, RED)))
    with pytest.raises(ValueError, match="`unclassed` must be a thing, 'b' of 't' is stuff"):
        Taxonomy("t", (Category(1, "a", True, RED),), Category(2, "b", False, RED))
    with pytest.raises(ValueError, match="a taxonomy needs name and categories"):
        Taxonomy.from_dict({"name": "t"})
    with pytest.raises(ValueError, match="a category id must be at least 1"):
        Category(0, "a", True, RED)
    with pytest.raises(ValueError, match="a category needs a name, category 1 has none"):
        Category(1, "", True, RED)
    with pytest.raises(ValueError, match="a colour is three numbers from 0 to 255"):
        Category(1, "a", True, (0, 0, 256))


def test_samples() -> None:
    image = torch.zeros(3, 2, 3)
    sample = Sample(image, panoptic(), known={7}, ignore=torch.zeros(2, 3, dtype=torch.bool))
    assert sample.size == (2, 3)
    assert sample.known == frozenset({7})
    with pytest.raises(ValueError, match=r"an image must be \(3, H, W\), tile has shape \(2, 3\)"):
        Sample(torch.zeros(2, 3), name="tile")
    with pytest.raises(ValueError, match=r"truth must cover the image \(4, 4\), the sample has \(2, 3\)"):
        Sample(torch.zeros(3, 4, 4), panoptic())
    with pytest.raises(ValueError, match="ignore must cover the image"):
        Sample(image, ignore=torch.zeros(9, 9))
    with pytest.raises(ValueError, match=r"`known` names categories \[99\] that taxonomy 'he-core' lacks"):
        Sample(image, panoptic(), known={99})


def test_instances_and_predictions() -> None:
    assert len(instances(0)) == 0
    with pytest.raises(ValueError, match=r"boxes \(N, 4\), category_ids \(N,\) and scores \(N,\)"):
        instances(2, scores=torch.ones(3))
    with pytest.raises(ValueError, match=r"mask logits must be \(N, M, M\) in their boxes' frames with N = 2"):
        instances(2, mask_logits=torch.zeros(2, 28, 14))
    assert Prediction(torch.zeros(6, 4, 5), instances(), HE_CORE).size == (4, 5)
    with pytest.raises(ValueError, match=r"must be \(6, H, W\) for taxonomy 'he-core', got \(5, 4, 5\)"):
        Prediction(torch.zeros(5, 4, 5), instances(), HE_CORE)
