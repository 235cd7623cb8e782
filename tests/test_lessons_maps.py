"""The pictures of lessons 00 and 01: the coffee's truth, the three maps, the tiny maps."""

import numpy as np
import pytest
from scipy import ndimage

from pano_med.lessons.coffee import COFFEE_TABLE, CUP, SAUCER, SPOON, coffee_truth
from pano_med.lessons.curves import iou_by_size
from pano_med.lessons.maps import instance_picture, panoptic_picture, semantic_picture, three_maps, three_steps
from pano_med.lessons.tiny import TINY, from_letters, overlap_squares, squares, truth_and_prediction, two_maps
from pano_med.synthetic import he_tile

TILE = he_tile(2, (64, 96))


def test_the_coffee_has_two_dishes_that_touch_and_a_spoon_in_two_parts() -> None:
    image, truth = coffee_truth()
    assert truth.size == image.shape[:2] == (400, 600)
    assert [COFFEE_TABLE[s.category_id].name for s in truth.things] == ["dish", "dish", "spoon"]
    parts = {s.id: ndimage.label(truth.ids == s.id)[1] for s in truth.segments}
    assert parts[SPOON] == 2, "the cup hides its middle"
    assert parts[CUP] == 1
    assert parts[SAUCER] == 1
    touching = ndimage.binary_dilation(truth.ids == CUP) & (truth.ids == SAUCER)
    assert touching.sum() > 300, "or the semantic map would not join them"
    assert (truth.ids[:80, :30] == 0).all(), "the dark corner is void"


PLACES = {
    "coffee": [(150, 290)],
    "spoon": [(285, 365), (85, 410)],
    "dish": [(45, 290), (280, 210), (200, 100), (380, 280)],
    "table": [(50, 500), (120, 50)],
}


def test_the_coffee_is_labelled_where_people_see_it() -> None:
    classes = coffee_truth()[1].semantic()
    for name, places in PLACES.items():
        assert {COFFEE_TABLE[int(classes[place])].name for place in places} == {name}


def test_edges_of_the_coffee_lie_on_edges_of_the_picture() -> None:
    image, truth = coffee_truth()
    steep = ndimage.gaussian_gradient_magnitude(image.astype(float).mean(-1), 1.5)
    edge = ndimage.morphological_gradient(truth.ids, 3) > 0
    moved = np.roll(edge, (12, 12), (0, 1))
    assert steep[edge].mean() > 2 * steep[moved].mean(), "outlines beside the objects would not stand out so"


def test_the_semantic_picture_joins_what_the_others_part() -> None:
    image, truth = coffee_truth()
    pictures = [draw(image, truth) for draw in (semantic_picture, instance_picture, panoptic_picture)]
    border = ndimage.binary_dilation(truth.ids == CUP) & (truth.ids == SAUCER)
    black = [(picture[border] == 0).all(-1).mean() for picture in pictures]
    assert black[0] < 0.02, "only the letters of a name"
    assert min(black[1:]) > 0.9, "a black line between cup and saucer"
    assert all(np.array_equal(p.shape, (400, 600, 3)) for p in pictures)


def test_rows_of_pictures_are_as_wide_as_their_parts_and_change_nothing() -> None:
    before = TILE.image.copy()
    row, steps = three_maps(TILE.image, TILE.truth, 2), three_steps(TILE.image, TILE.truth)
    assert row.shape[1] == 3 * 192 + 2 * 10
    assert steps.shape[1] == 3 * 96 * 8 + 2 * 10, "a small image is enlarged"
    np.testing.assert_array_equal(TILE.image, before)


def test_letters_become_segments() -> None:
    panoptic = from_letters("? t a\n. b A")
    assert panoptic.ids.tolist() == [[0, 2, 3], [1, 4, 5]]
    assert [s.id for s in panoptic.segments if s.iscrowd] == [5]
    assert [TINY[s.category_id].name for s in panoptic.segments] == ["glass", "tissue", "nucleus", "nucleus", "nucleus"]
    truth, prediction = two_maps("t a | t t\nt t | p p")
    assert truth.ids.tolist() == [[2, 3], [2, 2]]
    assert prediction.ids.tolist() == [[2, 2], [3, 3]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("t t\nt", r"lines of one length, got the lengths \[2, 1\]"),
        ("", "lines of one length"),
        ("t 3", r"made of letters, '.' and '\?', got \['3'\]"),
    ],
)
def test_maps_that_cannot_be_read_are_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_letters(text)


def test_a_line_without_its_bar_is_told() -> None:
    with pytest.raises(ValueError, match=r"one bar, truth \| prediction; look at line 2"):
        two_maps("t | t\nt t")


def test_squares_show_every_kind_apart() -> None:
    truth, prediction = two_maps("t a A | p p .\nt . ? | p . .")
    picture = squares(truth, cell=40)
    assert picture.shape == (80, 120, 3)
    corners = {tuple(picture[r * 40 + 6, c * 40 + 6]) for r, c in ((0, 0), (0, 1), (1, 1))}
    assert len(corners) == 3, "tissue, nucleus and glass"
    assert (picture[20, 39:41] == 0).all(), "a thick line between segments"
    assert (picture[40, 10] != 0).all(), "a thin one within"
    both = overlap_squares(truth.ids == 3, prediction.ids == 3, cell=40)
    assert len({tuple(both[r * 40 + 5, c * 40 + 5]) for r, c in ((0, 0), (0, 1), (0, 2))}) == 3
    assert truth_and_prediction(truth, prediction, cell=40).shape[1] == 120 + 40 + 120


def test_the_curve_is_labelled() -> None:
    figure = iou_by_size([1, 2, 3], {"moved": [0.1, 0.5, 0.9]}, {2: "here"})
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["moved"]
    assert "here" in [t.get_text() for t in figure.axes[0].texts]
    figure.clear()
