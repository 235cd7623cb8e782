"""The slide of lesson 08 and its pictures."""

from pathlib import Path

import numpy as np
import pytest

from pano_med.lessons import a_slide, slide_pictures
from pano_med.slides import open_slide, tissue_mask
from pano_med.synthetic import he_tile
from pano_med.tiles import Grid
from pano_med.types import HE_CORE, Panoptic

TILE = he_tile(3, (400, 400))


@pytest.fixture(scope="module")
def array() -> tuple[np.ndarray, list[a_slide.Core]]:
    return a_slide.microarray([("a", TILE.image), ("b", he_tile(4, (300, 340)).image)])


def test_cores_are_round_pieces_of_their_images_on_glass(array: tuple[np.ndarray, list[a_slide.Core]]) -> None:
    canvas, (one, two) = array
    assert (canvas[0, 0] == a_slide.GLASS).all()
    assert (canvas[one.centre] == TILE.image[200, 200]).all()
    assert (canvas[one.centre[0], one.centre[1] + one.radius + 5] == a_slide.GLASS).all()
    assert two.centre[1] - two.radius > one.centre[1] + one.radius, "they do not touch"
    assert (one.radius, two.radius) == (192, 142)


def test_the_file_is_a_pyramid_with_its_pixel_size(array: tuple[np.ndarray, list[a_slide.Core]], tmp_path: Path
                                                   ) -> None:
    canvas, cores = array
    with open_slide(a_slide.write_slide(tmp_path / "s.tif", canvas)) as slide:
        assert slide.size == canvas.shape[:2]
        assert slide.mpp == pytest.approx(a_slide.MPP, rel=1e-4)
        assert [round(level.downsample) for level in slide.levels] == [1, 2, 4]
        top, left = cores[0].centre
        assert (slide.region(top, left, 40, 50) == canvas[top : top + 40, left : left + 50]).all()
        assert 0.2 < tissue_mask(slide).share < 0.6


def test_tiles_side_by_side_cut_what_lies_on_a_line() -> None:
    whole = np.zeros((64, 96), np.int32)
    whole[10:20, 28:36] = 1  # on the line between two tiles of 32
    whole[40:50, 40:50] = 2
    truth = Panoptic.from_ids(whole, dict.fromkeys((1, 2), HE_CORE["neoplastic nucleus"].id), HE_CORE)
    left = {"n": 0}

    def segment(tile: np.ndarray) -> Panoptic:
        row, column = divmod(left["n"], 3)
        left["n"] += 1
        ids = np.ascontiguousarray(whole[32 * row : 32 * row + 32, 32 * column : 32 * column + 32])
        kinds = {int(i): HE_CORE["neoplastic nucleus"].id for i in np.unique(ids) if i}
        return Panoptic.from_ids(ids, kinds, HE_CORE)

    halves = a_slide.side_by_side(np.zeros((64, 96, 3), np.uint8), segment, 32)
    assert (len(truth.things), len(halves.things)) == (2, 3)
    assert ((halves.ids > 0) == (whole > 0)).all()
    assert a_slide.on_lines(halves, 32) == 2
    assert a_slide.on_lines(truth, 32) == 0


def test_pictures_show_what_they_are_given(array: tuple[np.ndarray, list[a_slide.Core]]) -> None:
    canvas, cores = array
    row = slide_pictures.levels([canvas[:64, :64], canvas[:32, :32]], [0.5, 1.0])
    assert row.shape[1] >= 2 * 64
    grid = Grid(canvas.shape[:2], 256, 32)
    figure = slide_pictures.tiles(canvas, 1.0, grid, [0, 3])
    frames = [p.get_linestyle() for p in figure.axes[0].patches]
    assert len(frames) == len(grid) + 2
    assert frames.count(":") == len(grid) - 2, "tiles without tissue are dotted"
    values = np.array([[1.0, np.nan], [3.0, 4.0]])
    shown = slide_pictures.density(canvas, values, 50).axes[1].images[0].get_array()
    assert np.ma.getmaskarray(shown).tolist() == [[False, True], [False, False]]
    assert "40%" in slide_pictures.tissue(canvas, canvas[..., 0] < 240, 0.4).axes[0].get_title()
    seam = slide_pictures.seam(TILE.image, {"a": TILE.truth, "b": TILE.truth}, (200, 200), 0.5, reach=16)
    assert seam.shape[1] >= 2 * 32 * 6
    assert cores[0].name == "a"
