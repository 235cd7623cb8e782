"""Threshold and watershed: known pictures, scikit-image's own loops as oracle, bad input."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import color, feature, filters, measure, morphology, segmentation

from pano_med.lessons import classical
from pano_med.lessons.classical import Rules
from pano_med.synthetic import Knobs, he_tile


def discs(*places: tuple[int, int], size: int = 80, radius: int = 11) -> np.ndarray:
    rows, columns = np.ogrid[:size, :size]
    return np.any([np.hypot(rows - r, columns - c) <= radius for r, c in places], axis=0)


def in_one_go(image: np.ndarray, pixel: float) -> np.ndarray:
    """The method as one would write it down, without steps that can be changed."""
    stain = filters.gaussian(color.rgb2hed(image)[..., 0], 0.5 / pixel)
    mask = morphology.remove_small_objects(stain > filters.threshold_otsu(stain), max_size=int(10 / pixel**2))
    mask = ndimage.binary_fill_holes(mask)
    distance = filters.gaussian(ndimage.distance_transform_edt(mask), 0.5 / pixel)
    peaks = feature.peak_local_max(distance, min_distance=max(1, round(2 / pixel)), labels=measure.label(mask))
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return segmentation.watershed(-distance, markers, mask=mask)


@pytest.mark.parametrize("pixel", [0.25, 0.5])
def test_the_steps_together_are_the_textbook_method(pixel: float) -> None:
    image = he_tile(5, (128, 128), Knobs(crowding=2), pixel).image
    found = classical.watershed(image, pixel)
    np.testing.assert_array_equal(found.ids, in_one_go(image, pixel))
    assert found.pixel_size_um == pixel
    assert {s.category_id for s in found.segments} == {found.taxonomy.unclassed.id}


def test_two_touching_discs_are_one_piece_and_two_nuclei() -> None:
    mask = discs((40, 30), (40, 49))  # 3 px of overlap, a clear waist
    assert classical.connected(mask).max() == 1
    pieces = classical.split_touching(mask, Rules(), 0.5)
    assert pieces.max() == 2
    assert (pieces > 0).sum() == mask.sum()
    assert pieces[40, 25] != pieces[40, 54]


def test_discs_that_overlap_far_stay_one() -> None:
    assert classical.split_touching(discs((40, 38), (40, 42)), Rules(), 0.5).max() == 1


def test_a_larger_seed_distance_joins_and_a_larger_area_drops() -> None:
    mask = discs((40, 30), (40, 49))
    assert classical.split_touching(mask, Rules(seed_um=12), 0.5).max() == 1
    image = he_tile(2, (96, 96)).image
    some, fewer = (classical.threshold(image, 0.5, Rules(min_um2=a)).things for a in (0, 40))
    assert min(s.area for s in some) * 0.25 < 40 < min(s.area for s in fewer) * 0.25
    assert len(fewer) < len(some)


def test_the_stain_cut_decides_what_is_nucleus() -> None:
    density = classical.haematoxylin(he_tile(2, (96, 96)).image)
    areas = [classical.nuclear_mask(density, Rules(stain=cut), 0.5).sum() for cut in (0.0, 0.05, 0.1, 10.0)]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] == 0


def test_glass_has_no_nuclei() -> None:
    white = np.full((40, 50, 3), 255, np.uint8)
    assert classical.watershed(white, 0.5).segments == ()
    assert classical.threshold(white, 0.5).segments == ()
    assert len(classical.nuclei_table(np.zeros((4, 4), int), np.zeros((4, 4)))["id"]) == 0


def test_the_table_is_that_of_regionprops() -> None:
    tile = he_tile(3, (128, 128))
    density = classical.haematoxylin(tile.image)
    ids = classical.split_touching(classical.nuclear_mask(density, Rules(), 0.5), Rules(), 0.5) * 3
    ids[0, 0], ids[2, :5] = 100, 101  # one pixel, and a line
    table = classical.nuclei_table(ids, density)
    props = measure.regionprops(ids, density)
    assert table["id"].tolist() == [p.label for p in props]
    assert table["area_px"].tolist() == [p.area for p in props]
    np.testing.assert_allclose(table["eccentricity"], [p.eccentricity for p in props], atol=1e-6)
    np.testing.assert_allclose(table["haematoxylin"], [p.intensity_mean for p in props])
    np.testing.assert_allclose(np.stack([table["row"], table["column"]], 1), [p.centroid for p in props])


def test_the_image_is_left_alone() -> None:
    image = he_tile(3, (64, 64)).image.copy()
    kept = image.copy()
    classical.watershed(image, 0.5)
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("wrong", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)])
def test_haematoxylin_needs_a_colour_image(wrong: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"needs an \(H, W, 3\) uint8 RGB image, got"):
        classical.haematoxylin(wrong)


@pytest.mark.parametrize("wrong", [{"smooth_um": -1}, {"seed_um": 0}, {"min_um2": -0.1}])
def test_rules_know_their_ranges(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be 0 or more and `seed_um` above 0"):
        Rules(**wrong)


def test_rules_are_finite() -> None:
    with pytest.raises(ValueError, match="`stain` must be a finite number, got nan"):
        Rules(stain=float("nan"))


def test_a_pixel_size_is_positive() -> None:
    with pytest.raises(ValueError, match="pixel_size_um must be a positive number"):
        classical.watershed(np.full((8, 8, 3), 200, np.uint8), 0.0)
