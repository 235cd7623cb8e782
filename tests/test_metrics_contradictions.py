"""Contradictions between two heads, on an 8 x 8 picture whose pixels are counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pano_med.metrics import Contradictions, Story, contradiction_map
from pano_med.types import HE_CORE

TISSUE, NEOPLASTIC, INFLAMMATORY, NUCLEUS = (
    HE_CORE[n].id for n in ("other tissue", "neoplastic nucleus", "inflammatory nucleus", "nucleus")
)


def semantic() -> np.ndarray:
    """Tissue; a neoplastic square of 3 x 3 at the top left, an inflammatory one of 2 x 2 at the bottom right."""
    seen = np.full((8, 8), TISSUE)
    seen[0:3, 0:3] = NEOPLASTIC
    seen[6:8, 6:8] = INFLAMMATORY
    return seen


def box(y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_a_picture_counted_by_hand() -> None:
    # 4 x 3 px over the neoplastic square: 9 agree, 3 lie on tissue; 1 x 2 px of the wrong class on the inflammatory one
    masks = [box(0, 0, 4, 3), box(6, 6, 7, 8)]
    stories = contradiction_map(semantic(), masks, [NEOPLASTIC, NEOPLASTIC], HE_CORE)
    found = Contradictions.of(stories)
    assert found.pixels == (64 - 9 - 3 - 2 - 2, 9, 3, 2, 2)
    assert (found.instance_px, found.thing_px) == (14, 13)
    assert found.on_stuff == pytest.approx(3 / 14)
    assert found.other_thing == pytest.approx(2 / 14)
    assert found.no_instance == pytest.approx(2 / 13)
    assert found.contradicted == pytest.approx(7 / 16)
    assert stories[3].tolist() == [Story.INSTANCE_ON_STUFF] * 3 + [Story.BOTH_STUFF] * 5
    assert stories[6:, 6:].tolist() == [[Story.OTHER_THING] * 2, [Story.NO_INSTANCE] * 2]


def test_windows_with_corners_say_the_same_as_whole_masks() -> None:
    masks, kinds = [box(1, 1, 5, 4), box(5, 5, 8, 8)], [NEOPLASTIC, INFLAMMATORY]
    cut = [masks[0][1:5, 1:4], masks[1][5:8, 5:8]]
    whole = contradiction_map(semantic(), masks, kinds, HE_CORE)
    np.testing.assert_array_equal(contradiction_map(semantic(), cut, kinds, HE_CORE, [(1, 1), (5, 5)]), whole)


def test_one_of_two_overlapping_instances_is_enough_to_agree_in_any_order() -> None:
    masks = [box(0, 0, 3, 3)] * 2
    for kinds in ([NEOPLASTIC, INFLAMMATORY], [INFLAMMATORY, NEOPLASTIC]):
        assert Contradictions.of(contradiction_map(semantic(), masks, kinds, HE_CORE)).pixels[Story.BOTH_THING] == 9


def test_an_instance_of_unknown_type_agrees_with_every_thing_but_not_with_stuff() -> None:
    found = Contradictions.of(contradiction_map(semantic(), [box(0, 0, 8, 8)], [NUCLEUS], HE_CORE))
    assert found.pixels == (0, 13, 51, 0, 0)


def test_counts_add_and_nothing_has_no_share() -> None:
    one = Contradictions((1, 2, 3, 4, 5))
    assert sum([one, one, Contradictions()]) == Contradictions((2, 4, 6, 8, 10))
    none = Contradictions.of(contradiction_map(np.full((8, 8), TISSUE), [], [], HE_CORE))
    assert none.pixels == (64, 0, 0, 0, 0)
    assert all(math.isnan(s) for s in (none.on_stuff, none.other_thing, none.no_instance, none.contradicted))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="each mask needs a category .* 1 masks, 2 categories"):
        contradiction_map(semantic(), [box(0, 0, 1, 1)], [NEOPLASTIC, NEOPLASTIC], HE_CORE)
    with pytest.raises(ValueError, match=r"must lie in the map \(8, 8\), mask 0 of \(2, 2\) at \(7, 0\) does not"):
        contradiction_map(semantic(), [np.ones((2, 2), bool)], [NEOPLASTIC], HE_CORE, [(7, 0)])
    with pytest.raises(ValueError, match="must be a thing of taxonomy 'he-core', instance 0 is 3"):
        contradiction_map(semantic(), [box(0, 0, 1, 1)], [TISSUE], HE_CORE)
