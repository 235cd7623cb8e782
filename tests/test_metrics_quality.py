"""PQ by the COCO rule: a slow oracle, invariants, hand-made cases, bad input."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_cases import SMALL, random_map, random_pair, slow_pq, table

from pano_med.metrics import PQCounts, panoptic_quality, things_only, things_quality, total
from pano_med.metrics import overlap as overlap_module
from pano_med.metrics.overlap import thing_class
from pano_med.types import HE_CORE, Panoptic

seeds = st.integers(0, 10**6)
thorough = settings(max_examples=150, deadline=None, derandomize=True)
some = settings(max_examples=40, deadline=None, derandomize=True)


def columns(counts: PQCounts) -> dict[int, list[float]]:
    rows = zip(counts.taxonomy.all, counts.tp, counts.fp, counts.fn, counts.iou, strict=True)
    return {c.id: [tp, fp, fn, pytest.approx(iou, abs=1e-12)] for c, tp, fp, fn, iou in rows}


def equal(a: PQCounts, b: PQCounts) -> None:
    for name in ("tp", "fp", "fn", "iou"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=1e-12, err_msg=name)


def strip(ids, kinds, taxonomy=SMALL, **more) -> Panoptic:
    """A map of one row."""
    return Panoptic.from_ids(np.array([ids]), kinds, taxonomy, **more)


@thorough
@given(seeds, st.booleans())
def test_equals_the_slow_oracle(seed, background):
    truth, prediction = random_pair(seed)
    counts = panoptic_quality(truth, prediction, void_is_background=background)
    assert columns(counts) == slow_pq(truth, prediction, background)


@some
@given(seeds, st.booleans())
def test_equals_the_slow_oracle_with_ignored_pixels(seed, background):
    truth, prediction = random_pair(seed)
    ignore = np.random.default_rng(seed).random(truth.size) < 0.3
    counts = panoptic_quality(truth, prediction, void_is_background=background, ignore=ignore)
    assert columns(counts) == slow_pq(truth, prediction, background, ignore)


@some
@given(seeds)
def test_a_map_against_itself_is_perfect(seed):
    panoptic = random_map(np.random.default_rng(seed), crowds=False)
    counts = panoptic_quality(panoptic, panoptic)
    assert counts.mean() == pytest.approx((1, 1, 1))
    assert not counts.fp.any()
    assert not counts.fn.any()


@some
@given(seeds)
def test_renumbering_changes_nothing(seed):
    truth, prediction = random_pair(seed)
    rng = np.random.default_rng(seed)
    new = dict(zip([s.id for s in prediction.segments], _numbers(rng), strict=False))
    segments = tuple(replace(s, id=new[s.id]) for s in prediction.segments)
    renumbered = replace(prediction, ids=prediction.lookup(new), segments=segments)
    equal(panoptic_quality(truth, prediction), panoptic_quality(truth, renumbered))


def _numbers(rng):
    return [int(i) for i in rng.choice(2**31 - 2, 100, replace=False) + 1]


@some
@given(seeds)
def test_counts_add(seed):
    pairs = [random_pair(seed + i) for i in range(3)]
    parts = [panoptic_quality(*pair) for pair in pairs]
    slow = [slow_pq(*pair) for pair in pairs]
    together = {c: [pytest.approx(sum(s[c][k] for s in slow)) for k in range(4)] for c in slow[0]}
    assert columns(sum(parts)) == together
    equal(sum(parts), total(parts))
    equal(parts[0] + PQCounts.zero(SMALL), parts[0])


@some
@given(seeds)
def test_many_pairs_are_counted_like_few(seed):
    """Maps with more possible pairs than a table holds take another way to the same counts, strip by strip."""
    truth, prediction = random_pair(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap_module, "_STRIP", 50)
        by_table = overlap_module.overlap(truth, prediction)
        patch.setattr(overlap_module, "_MAX_CELLS", 0)
        by_sorting = overlap_module.overlap(truth, prediction)
    for name in ("t", "p", "n"):
        np.testing.assert_array_equal(getattr(by_table, name), getattr(by_sorting, name))


def test_iou_of_exactly_one_half_is_no_match():
    truth, prediction = strip([0, 9, 9, 9, 0, 0], {9: 3}), strip([0, 0, 7, 7, 7, 7], {7: 3})
    counts = panoptic_quality(truth, prediction, void_is_background=True)  # 2 shared of 5
    assert columns(counts)[3] == [0, 1, 1, 0]
    truth, prediction = strip([9, 9, 9, 1], {9: 3, 1: 1}), strip([1, 7, 7, 7], {1: 1, 7: 3})
    assert columns(panoptic_quality(truth, prediction))[3] == [0, 1, 1, 0]  # 2 of 4
    truth, prediction = strip([9, 9, 9, 1], {9: 3, 1: 1}), strip([7, 7, 1, 1], {1: 1, 7: 3})
    assert columns(panoptic_quality(truth, prediction))[3] == [1, 0, 0, 2 / 3]


def test_void_of_the_truth_is_not_judged_but_void_of_the_prediction_costs():
    truth = strip([5, 5, 5, 5, 0, 0, 0, 0], {5: 3})
    assert columns(panoptic_quality(truth, strip([8] * 8, {8: 3})))[3] == [1, 0, 0, 1.0]  # half of it lies on void
    assert columns(panoptic_quality(truth, strip([0, 0, 0, 0, 0, 8, 8, 8], {8: 3})))[3] == [0, 0, 1, 0]
    assert columns(panoptic_quality(truth, strip([0, 0, 0, 8, 0, 0, 0, 0], {8: 3})))[3] == [0, 1, 1, 0]
    assert columns(panoptic_quality(truth, strip([0] * 8, {})))[3] == [0, 0, 1, 0]


def test_half_on_void_is_still_wrong_and_more_than_half_is_dropped():
    truth = strip([1, 1, 1, 0, 0, 0], {1: 1})
    assert columns(panoptic_quality(truth, strip([0, 8, 8, 8, 8, 0], {8: 3})))[3] == [0, 1, 0, 0]
    assert columns(panoptic_quality(truth, strip([0, 0, 8, 8, 8, 0], {8: 3})))[3] == [0, 0, 0, 0]


def test_crowds_never_match_are_never_missed_and_excuse_their_own_class():
    truth = strip([5, 5, 5, 6, 6, 6], {5: 3, 6: 3}, crowds=[5, 6])
    prediction = strip([8, 8, 8, 8, 8, 8], {8: 3})
    assert columns(panoptic_quality(truth, prediction))[3] == [0, 0, 0, 0]  # two crowds together cover it
    assert columns(panoptic_quality(truth, strip([8] * 6, {8: 4})))[4] == [0, 1, 0, 0]  # another class
    mixed = strip([5, 5, 5, 6, 6, 1], {5: 3, 6: 3, 1: 1}, crowds=[6])
    found = columns(panoptic_quality(mixed, strip([8, 8, 8, 8, 1, 1], {8: 3, 1: 1})))
    assert found[3] == [1, 0, 0, 0.75]  # the crowd's pixel stays in the union


def test_a_nucleus_on_unlabelled_ground_is_wrong_where_all_nuclei_are_drawn():
    truth = strip([5, 5, 0, 0, 0, 0], {5: 3})
    prediction = strip([8, 8, 1, 9, 9, 1], {8: 3, 9: 3, 1: 1})
    assert panoptic_quality(truth, prediction).mean("things")[0] == 1
    counts = panoptic_quality(truth, prediction, categories={3}, void_is_background=True)
    assert columns(counts)[3] == [1, 1, 0, 1.0]
    assert columns(counts)[1] == [0, 0, 0, 0]
    smear = np.array([[False, False, False, True, True, False]])
    counts = panoptic_quality(truth, prediction, categories={3}, void_is_background=True, ignore=smear)
    assert columns(counts)[3] == [1, 0, 0, 1.0]


def merge_things(panoptic: Panoptic) -> Panoptic:
    """By the definition: every thing in one class, the taxonomy's `unclassed`, else its first thing."""
    one = thing_class(panoptic.taxonomy).id
    things = {s.id for s in panoptic.things}
    segments = tuple(replace(s, category_id=one) if s.id in things else s for s in panoptic.segments)
    return replace(panoptic, segments=segments)


