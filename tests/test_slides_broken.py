"""What is said of broken slides, and how damage stays where it is."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import damage, near, soft_spots, write_ome, write_svs

from pano_med.slides import SlideReadError, open_slide
from pano_med.slides.source_openslide import OpenSlideSource


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """(1500, 1101, 3) of soft spots in strong colours."""
    return soft_spots(1500, 1101)


def test_one_damaged_tile_costs_that_tile_only(image: np.ndarray, tmp_path: Path, monkeypatch) -> None:
    opened = []
    really = OpenSlideSource._open
    monkeypatch.setattr(OpenSlideSource, "_open", lambda self: opened.append(self) or really(self))
    path = write_svs(tmp_path / "a.svs", image)
    damage(path, 6)  # 5 tiles of 240 to a row: row 1, column 1
    with open_slide(path) as slide:
        place = r"a\.svs is damaged at rows 200-400, columns 300-500 \(level-0 pixels\) and can't be read there: .*JPEG"
        with pytest.raises(SlideReadError, match=place):
            slide.region(200, 300, 200, 200)
        assert len(opened) == 2  # the one that met the damage, and the one that made sure
        for _ in range(5):
            assert near(slide.region(0, 0, 240, 240), image[:240, :240], 3)
        assert len(opened) == 3  # the one that lives on
        picture, holes = slide.overview((750, 550))  # of level 1, which is whole
        assert not holes.any()
    damage(path, 0, level=1)
    with open_slide(path) as slide:
        picture, holes = slide.overview((375, 275))
        assert holes[0, 0]
        assert not holes[200:].any()
        assert picture[holes].min() == 255
        assert picture[200:].std() > 20


@pytest.mark.parametrize("compression", ["zlib", "jpeg"])
def test_a_damaged_tile_of_an_ome_tiff(compression: str, image: np.ndarray, tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", image, 0.25, 2, compression=compression)
    damage(path, 0)
    with open_slide(path) as slide:
        with pytest.raises(SlideReadError, match=r"a\.ome\.tif is damaged at rows 0-99, columns 5-15 "):
            slide.region(0, 5, 99, 10)
        assert near(slide.region(256, 0, 200, 200), image[256:456, :200], 3)


@pytest.mark.parametrize("name", ["a.svs", "a.ome.tif"])
def test_many_threads_read_what_one_reads_and_damage_stays_where_it_is(name, image, tmp_path) -> None:
    path = (write_svs if name == "a.svs" else write_ome)(tmp_path / name, image)
    damage(path, 0)
    rng = np.random.default_rng(1)
    corners = [(int(r), int(c)) for r, c in zip(rng.integers(0, 1300, 80), rng.integers(0, 1000, 80), strict=True)]
    with open_slide(path) as slide, ThreadPoolExecutor(8) as pool:
        def read(corner: tuple[int, int]) -> np.ndarray | None:
            try:
                return slide.region(*corner, 100, 90)
            except SlideReadError:
                return None
        found = list(pool.map(read, corners))
    side = 240 if name == "a.svs" else 256
    for (r, c), pixels in zip(corners, found, strict=True):
        assert (pixels is None) == (r < side and c < side)
        assert pixels is None or near(pixels[:, : 1101 - c], image[r : r + 100, c : c + 90], 4)
    assert {p is None for p in found} == {True, False}


@pytest.mark.parametrize("share", [0, 1e-5, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_truncated_svs(share: float, image: np.ndarray, tmp_path: Path) -> None:
    whole = write_svs(tmp_path / "whole.svs", image).read_bytes()
    (tmp_path / "cut.svs").write_bytes(whole[: int(share * len(whole))])
    what = r"cut\.svs .*(cut short .*copy it again|its content is not that of one; get)"
    with pytest.raises(OSError, match=what):
        open_slide(tmp_path / "cut.svs")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.9, 0.99])
def test_the_real_slide_truncated(share: float, data_root: Path, tmp_path: Path) -> None:
    whole = (data_root / "wsi_cmu1_small_region" / "CMU-1-Small-Region.svs").read_bytes()
    (tmp_path / "cut.svs").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(OSError, match="it is cut short or of a kind that is unknown here; copy it again"):
        open_slide(tmp_path / "cut.svs")


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_truncated_ome_tiff(share: float, image: np.ndarray, tmp_path: Path) -> None:
    whole = write_ome(tmp_path / "whole.ome.tif", image, 0.25).read_bytes()
    (tmp_path / "cut.ome.tif").write_bytes(whole[: int(share * len(whole))])
    with (
        pytest.raises(SlideReadError, match=r"cut\.ome\.tif is damaged .*the file ends before this tile"),
        open_slide(tmp_path / "cut.ome.tif") as slide,
    ):
        slide.region(0, 0, *slide.size)


def test_a_text_file_named_svs(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_text("no slide\n" * 99)
    with pytest.raises(OSError, match=r"a\.svs has the name of a slide, but its content is not that of one; get"):
        open_slide(tmp_path / "a.svs")


def test_an_mrxs_with_missing_parts(image: np.ndarray, tmp_path: Path) -> None:
    path, folder = tmp_path / "a.mrxs", tmp_path / "a"
    Image.fromarray(image).save(path, "JPEG")  # as plain image it would pass for the slide
    with pytest.raises(OSError, match=r"a\.mrxs has the name .* the folder a beside it is missing; copy the whole"):
        open_slide(path)
    folder.mkdir()
    with pytest.raises(OSError, match=r"the file Slidedat\.ini in its folder a beside it is missing"):
        open_slide(path)
    (folder / "Slidedat.ini").write_text(_SLIDEDAT)
    with pytest.raises(OSError, match=r"a\.mrxs looks like a slide but can't be opened: .*Index\.dat.*copy it again"):
        open_slide(path)


_SLIDEDAT = """[GENERAL]
SLIDE_ID = 1
IMAGENUMBER_X = 1
IMAGENUMBER_Y = 1
OBJECTIVE_MAGNIFICATION = 20
CameraImageDivisionsPerSide = 1
[HIERARCHICAL]
HIER_COUNT = 1
NONHIER_COUNT = 0
INDEXFILE = Index.dat
HIER_0_NAME = Slide zoom level
HIER_0_COUNT = 1
HIER_0_VAL_0_SECTION = L0
[L0]
OVERLAP_X = 0
OVERLAP_Y = 0
MICROMETER_PER_PIXEL_X = 0.5
MICROMETER_PER_PIXEL_Y = 0.5
IMAGE_FORMAT = JPEG
IMAGE_FILL_COLOR_BGR = 16777215
DIGITIZER_WIDTH = 256
DIGITIZER_HEIGHT = 256
IMAGE_CONCAT_FACTOR = 0
[DATAFILE]
FILE_COUNT = 1
FILE_0 = Data0000.dat
"""


def test_other_files_that_are_no_slides(image: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.svs; check the name and the folder"):
        open_slide(tmp_path / "a.svs")
    with pytest.raises(IsADirectoryError, match="is a folder, not a slide; name a file in it"):
        open_slide(tmp_path)
    tifffile.imwrite(tmp_path / "deep.ome.tif", image.astype(np.uint16), photometric="rgb", tile=(256, 256), ome=True)
    with pytest.raises(OSError, match=r"a slide must be 8-bit RGB, .*deep\.ome\.tif holds uint16 .*; export it as RGB"):
        open_slide(tmp_path / "deep.ome.tif")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(OSError, match=r"a\.png is not an image that can be read here"):
        open_slide(tmp_path / "a.png")


def test_what_tifffile_knows_but_nobody_unpacks(image: np.ndarray, tmp_path: Path, monkeypatch) -> None:
    path = write_ome(tmp_path / "a.ome.tif", image, 0.25, 2)
    monkeypatch.setattr("pano_med.slides.source_tiff.TiffImagePlugin.COMPRESSION_INFO", {})
    with pytest.raises(OSError, match=r"a\.ome\.tif is packed as ADOBE_DEFLATE, which can't be unpacked here; export"):
        open_slide(path)
    monkeypatch.setattr("pano_med.slides.source_tiff._MAX_TILE", 1000)
    monkeypatch.setattr("pano_med.slides.source_tiff.TiffImagePlugin.COMPRESSION_INFO", {8: ""})
    with pytest.raises(OSError, match=r"a slide must be cut into tiles, .*a\.ome\.tif is one piece; export it as"):
        open_slide(path)
