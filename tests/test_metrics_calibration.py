"""Scores against what came true, and every thing by itself."""

import math

import numpy as np
import pytest
from metrics_cases import SMALL, random_pair

from pano_med.metrics import reliability, things_quality, things_table
from pano_med.types import Panoptic


def test_the_error_of_an_example_worked_by_hand() -> None:
    scores, right = np.array([0.15, 0.15, 0.75, 0.85, 0.85, 0.85]), np.array([0, 0, 1, 1, 1, 0], bool)
    found = reliability(scores, right)
    assert found.n.tolist() == [0, 2, 0, 0, 0, 0, 0, 1, 3, 0]
    assert found.share[[1, 7, 8]] == pytest.approx([0, 1, 2 / 3])
    assert found.score[[1, 7, 8]] == pytest.approx([0.15, 0.75, 0.85])
    assert found.ece == pytest.approx((2 * 0.15 + 1 * 0.25 + 3 * (0.85 - 2 / 3)) / 6)


def test_scores_that_keep_their_word_have_no_error() -> None:
    found = reliability(np.full(4, 0.75), np.array([1, 1, 1, 0], bool))
    assert found.ece == 0
    assert np.isnan(found.share[0])


def test_a_bin_holds_its_upper_edge_and_the_first_holds_zero() -> None:
    assert reliability(np.array([0.0, 0.5, 0.51, 1.0]), np.ones(4, bool), bins=2).n.tolist() == [2, 2]


def test_nothing_found_has_no_error() -> None:
    assert math.isnan(reliability(np.zeros(0), np.zeros(0, bool)).ece)


@pytest.mark.parametrize(("scores", "right", "bins", "words"), [
    ([0.1, 0.2], [True], 10, "each score needs one outcome, got arrays of shape .2,. and .1,."),
    ([0.1], [True], 0, "at least one bin, got 0"),
    ([0.5, 1.5], [True, True], 10, "between 0 and 1, score number 1 is 1.5"),
    ([math.nan], [True], 10, "score number 0 is nan"),
])  # fmt: skip
def test_what_is_no_score_is_refused(scores: list[float], right: list[bool], bins: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reliability(np.array(scores), np.array(right), bins)


@pytest.mark.parametrize("seed", range(20))
def test_the_rows_of_single_things_add_up_to_the_counts(seed: int) -> None:
    truth, found = random_pair(seed)
    ignore = np.random.default_rng(seed).random(truth.size) < 0.15
    for mask in (None, ignore):
        counts, rows = things_quality(truth, found, mask), things_table(truth, found, mask)
        assert [np.count_nonzero(rows.truth_iou), np.count_nonzero(rows.found_iou)] == [counts.tp.sum()] * 2
        assert len(rows.truth_id) == (counts.tp + counts.fn).sum()
        assert len(rows.found_id) == (counts.tp + counts.fp).sum()
        assert rows.truth_iou.sum() == pytest.approx(counts.iou.sum())


def test_each_row_names_its_thing() -> None:
    truth = Panoptic.from_ids(np.array([[0, 3, 3, 0, 8, 8]]), {3: 3, 8: 4}, SMALL)
    found = Panoptic.from_ids(np.array([[5, 0, 0, 0, 9, 9]]), {5: 3, 9: 3}, SMALL, scores={5: 0.4, 9: 0.9})
    rows = things_table(truth, found)
    assert (rows.truth_id.tolist(), rows.truth_iou.tolist()) == ([3, 8], [0, 1])
    assert (rows.found_id.tolist(), rows.found_iou.tolist(), rows.score.tolist()) == ([5, 9], [0, 1], [0.4, 0.9])