def test_things_without_types():
    truth = strip([5, 5, 6, 6, 1, 0], {5: 3, 6: 4, 1: 1})
    prediction = strip([8, 8, 9, 9, 1, 7], {8: 4, 9: 5, 1: 1, 7: 3})
    counts = things_quality(truth, prediction)
    assert columns(counts) == {1: [0] * 4, 2: [0] * 4, 3: [0] * 4, 4: [0] * 4, 5: [2, 1, 0, 2.0]}
    assert counts.mean("things") == pytest.approx((0.8, 1, 0.8))
    merged = panoptic_quality(merge_things(truth), merge_things(prediction), categories={5}, void_is_background=True)
    equal(counts, merged)


@some
@given(seeds)
def test_things_quality_is_pq_of_merged_maps(seed):
    truth, prediction = random_pair(seed)
    merged = panoptic_quality(merge_things(truth), merge_things(prediction), categories={5}, void_is_background=True)
    equal(things_quality(truth, prediction), merged)


def test_merge_and_restrict():
    panoptic = strip([1, 5, 6, 0], {1: 1, 5: 3, 6: 5}, scores={5: 0.5})
    assert [s.category_id for s in merge_things(panoptic).segments] == [1, 5, 5]
    assert merge_things(panoptic).segments[1].score == 0.5
    assert things_only(panoptic).ids.tolist() == [[0, 5, 6, 0]]
    assert [s.id for s in things_only(panoptic).segments] == [5, 6]
    typed = table({3: "cell", 4: "other"}, {})
    assert [s.category_id for s in merge_things(strip([1, 2], {1: 4, 2: 3}, typed)).segments] == [3, 3]


