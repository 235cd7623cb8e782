"""Where there is tissue, and whether the pixel size is believable."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from slide_cases import PaintedSlide
from slide_files import damage, write_pyramid, write_svs

from pano_med.predict import load_segmenter
from pano_med.slides import Slide, Tissue, open_slide, tissue_mask
from pano_med.slides.plausible import FACTOR, Guess, doubt, guess_mpp
from pano_med.slides.source import Facts, Level
from pano_med.types import HE_CORE, Panoptic

GLASS, PINK = (243, 242, 240), (226, 170, 200)


class Drawn(Slide):
    """A picture at 8 um per pixel that poses as a slide."""

    def __init__(self, image: Image.Image) -> None:
        self.array = np.asarray(image)
        self.facts = Facts((Level(self.array.shape[:2], 1.0),), (8.0, 8.0))
        super().__init__("drawn.png", self, mpp=8.0)

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """`Source.read`."""
        return self.array[top : top + height, left : left + width].copy()


def _drawn(glass=GLASS, size=(400, 300)) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", size, glass)
    return image, ImageDraw.Draw(image)


def _noisy(image: Image.Image, sigma: float = 2) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, sigma, (*image.size[::-1], 1))  # a sensor's grey noise
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("glass", [(255, 255, 255), GLASS, (212, 212, 212), (236, 232, 218), (0, 0, 0)])
def test_a_blank_slide_has_no_tissue(glass) -> None:
    tissue = tissue_mask(Drawn(_noisy(_drawn(glass)[0])))
    assert (tissue.share, tissue.area_mm2, tissue.covers(0, 0, 300, 400)) == (0, 0, 0)


@pytest.mark.parametrize("glass", [(255, 255, 255), GLASS, (212, 212, 212), (236, 232, 218)])
@pytest.mark.parametrize("colour", [PINK, (232, 214, 224), (120, 70, 150), (190, 150, 110)])
def test_a_piece_of_tissue_is_found_on_any_glass(glass, colour) -> None:
    image, draw = _drawn(glass)
    draw.rectangle((100, 80, 199, 179), tuple(int(c * g / 255) for c, g in zip(colour, glass, strict=True)))
    tissue = tissue_mask(Drawn(_noisy(image)))
    assert tissue.mpp == 8
    assert tissue.mask[80:180, 100:200].all()
    assert 100**2 <= tissue.mask.sum() <= 106**2  # widened by 16 um
    assert tissue.covers(80, 100, 100, 100) == 1
    assert tissue.covers(80, 0, 100, 50) == 0
    assert tissue.area_mm2 == pytest.approx(0.64, rel=0.13)


def test_black_grey_and_ink_around_the_tissue_are_none() -> None:
    image, draw = _drawn()
    draw.rectangle((150, 100, 249, 199), PINK)
    draw.rectangle((0, 0, 399, 40), (0, 0, 0))  # never scanned
    draw.rectangle((0, 260, 399, 299), (128, 128, 128))  # the slide's holder
    draw.line((20, 60, 100, 240), (35, 60, 160), 12)  # a blue pen
    draw.line((300, 60, 380, 240), (20, 130, 80), 12)  # a green one
    draw.line((300, 240, 380, 60), (25, 25, 30), 12)  # a black one
    tissue = tissue_mask(Drawn(_noisy(image)))
    assert tissue.mask[100:200, 150:250].all()
    away = tissue.mask.copy()
    away[95:205, 145:255] = False
    assert away.mean() < 0.005


def test_small_holes_are_filled_large_ones_kept_specks_dropped() -> None:
    image, draw = _drawn()
    draw.rectangle((50, 50, 349, 249), PINK)
    draw.ellipse((70, 70, 90, 90), GLASS)  # 0.02 mm2: a vessel
    draw.ellipse((150, 100, 250, 200), GLASS)  # 0.5 mm2: a lumen
    draw.rectangle((10, 10, 14, 14), PINK)  # 1600 um2
    tissue = tissue_mask(Drawn(image))
    assert tissue.mask[60:95, 60:95].all()
    assert not tissue.mask[120:180, 170:230].any()
    assert not tissue.mask[:40].any()


def test_tissue_that_fills_the_slide_is_all_tissue() -> None:
    assert tissue_mask(Drawn(_noisy(_drawn(PINK)[0]))).share == 1


def test_a_narrow_strip_at_the_edge_of_the_slide_is_kept() -> None:
    image, draw = _drawn()
    draw.rectangle((0, 50, 1, 250), PINK)
    assert tissue_mask(Drawn(image)).mask[60:240, :2].all()


def test_the_mask_of_a_painted_slide_is_its_tissue() -> None:
    slide = PaintedSlide((8192, 6000), tissue=0.3)
    tissue = tissue_mask(slide)
    assert tissue.mask.shape == (256, 188)
    truth = slide.truth(0, 0, 8192, 6000, mpp=8)[1] > 1
    assert tissue.mask[truth[:256, :188]].mean() > 0.999
    assert 0.3 <= tissue.share <= 0.36
    assert tissue_mask(PaintedSlide((2048, 2048), tissue=0)).share == 0


def test_what_cannot_be_read_counts_as_tissue(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", np.full((1200, 1200, 3), 243, np.uint8), levels=1)
    damage(path, 0)
    with open_slide(path) as slide:
        tissue = tissue_mask(slide)
    assert tissue.covers(0, 0, 200, 200) == 1  # it is looked at, fails, and is told
    assert tissue.covers(800, 800, 200, 200) == 0


def test_covers_is_an_exact_share() -> None:
    mask = np.zeros((4, 8), bool)
    mask[1, 2] = True
    tissue = Tissue(mask, 8.0, (40, 80))  # 10 level-0 pixels per pixel of the mask
    assert tissue.covers(10, 20, 10, 10) == 1
    assert tissue.covers(15, 25, 10, 10) == pytest.approx(0.25)
    assert tissue.covers(0, 0, 40, 80) == pytest.approx(1 / 32)
    assert tissue.covers(-10, 20, 30, 10) == pytest.approx(1 / 3)
    assert tissue.covers(900, 900, 5, 5) == tissue.covers(-50, 0, 10, 10) == 0
    with pytest.raises(ValueError, match="a rectangle needs a height and a width above 0, got 0 x 3"):
        tissue.covers(0, 0, 0, 3)


def test_the_real_slide(data_root: Path) -> None:
    with open_slide(data_root / "wsi_cmu1_small_region" / "CMU-1-Small-Region.svs") as slide:
        tissue = tissue_mask(slide)
    assert 0.40 < tissue.share < 0.50  # seen: the picture with its outline was looked at
    assert tissue.covers(1500, 1200, 300, 200) == pytest.approx(1)  # epithelium
    assert tissue.covers(2000, 800, 300, 300) == pytest.approx(1)  # stroma
    assert tissue.covers(1500, 0, 1000, 400) == 0  # glass on the left


# --- plausible.py


class Rows:
    """Plays a segmenter that finds square nuclei of one size in rows."""

    def __init__(self, side: int, most: int = 100) -> None:
        self.side, self.most, self.calls = side, most, []

    def __call__(self, image: np.ndarray, mpp: float) -> Panoptic:
        self.calls.append((image, mpp))
        ids, step = np.zeros(image.shape[:2], np.int32), self.side + 2
        for n in range(self.most):
            row, column = divmod(n, image.shape[1] // step)
            ids[row * step : row * step + self.side, column * step : column * step + self.side] = n + 1
        thing = HE_CORE.things[0].id
        return Panoptic.from_ids(ids, dict.fromkeys(range(1, self.most + 1), thing), HE_CORE, mpp)


def test_a_guess_measures_nuclei_in_patches_of_tissue() -> None:
    slide = PaintedSlide((8192, 8192), tissue=0.3)
    segment = Rows(side=25)  # as large as a disc of 28.2 px
    guess = guess_mpp(slide, tissue_mask(slide), segment, nucleus_um=7.0)
    assert guess == Guess(pytest.approx(7.0 / 28.21, rel=1e-3), 300)
    assert [image.shape for image, _ in segment.calls] == [(512, 512, 3)] * 3
    assert {mpp for _, mpp in segment.calls} == {0.25}
    assert all((image[..., 1] < 230).mean() > 0.9 for image, _ in segment.calls)


def test_patches_are_rich_in_nuclei_but_not_the_richest() -> None:
    wide = Image.new("RGB", (512 * 24, 512), PINK)
    for n in range(24):  # a patch of each share of dark blue
        left = n * 7 % 24 * 512
        wide.paste((60, 40, 120), (left, 0, left + round(512 * n / 24), 512))
    slide, segment = Drawn(wide), Rows(side=25)
    guess_mpp(slide, Tissue(np.ones((9, 9), bool), 8.0, slide.size), segment)
    assert [round(24 * (image[..., 0] < 100).mean()) for image, _ in segment.calls[:3]] == [18, 20, 22]


def test_where_hardly_anything_is_found_other_scales_are_tried() -> None:
    slide = PaintedSlide((4096, 4096), tissue=0.5)
    segment = Rows(side=10, most=9)
    assert guess_mpp(slide, tissue_mask(slide), segment) is None
    assert [mpp for _, mpp in segment.calls] == [0.25] * 3 + [0.5] * 3 + [0.125] * 3


def test_a_guess_of_a_damaged_or_a_blank_slide() -> None:
    tissue = tissue_mask(PaintedSlide((4096, 4096), tissue=0.5))
    torn = PaintedSlide((4096, 4096), tissue=0.5, damaged=[(0, 0, 4096, 2200)])
    segment = Rows(side=25)
    assert guess_mpp(torn, tissue, segment).nuclei == 300
    assert guess_mpp(PaintedSlide(damaged=[(0, 0, 9999, 9999)]), tissue, segment) is None
    blank = PaintedSlide(tissue=0)
    assert guess_mpp(blank, tissue_mask(blank), segment) is None


@pytest.mark.parametrize("size", [(1, 1), (60, 60), (5, 900), (600, 600)])
@pytest.mark.parametrize("share", [0, 1])
def test_a_slide_no_larger_than_a_hole_is_tissue_or_glass(size: tuple[int, int], share: int) -> None:
    assert tissue_mask(PaintedSlide(size, tissue=share)).share == share


def test_a_single_cell_is_found_on_a_tiny_slide_and_dropped_from_a_large_one() -> None:
    for side, found in ((26, True), (60, False)):
        image, draw = _drawn(size=(side, side))
        draw.point((13, 13), PINK)
        mask = tissue_mask(Drawn(_noisy(image))).mask
        assert (mask[13, 13], mask[:8].any()) == (found, False)


def test_glass_at_the_border_is_no_hole_however_small() -> None:
    image, draw = _drawn(PINK)
    draw.rectangle((0, 0, 19, 19), GLASS)  # 0.026 mm2 in a corner
    draw.rectangle((200, 140, 219, 159), GLASS)  # as much inside
    mask = tissue_mask(Drawn(image)).mask
    assert not mask[:15, :15].any()
    assert mask[135:165, 195:225].all()


def test_a_small_biopsy_is_measured_too() -> None:
    slide = PaintedSlide((1500, 1500), tissue=0.12)
    assert guess_mpp(slide, tissue_mask(slide), Rows(side=25)).nuclei >= 100


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    """A small slide that says 0.25 um."""
    return write_pyramid(tmp_path / "a.tif", np.full((600, 600, 3), 200, np.uint8), 0.25, 1)


def test_nuclei_of_the_wrong_size_are_doubted_in_one_sentence(grey: Path) -> None:
    with open_slide(grey) as slide:
        assert doubt(slide, Guess(0.51, 88)) == (
            "a.tif looks like 20x (about 0.51 um per pixel, guessed from 88 nuclei), the file says 40x (0.25); "
            "if the nuclei are right, give the true size with --mpp"
        )
        assert doubt(slide, Guess(0.25 / FACTOR * 0.99, 30)).startswith("a.tif looks like 80x")
        for fine in (0.25, 0.25 * FACTOR * 0.99, 0.25 / FACTOR * 1.01):
            assert doubt(slide, Guess(fine, 50)) is None
        assert doubt(slide) is None
    with open_slide(grey, mpp=1.0) as slide:
        assert "guessed from 30 nuclei), you say 10x (1); if" in doubt(slide, Guess(0.25, 30))


def test_an_objective_that_does_not_fit_is_doubted(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", np.full((600, 600, 3), 200, np.uint8), 0.5, 40)
    with open_slide(path) as slide:
        assert doubt(slide) == (
            "a.svs was scanned at 40x, which is usually 0.25 um per pixel, the file says 0.5; "
            "if that is wrong, give the true size with --mpp"
        )
    with open_slide(path, mpp=0.23) as slide:
        assert doubt(slide) is None


def test_without_a_pixel_size_the_guess_is_told_and_taken_twice(tmp_path: Path) -> None:
    with open_slide(write_pyramid(tmp_path / "a.tif", np.full((600, 600, 3), 200, np.uint8), None, 1)) as slide:
        assert doubt(slide) is None
        assert doubt(slide, Guess(0.5, 40)) == (
            "the size of its pixels is unknown; a.tif looks like 20x (about 0.5 um per pixel, guessed from 40 nuclei)"
        )
        segment = Rows(side=12)
        guess_mpp(slide, Tissue(np.ones((9, 9), bool), 8.0, slide.size), segment)
        assert [mpp for _, mpp in segment.calls] == [0.25, pytest.approx(7 / 12 * np.sqrt(np.pi) / 2)]


@pytest.mark.parametrize(("side", "times"), [(25, 1), (12, 2)])
def test_a_guess_far_from_the_stated_size_is_made_again(tmp_path: Path, side: int, times: int) -> None:
    path = write_pyramid(tmp_path / "a.tif", np.full((600, 600, 3), 200, np.uint8), 0.25, 1)
    with open_slide(path) as slide:
        segment = Rows(side=side)
        guess_mpp(slide, Tissue(np.ones((9, 9), bool), 8.0, slide.size), segment)
        assert len(segment.calls) == times


@pytest.mark.slow
def test_the_real_slide_at_the_right_and_at_the_wrong_size(data_root: Path) -> None:
    segmenter = load_segmenter(device="cpu")
    path = data_root / "wsi_cmu1_small_region" / "CMU-1-Small-Region.svs"
    guesses = {}
    for mpp in (None, 0.25):
        with open_slide(path, mpp) as slide:
            guesses[mpp] = guess_mpp(slide, tissue_mask(slide), lambda part, um: segmenter(part, um).panoptic)
            said = doubt(slide, guesses[mpp])
            assert (said is None) == (mpp is None)
    assert "scanned at 20x, which is usually 0.5 um per pixel, you say 0.25" in said
    assert 1 / FACTOR < guesses[None].mpp / 0.499 < FACTOR
    assert guesses[0.25].mpp / 0.25 > FACTOR
