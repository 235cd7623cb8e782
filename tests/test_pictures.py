"""Pictures: contours sit inside what they outline, and nothing is told by colour alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pano_med.pictures import inner_border, legend, mark_row, overlay, scale_bar, side_by_side, stack, styles, triptych
from pano_med.pictures.layout import round_length
from pano_med.types import HE_CORE, OKABE_ITO, Category, Panoptic, Taxonomy

quiet = settings(deadline=None, derandomize=True, max_examples=60)
VERMILLION, BLUE = OKABE_ITO["vermillion"], OKABE_ITO["blue"]


@pytest.fixture
def image() -> np.ndarray:
    return np.full((60, 80, 3), (200, 150, 190), np.uint8)


@pytest.fixture
def panoptic() -> Panoptic:
    """Tumour on the left, other tissue on the right, a neoplastic and an inflammatory nucleus, some void."""
    ids = np.full((60, 80), 2)
    ids[:, :40] = 1
    ids[10:25, 10:30] = 3
    ids[30:50, 50:62] = 4
    ids[58:] = 0
    return Panoptic.from_ids(ids, {1: 2, 2: 3, 3: 4, 4: 5}, HE_CORE)


@quiet
@given(
    hnp.arrays(int, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.integers(0, 3)),
    st.integers(1, 3),
)
def test_inner_border_is_what_lies_within_reach_of_another_region(ids, thickness):
    """Oracle: walk from each pixel to all pixels that are fewer than `thickness` steps away within its region."""
    expected = np.zeros(ids.shape, bool)
    for start in np.argwhere(ids > 0):
        reached = {tuple(start)}
        for _ in range(thickness):
            around = {(r + a, c + b) for r, c in reached for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))}
            around = {p for p in around if 0 <= p[0] < ids.shape[0] and 0 <= p[1] < ids.shape[1]}
            expected[tuple(start)] |= any(ids[p] != ids[tuple(start)] for p in around)
            reached |= {p for p in around if ids[p] == ids[tuple(start)]}
    np.testing.assert_array_equal(inner_border(ids, thickness), expected)


def test_contours_carry_the_class_colour_just_inside_the_thing(image, panoptic):
    kept = image.copy()
    drawn = overlay(image, panoptic, thickness=1, fill=0.0, letters=False)
    neoplastic = (drawn == VERMILLION).all(-1)
    np.testing.assert_array_equal(neoplastic, inner_border((panoptic.ids == 3).astype(int)))  # solid, so all of it
    inflammatory = (drawn == BLUE).all(-1)
    border = inner_border((panoptic.ids == 4).astype(int))
    assert not (inflammatory & ~border).any()
    assert (drawn[border & ~inflammatory] == 255).all()
    assert 0.6 < inflammatory.sum() / border.sum() < 0.97  # dashed: told without colour too
    np.testing.assert_array_equal(drawn[12:23, 12:28], image[12:23, 12:28])  # the nucleus itself is not touched
    np.testing.assert_array_equal(image, kept)


def test_tissue_is_filled_lightly_and_void_and_glass_are_not(image, panoptic):
    drawn = overlay(image, panoptic, letters=False, fill=0.25)
    mixed = np.rint(0.75 * image[40, 20] + 0.25 * np.array(OKABE_ITO["orange"]))
    np.testing.assert_array_equal(drawn[40, 20], mixed)
    np.testing.assert_array_equal(drawn[59], image[59])
    glass = Panoptic.from_ids(np.ones((60, 80), int), {1: 1}, HE_CORE)
    faint = overlay(image, glass)
    changed = (faint != image).any(-1)
    assert 0.02 < changed.mean() < 0.2  # hatching only
    assert np.abs(faint.astype(int) - image).max() < 40


def test_regions_carry_letters_and_hatching(image, panoptic):
    plain = overlay(image, panoptic, letters=False)
    lettered = overlay(image, panoptic)
    for half in (np.s_[:, :40], np.s_[:, 40:]):
        assert (plain[half] != lettered[half]).any()
        assert (lettered[half] == 0).all(-1).any()
    hatched = (overlay(image, panoptic, letters=False, hatch=True) != plain).any(-1)
    assert 0.03 < hatched[:58].mean() < 0.3
    assert not hatched[58:].any()


def test_styles_differ_without_colour():
    look = styles(HE_CORE)
    things = [look[c.id] for c in HE_CORE.all if c.isthing]
    assert len({s.line for s in things}) == len(things)
    assert {c.name for c in HE_CORE.all if look[c.id].gap == (0, 0, 0)} == {"nucleus"}  # yellow on white is not seen
    stuff = [look[c.id] for c in HE_CORE.stuff]
    assert len({s.hatch for s in stuff}) == len(stuff)
    assert len({s.letter for s in look.values()}) == len(look)
    assert [s.fill for s in stuff] == [0.0, 0.16, 0.16]
    many = Taxonomy("many", tuple(Category(i, "aa" + "b" * i, False, (9, 9, 9)) for i in range(1, 20)))
    assert len({s.letter for s in styles(many).values()}) == 19
    with pytest.raises(ValueError, match=r"fill is an opacity from 0 to 1, got 1\.5"):
        styles(HE_CORE, 1.5)


def test_reddish_purple_is_never_a_fill(image):
    gland = Taxonomy("gland", (Category(1, "gland", False, OKABE_ITO["purple"]),))
    drawn = overlay(image, Panoptic.from_ids(np.ones((60, 80), int), {1: 1}, gland), letters=False)
    np.testing.assert_array_equal(drawn, image)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_size_scale_bar_and_legend(image, panoptic, scale):
    assert overlay(image, panoptic, scale=scale).shape == (60 * scale, 80 * scale, 3)
    with_legend = overlay(image, panoptic, scale=scale, legend=True)
    assert with_legend.shape[0] > 60 * scale
    assert with_legend.shape[1] == 80 * scale


def test_scale_bar_has_its_length():
    picture = np.full((300, 400, 3), 90, np.uint8)
    drawn = scale_bar(picture, 0.5)  # 200 um wide, a fifth is 40, so 20 um = 40 px
    black = (drawn == 0).all(-1)
    assert black.sum(1).max() == 40
    assert (picture == 90).all()
    assert scale_bar(np.zeros((5, 5, 3), np.uint8), 0.5).shape == (5, 5, 3)
    assert [round_length(x) for x in (1, 1.99, 4.9, 5, 99, 0.3)] == [1, 1, 2, 5, 50, 0.2]
    with pytest.raises(ValueError, match="pixel_size_um must be a positive number"):
        scale_bar(picture, -1)
    known = Panoptic(np.zeros((300, 400), int), (), HE_CORE, 0.5)
    np.testing.assert_array_equal(overlay(picture, known), drawn)


def test_odd_maps(image):
    one = overlay(image[:1, :1], Panoptic.from_ids(np.array([[5]]), {5: 4}, HE_CORE, 0.5), legend=True)
    assert one.shape[1] == 1
    void = Panoptic(np.zeros((60, 80), int), (), HE_CORE)
    np.testing.assert_array_equal(overlay(image, void), image)
    tiny = np.zeros((60, 80), int)
    tiny[::2, ::2] = 1 + np.arange(30 * 40).reshape(30, 40)  # 1,200 things of one pixel
    full = Panoptic.from_ids(tiny, dict.fromkeys(range(1, 1201), 6), HE_CORE)
    assert overlay(image, full).shape == image.shape


def test_overlay_refuses_what_does_not_fit(image, panoptic):
    with pytest.raises(ValueError, match=r"image and map must have one size, got \(59, 80\) and \(60, 80\)"):
        overlay(image[1:], panoptic)
    with pytest.raises(TypeError, match=r"needs an \(H, W, 3\) uint8 image, got \(60, 80, 3\) of float64"):
        overlay(image / 255, panoptic)
    with pytest.raises(ValueError, match="scale and thickness must be at least 1, got 0 and None"):
        overlay(image, panoptic, scale=0)


def test_legend_shows_what_is_there(panoptic):
    def has(picture: np.ndarray, color: tuple[int, int, int]) -> bool:
        return bool((picture == color).all(-1).any())

    own, every = legend(panoptic, 900), legend(HE_CORE, 900)
    assert has(own, VERMILLION)
    assert has(own, BLUE)
    assert not has(own, OKABE_ITO["green"])  # no connective nucleus in the map
    assert has(every, OKABE_ITO["green"])
    assert every.shape[1] == 900
    assert legend(HE_CORE, 200).shape[0] > 2 * every.shape[0]  # wrapped
    assert legend(HE_CORE, 10).shape[1] == 10


def test_line_across_and_what_it_divides(image):
    kept = image.copy()
    drawn = mark_row(image, 30, "seen", "not seen")
    black = (drawn == 0).all(-1)
    assert black[29].sum() > 30
    assert black[30].sum() > 30
    assert black[:28].any()
    assert black[33:].any()
    np.testing.assert_array_equal(drawn[:8], image[:8])
    np.testing.assert_array_equal(image, kept)
    with pytest.raises(ValueError, match=r"the line must lie within rows 0\.\.60, got 61"):
        mark_row(image, 61)


def test_side_by_side_stack_and_triptych(image, panoptic):
    red = np.full((20, 10, 3), (255, 0, 0), np.uint8)
    row = side_by_side([image, red], gap=8)
    assert row.shape == (60, 80 + 8 + 10, 3)
    np.testing.assert_array_equal(row[:, :80], image)
    np.testing.assert_array_equal(row[:20, 88:], red)
    assert (row[20:, 88:] == 255).all()
    titled = side_by_side([image, red], ["a", "b"])
    np.testing.assert_array_equal(titled[-60:, :80], image)
    head = titled[: len(titled) - 60] < 128
    assert head[:, :20].any()
    assert head[:, 88:].any()
    with pytest.raises(ValueError, match="a title for each picture or none, got 2 and 1"):
        side_by_side([image, red], ["a"])
    assert stack([image, red]).shape == (80, 80, 3)
    three = triptych(image, panoptic, panoptic, scale=2)
    assert three.shape[1] == 3 * 160 + 16
    left = three.shape[1] - 160
    np.testing.assert_array_equal(three[:, left : left + 160][30:100], three[:, 168 : 168 + 160][30:100])