def test_scores_of_each_class_and_of_none():
    truth, prediction = strip([5, 5, 5, 1], {5: 3, 1: 1}), strip([8, 8, 2, 2], {8: 3, 2: 2})
    counts = panoptic_quality(truth, prediction)
    assert counts.pq == pytest.approx({1: 0, 2: 0, 3: 2 / 3, 4: math.nan, 5: math.nan}, nan_ok=True)
    assert counts.sq == pytest.approx({1: 0, 2: 0, 3: 2 / 3, 4: math.nan, 5: math.nan}, nan_ok=True)
    assert counts.rq == pytest.approx({1: 0, 2: 0, 3: 1, 4: math.nan, 5: math.nan}, nan_ok=True)
    assert counts.mean() == pytest.approx((2 / 9, 2 / 9, 1 / 3))
    assert counts.mean("stuff") == (0, 0, 0)
    assert all(math.isnan(v) for v in PQCounts.zero(SMALL).mean())
    row = counts.to_dict()
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["classes"][2] | {"pq": 0, "sq": 0, "iou_sum": 0} == {
        "id": 3, "name": "cell", "isthing": True, "tp": 1, "fp": 0, "fn": 0, "iou_sum": 0, "pq": 0, "sq": 0, "rq": 1.0,
    }  # fmt: skip
    assert row["classes"][3]["pq"] is None


def test_void_maps_have_no_score():
    nothing = strip([0, 0], {})
    assert all(math.isnan(v) for v in panoptic_quality(nothing, nothing).mean())


def test_maps_are_not_edited():
    truth, prediction = random_pair(3)
    kept = truth.ids.copy(), prediction.ids.copy()
    panoptic_quality(truth, prediction, ignore=np.ones(truth.size, bool))
    np.testing.assert_array_equal(truth.ids, kept[0])
    np.testing.assert_array_equal(prediction.ids, kept[1])


def test_bad_input():
    one, two = strip([1], {1: 1}), strip([1, 1], {1: 1})
    with pytest.raises(ValueError, match=r"must be of one size, got \(1, 1\) and \(1, 2\)"):
        panoptic_quality(one, two)
    with pytest.raises(ValueError, match="must have the same categories, 'test' and 'he-core' differ"):
        panoptic_quality(one, strip([1], {1: 1}, HE_CORE))
    with pytest.raises(ValueError, match=r"ignore must be a bool mask of size \(1, 1\), got \(1, 2\) of bool"):
        panoptic_quality(one, one, ignore=np.zeros((1, 2), bool))
    with pytest.raises(KeyError, match="no category 99"):
        panoptic_quality(one, one, categories={99})
    with pytest.raises(ValueError, match="'all', 'things' or 'stuff', got 'nuclei'"):
        PQCounts.zero(SMALL).mean("nuclei")
    with pytest.raises(ValueError, match="same categories"):
        PQCounts.zero(SMALL) + PQCounts.zero(HE_CORE)
    with pytest.raises(ValueError, match="needs at least one image, got none"):
        total([])
    with pytest.raises(ValueError, match="needs a thing in the taxonomy, 'test' has stuff only"):
        merge_things(strip([1], {1: 1}, table({}, {1: "ground"})))
    with pytest.raises(TypeError):
        PQCounts.zero(SMALL) + 1


def test_colours_may_differ():
    blue = replace(SMALL, categories=tuple(replace(c, color=(0, 0, 255)) for c in SMALL.categories), name="blue")
    assert panoptic_quality(strip([1], {1: 1}), strip([1], {1: 1}, blue)).mean() == (1, 1, 1)


def test_metrics_do_not_import_torch():
    code = "import sys, pano_med.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
