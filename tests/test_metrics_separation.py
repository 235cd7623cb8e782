"""Merges, splits, missed and invented nuclei, on maps small enough to check by eye."""

import numpy as np
import pytest
from metrics_cases import SMALL, random_pair

from pano_med.metrics import Merge, Split, separation_errors, things_quality
from pano_med.types import Panoptic

CELL, GROUND = 3, 1


def cells(*rows: str) -> Panoptic:
    """A map from a drawing: letters are cells (a = 1, b = 2, ...), '#' is ground, '.' is void."""
    ids = np.array([[0 if c == "." else 99 if c == "#" else ord(c) - 96 for c in row] for row in rows])
    return Panoptic.from_ids(ids, {99: GROUND} | dict.fromkeys(range(1, 27), CELL), SMALL)


def test_one_outline_around_two_nuclei_is_a_merge() -> None:
    found = separation_errors(cells("aaabb.", "aaabb."), cells("ccccc.", "ccccc."))
    assert found.merges == (Merge(3, (1, 2)),)
    assert found.matched == ((1, 3),)  # a covers 6 of 10 pixels: PQ calls it found, and b not found
    assert (found.splits, found.missed, found.invented, found.poor) == ((), (), (), ())
    assert found.causes() == {"matched": 1, "merged": 1, "split": 0, "missed": 0, "poor outline": 0}


def test_two_outlines_inside_one_nucleus_are_a_split() -> None:
    found = separation_errors(cells("aaaa.", "aaaa."), cells("bbcc.", "bbcc."))
    assert found.splits == (Split(1, (2, 3)),)
    assert (found.merges, found.matched, found.missed, found.invented) == ((), (), (), ())
    assert found.causes()["split"] == 1


def test_a_nucleus_without_outline_is_missed_and_an_outline_without_nucleus_invented() -> None:
    found = separation_errors(cells("aa..", "aa.."), cells("...b", "...b"))
    assert (found.missed, found.invented) == ((1,), (2,))
    assert (found.truths, found.predictions) == (1, 1)


def test_touching_corners_do_not_excuse() -> None:
    found = separation_errors(cells("aaaa...."), cells("...bbbbb"))
    assert (found.missed, found.invented) == ((1,), (2,))  # one pixel of each is shared, less than half


def test_an_outline_twice_too_wide_is_poor_and_not_missed() -> None:
    found = separation_errors(cells("aaa......"), cells("bbbbbbbb."))
    assert found.poor == ((1, 2),)
    assert (found.missed, found.invented, found.merges) == ((), (), ())
    assert found.causes()["poor outline"] == 1


@pytest.mark.parametrize(
    ("drawing", "lies"),
    [("bb..", False), ("bbb.", True)],  # exactly half of a, then more
)
def test_half_is_not_enough(drawing: str, lies: bool) -> None:
    found = separation_errors(cells("aaaa", "...."), cells(drawing, "bbbb"))
    assert (found.missed == ()) is lies


def test_stuff_and_classes_play_no_part() -> None:
    truth = cells("aa##", "aa##")
    ids = truth.ids.copy()
    other = Panoptic.from_ids(ids, {1: 4, 99: GROUND}, SMALL)  # a lymphocyte
    assert separation_errors(truth, other).matched == ((1, 1),)
    assert separation_errors(truth, cells("####", "####")).missed == (1,)


def test_crowds_and_ignored_pixels_are_not_judged() -> None:
    ids = np.array([[1, 1, 0, 2, 2]])
    truth = Panoptic.from_ids(ids, {1: CELL, 2: CELL}, SMALL, crowds=[2])
    found = separation_errors(truth, cells("...bb"))
    assert (found.truths, found.predictions, found.missed, found.invented) == (1, 0, (1,), ())
    ignore = np.array([[True, True, False, False, False]])
    assert separation_errors(truth, cells("bb..."), ignore).predictions == 0


def test_nothing_against_nothing() -> None:
    found = separation_errors(cells("...."), cells("...."))
    assert (found.truths, found.predictions, found.causes()["matched"]) == (0, 0, 0)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="must be of one size"):
        separation_errors(cells("aa"), cells("aaa"))


@pytest.mark.parametrize("seed", range(40))
def test_every_miss_has_one_cause_and_matches_are_those_of_pq(seed: int) -> None:
    truth, prediction = random_pair(seed)
    found = separation_errors(truth, prediction)
    counts = things_quality(truth, prediction)
    assert len(found.matched) == counts.tp.sum()
    assert found.truths - len(found.matched) == counts.fn.sum()
    assert sum(found.causes().values()) == found.truths
    assert len({t for t, _ in found.poor}) == len(found.poor)


@pytest.mark.parametrize("seed", range(20))
def test_a_merge_seen_from_the_other_side_is_a_split(seed: int) -> None:
    one, other = random_pair(seed, crowds=False)
    there, back = separation_errors(one, other), separation_errors(other, one)
    assert [(m.prediction, m.truths) for m in there.merges] == [(s.truth, s.predictions) for s in back.splits]
    assert there.missed == back.invented
