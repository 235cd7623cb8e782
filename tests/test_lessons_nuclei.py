"""Lesson 06's helpers: fields, the block that is cut, curves over a knob, pictures."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from pano_med.lessons import nuclei_pictures as draw
from pano_med.lessons.fields import on_one_glass, overlapping_boxes, part, rows_from, types_table
from pano_med.lessons.knob_curves import METHODS, KnobCurves
from pano_med.lessons.section import block, cut, serial
from pano_med.metrics import separation_errors, things_quality
from pano_med.synthetic import Knobs, he_tile
from pano_med.types import HE_CORE, Panoptic

TILE = he_tile(1, (128, 160), Knobs(crowding=2))
NEOPLASTIC, INFLAMMATORY = HE_CORE.things[0].id, HE_CORE.things[1].id


# -- parts


def test_a_field_holds_the_rows_below_and_marks_divided_nuclei() -> None:
    field = rows_from(TILE, 50)
    assert field.image.shape == (78, 160, 3)
    np.testing.assert_array_equal(field.image, TILE.image[50:])
    above, below = (set(np.unique(ids)) for ids in (TILE.truth.ids[:50], TILE.truth.ids[50:]))
    things = {s.id for s in TILE.truth.things}
    assert {s.id for s in field.truth.segments} == below & things  # tissue is left out
    assert set(np.unique(field.truth.ids[field.ignore])) == above & below & things != set()
    assert field.pixel_size_um == 0.5


@pytest.mark.parametrize("row", [-1, 128])
def test_a_field_needs_a_row_of_the_image(row: int) -> None:
    with pytest.raises(ValueError, match="a field needs a truth, a pixel size and a row within the image"):
        rows_from(TILE, row)


def test_a_part_keeps_ids_classes_and_scores() -> None:
    ids = np.array([[1, 1, 2], [3, 3, 2]])
    whole = Panoptic.from_ids(ids, {1: 2, 2: NEOPLASTIC, 3: INFLAMMATORY}, HE_CORE, 0.5, {2: 0.9, 3: 0.8})
    window = part(whole, (slice(0, 2), slice(1, 3)))
    assert [(s.id, s.category_id, s.score, s.area) for s in window.segments] == [
        (1, 2, None, 1), (2, NEOPLASTIC, 0.9, 2), (3, INFLAMMATORY, 0.8, 1),
    ]  # fmt: skip
    things = part(whole, (slice(0, 2), slice(0, 2)), things=True)
    np.testing.assert_array_equal(things.ids, [[0, 0], [3, 3]])
    assert things.pixel_size_um == 0.5


def test_tiles_on_one_glass_come_back_as_they_were() -> None:
    images = [he_tile(seed, (40, 50)).image for seed in range(3)]
    sheet, windows = on_one_glass(images, gap=7)
    assert sheet.shape == (40, 3 * 50 + 2 * 7, 3)
    for image, window in zip(images, windows, strict=True):
        np.testing.assert_array_equal(sheet[window], image)
    assert (sheet[:, 50:57] == 245).all()


def test_types_are_counted_in_rows_of_the_truth() -> None:
    ids = np.arange(1, 5)[None]
    truth = Panoptic.from_ids(ids, {1: 4, 2: 4, 3: 5, 4: 7}, HE_CORE)
    found = Panoptic.from_ids(ids, {1: 4, 2: 5, 3: 5, 4: 6}, HE_CORE)
    table = types_table([(1, 1), (2, 2), (3, 3), (4, 4)], truth, found)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]  # of unknown type: nowhere


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert overlapping_boxes(np.array([[0, 0, 4, 4], [4, 0, 8, 4], [3, 3, 5, 5]])) == 2


# -- the block


def test_nuclei_of_a_block_do_not_touch() -> None:
    made = block(0.1, 8, (30, 60, 60), seed=3)
    gaps = np.linalg.norm(made.centres[:, None] - made.centres, axis=-1)
    assert gaps[np.triu_indices(len(gaps), 1)].min() >= 8
    assert len(made.centres) == round(0.1 * 30 * 60 * 60 / (np.pi / 6 * 8**3))
    np.testing.assert_array_equal(made.centres, block(0.1, 8, (30, 60, 60), seed=3).centres)


def test_profiles_outnumber_centres_as_abercrombie_says() -> None:
    sections = [cut(block(0.1, 8, (60, 300, 300), seed), 5) for seed in range(5)]
    profiles, centres = (sum(n) for n in zip(*((len(s.places), s.inside.sum()) for s in sections), strict=True))
    assert profiles / centres == pytest.approx((5 + 8) / 5, rel=0.1)


def test_thicker_sections_overlap_more() -> None:
    made = block()
    shares = [cut(made, thickness).overlaps.mean() for thickness in (1, 4, 8, 20)]
    assert shares == sorted(shares)
    assert shares[0] < 0.1 < 0.4 < shares[-1]


def test_a_grazed_nucleus_has_a_small_profile() -> None:
    made = block(0.1, 8, (40, 100, 100))
    section = cut(made, 2, start=10)
    assert section.radii[section.inside].tolist() == [4.0] * section.inside.sum()
    assert (section.radii[~section.inside] < 4).all()


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_block_holds_so_many_and_no_more(share: float) -> None:
    with pytest.raises(ValueError, match="a share of the volume between 0 and 0.25"):
        block(share)


def test_serial_sections_go_through_the_block() -> None:
    made = block(0.1, 8, (40, 100, 100))
    sections = serial(made, 4, sections=3)  # from 8, 18 and 28 um: 8 um are left above the first and below the last
    for section, start in zip(sections, (8, 18, 28), strict=True):
        np.testing.assert_array_equal(section.places, cut(made, 4, start).places)
    with pytest.raises(ValueError, match="at most 24 um thick, got 25"):
        serial(made, 25)


def test_a_section_lies_within_its_block() -> None:
    with pytest.raises(ValueError, match="at most 40 um thick, got 41"):
        cut(block(), 41)


# -- curves


def test_each_setting_is_measured_once_on_every_field() -> None:
    asked = []

    def blind(image: np.ndarray, pixel: float) -> Panoptic:
        asked.append(image.shape)
        return Panoptic.from_ids(np.zeros(image.shape[:2], int), {}, HE_CORE, pixel)

    measure = KnobCurves(blind, fields=2)
    curves = measure("overlap", (0, 0.25))
    measure("stain", (0.3, 1))  # 1 with an overlap of 0.25 is known already
    assert len(asked) == 3
    assert list(curves) == list(METHODS)
    assert curves["our network"] == {0: [0, 0], 0.25: [0, 0]}
    otsu, fixed = (np.mean(measure("stain", (0.3,))[name][0.3]) for name in METHODS[1:])
    assert otsu > 0.2 > fixed  # a cut that does not follow the stain finds nothing


# -- pictures


def rival() -> Panoptic:
    """The truth with its nuclei moved: some are missed, some merged."""
    ids = part(TILE.truth, (slice(None), slice(None)), things=True).ids
    ids = np.where(ids % 5 == 0, 0, ids // 2 * 2 + 4)
    return Panoptic.from_ids(ids, dict.fromkeys(range(1, 1000), NEOPLASTIC), HE_CORE, 0.5)


def test_pictures_are_pictures() -> None:
    truth = part(TILE.truth, (slice(None), slice(None)), things=True)
    errors = separation_errors(truth, rival())
    assert errors.missed
    assert errors.merges
    boxes = np.array([[10, 10, 30, 30], [20, 20, 60, 50]])
    for picture in (
        draw.labelled(TILE.image, truth),
        draw.closeups(TILE.image, {"a": (5, 5), "b": (127, 159)}, 0.5, side=40),
        draw.steps(TILE.image[:64, :64], 0.5),
        draw.failures(TILE.image, truth, rival(), errors, 0.5),
        draw.failures(TILE.image, truth, truth, separation_errors(truth, truth), 0.5),  # nothing went wrong
        draw.boxes_and_masks(TILE.image, truth, boxes, (slice(15, 60), slice(12, 70))),
    ):
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert np.ptp(picture) > 100


def test_bars_of_fates_add_up() -> None:
    truth = part(TILE.truth, (slice(None), slice(None)), things=True)
    errors = separation_errors(truth, rival())
    assert errors.causes()["matched"] == things_quality(truth, rival()).tp.sum()
    figure = draw.fates_figure({"rival": errors, "truth": separation_errors(truth, truth)})
    bars = figure.axes[0].patches
    assert sum(bar.get_width() for bar in bars) == 2 * errors.truths
    assert set(errors.causes()) == set(draw.FATES)


def test_figures_are_drawn() -> None:
    made = block(0.1, 8, (40, 120, 120))
    maps = {"tumour": np.linspace(0, 3000, 100 * 120).reshape(100, 120)}
    curves = {m: {0.0: [0.5, 0.6], 1.0: [0.2, 0.3]} for m in METHODS}
    for figure in (
        draw.section_figure(made, {4: cut(made, 4)}),
        draw.curves_figure({"overlap": curves, "stain": curves}),
        draw.density_figure(np.full((100, 120, 3), 200, np.uint8), maps, 0.5),
    ):
        assert isinstance(figure, Figure)
        figure.canvas.draw()
