"""Every kind of slide through one door: pixels, levels, pixel size."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_cases import PaintedSlide, PerfectPredictor
from slide_files import near, packed_tiles, soft_spots, write_ome, write_pyramid, write_scn, write_svs

from pano_med.fusion import fuse
from pano_med.slides import Slide, SlideReadError, fingerprint, need_mpp, open_slide, resample
from pano_med.slides.source_tiff import TiffSource


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """(1500, 1101, 3) of soft spots in strong colours."""
    return soft_spots(1500, 1101)


WRITERS = [
    pytest.param(write_pyramid, "a.tif", "zlib", id="tiff"),
    pytest.param(write_pyramid, "a.tif", "jpeg", id="tiff-jpeg"),
    pytest.param(write_ome, "a.ome.tif", "zlib", id="ome"),
    pytest.param(write_ome, "a.ome.tif", "jpeg", id="ome-jpeg"),
]


@pytest.mark.parametrize(("write", "name", "compression"), WRITERS)
def test_a_pyramid_gives_its_pixels_levels_and_mpp(write, name, compression, image, tmp_path) -> None:
    write(tmp_path / name, image, 0.25, 3, compression=compression)
    loss = 0 if compression == "zlib" else 3
    with open_slide(tmp_path / name) as slide:
        assert (slide.name, slide.size, slide.mpp, slide.mpp_source) == (name, (1500, 1101), 0.25, "file")
        assert [lv.size for lv in slide.levels] == [(1500, 1101), (750, 550), (375, 275)]
        assert [lv.downsample for lv in slide.levels] == [1, 2, 4]  # 1101 / 275 is not 4, but 275 is 1101 / 4
        assert near(slide.region(100, 200, 300, 401), image[100:400, 200:601], loss)
        half = slide.region(100, 200, 300, 400, mpp=0.5)
        assert near(half, image[100:400, 200:600].reshape(150, 2, 200, 2, 3).mean((1, 3)), loss + 1)
        assert slide.region(0, 0, 301, 201, mpp=0.1).shape == (round(301 / 0.4), round(201 / 0.4), 3)


@pytest.mark.parametrize(("write", "name"), [(write_pyramid, "a.tif"), (write_ome, "a.ome.tif")])
def test_a_region_comes_from_the_level_that_suits(write, name, tmp_path, monkeypatch) -> None:
    grey = iter(np.full((s, s, 3), v, np.uint8) for s, v in ((1024, 10), (512, 20), (256, 30)))
    monkeypatch.setattr("slide_files._halves", lambda image, levels: list(grey))
    write(tmp_path / name, np.zeros((1024, 1024, 3), np.uint8), 0.25, 3)
    with open_slide(tmp_path / name) as slide:
        shades = {mpp: int(slide.region(256, 256, 256, 256, mpp).mean()) for mpp in (0.2, 0.25, 0.49, 0.5, 0.9, 1, 4)}
    assert shades == {0.2: 10, 0.25: 10, 0.49: 10, 0.5: 20, 0.9: 20, 1: 30, 4: 30}


@pytest.mark.parametrize("layout", [
    {"tile": (256, 256), "planarconfig": "separate"},
    {"tile": (128, 256), "predictor": True},
    {"rowsperstrip": 50},
    {"rowsperstrip": 50, "planarconfig": "separate", "byteorder": ">"},
])  # fmt: skip
def test_tifffile_slides_in_other_layouts(layout: dict, image: np.ndarray, tmp_path: Path) -> None:
    planes = np.moveaxis(image, -1, 0) if "planarconfig" in layout else image
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", compression="zlib", ome=True, **layout)
    source = TiffSource(tmp_path / "a.tif")
    assert np.array_equal(source.read(0, 130, 70, 777, 500), image[130:907, 70:570])
    source.close()


def test_what_was_never_written_is_white(image: np.ndarray, tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", image, 0.25, 1)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages.first.databytecounts)
        tiff.pages.first.tags["TileByteCounts"].overwrite([0, *counts[1:]])
    with open_slide(path) as slide:
        assert slide.region(0, 0, 256, 256).min() == 255
        assert np.array_equal(slide.region(256, 0, 256, 256), image[256:512, :256])


def test_a_plain_image_is_a_slide_of_one_level(image: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(image).save(tmp_path / "a.png", dpi=(50800, 50800))
    with open_slide(tmp_path / "a.png") as slide:
        assert (slide.size, len(slide.levels), slide.mpp_source, slide.bounds) == ((1500, 1101), 1, "file", None)
        assert slide.mpp == pytest.approx(0.5, rel=1e-3)
        assert np.array_equal(slide.region(7, 9, 100, 50), image[7:107, 9:59])
        slide.region(7, 9, 100, 50)[:] = 0
        assert np.array_equal(slide.region(7, 9, 100, 50), image[7:107, 9:59])


def test_beyond_the_border_it_is_white(image: np.ndarray, tmp_path: Path) -> None:
    with open_slide(write_pyramid(tmp_path / "a.tif", image, 0.25, 1)) as slide:
        corner = slide.region(-10, -20, 30, 40)
        assert np.array_equal(corner[10:, 20:], image[:20, :20])
        assert corner[:10].min() == corner[:, :20].min() == 255
        assert slide.region(5000, 0, 8, 8).min() == 255
        assert slide.region(1490, 1091, 20, 20, mpp=0.5)[6:].min() == 255


def test_equal_places_are_equal_pixels_whatever_is_asked_around_them(image, tmp_path, monkeypatch) -> None:
    with open_slide(write_pyramid(tmp_path / "a.tif", image, 0.499, 1)) as slide:
        scale = 0.25 / 0.499  # level-0 pixels per pixel of the model
        whole = slide.region(0, 0, 1024 * scale, 1024 * scale, 0.25)
        part = slide.region(301 * scale, 77 * scale, 512 * scale, 640 * scale, 0.25)
        assert whole.shape == (1024, 1024, 3)
        assert part.shape == (512, 640, 3)
        assert np.abs(whole[301:813, 77:717].astype(int) - part).max() <= 1  # the last bit of a float
        small = slide.region(0, 0, 1500, 1101, 1.7)
        monkeypatch.setattr(resample, "BLOCK", 100)
        assert np.abs(slide.region(0, 0, 1500, 1101, 1.7).astype(int) - small).max() <= 1


def test_a_scan_of_a_part_has_bounds_and_white_around(image: np.ndarray, tmp_path: Path) -> None:
    with open_slide(write_scn(tmp_path / "a.scn", image, (700, 300), (3000, 2000))) as slide:
        assert (slide.size, slide.bounds) == ((3000, 2000), (700, 300, 2200, 1401))
        assert (slide.mpp, slide.objective) == (0.5, 20)
        assert near(slide.region(700, 300, 500, 500), image[:500, :500], 3)
        assert slide.region(600, 200, 90, 90).min() == 255
        assert slide.thumbnail(300)[:60].min() == 255


def test_a_dicom_slide(image: np.ndarray, tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="pydicom, which writes the file, comes with the [dev] extra")
    uid, data, spacing, group = pydicom.uid.generate_uid, pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.VLWholeSlideMicroscopyImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid()
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = uid(), uid(), "SM"
    data.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = image.shape[:2]
    frames = list(packed_tiles(image, 256))
    data.Rows, data.Columns, data.NumberOfFrames, data.TotalPixelMatrixFocalPlanes = 256, 256, len(frames), 1
    data.DimensionOrganizationType, data.PhotometricInterpretation = "TILED_FULL", "YBR_FULL_422"
    data.SamplesPerPixel, data.PlanarConfiguration, data.PixelRepresentation = 3, 0, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    spacing.PixelSpacing, spacing.SliceThickness = [0.00025, 0.00025], 0.001
    group.PixelMeasuresSequence = [spacing]
    data.SharedFunctionalGroupsSequence = [group]
    data.PixelData = pydicom.encaps.encapsulate(frames)
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with open_slide(tmp_path / "a.dcm") as slide:
        assert (slide.size, slide.mpp, slide.mpp_source) == ((1500, 1101), 0.25, "file")
        assert near(slide.region(100, 100, 300, 300), image[100:400, 100:400], 3)


def test_a_thumbnail_is_the_slide_made_small(image: np.ndarray, tmp_path: Path) -> None:
    with open_slide(write_pyramid(tmp_path / "a.tif", image, None, 3)) as slide:
        small = slide.thumbnail(150)
        assert small.shape == (150, 110, 3)
        assert near(small, np.asarray(Image.fromarray(image).resize((110, 150), Image.Resampling.BOX)), 4)
        assert slide.thumbnail(9999).shape == image.shape


# --- pixel size


def test_your_mpp_is_believed_before_the_files(image: np.ndarray, tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", image, 0.25, 1)
    with open_slide(path, mpp=0.5) as slide:
        assert (slide.mpp, slide.mpp_source, need_mpp(slide)) == (0.5, "given", 0.5)
        assert slide.region(0, 0, 8, 8).flags.writeable
        with pytest.raises(ValueError, match="pixel_size_um must be a positive number of micrometres or None, got 0"):
            slide.region(0, 0, 8, 8, mpp=0)
    for wrong in (40, -1, float("nan")):
        with pytest.raises(ValueError, match=rf"must lie between 0.05 and 5, got {wrong:g}; 40x is usually 0.25"):
            open_slide(path, mpp=wrong)


@pytest.mark.parametrize(("mpp", "said"), [
    (None, "does not say how large its pixels are"),
    ((0.25, 0.5), r"says that its pixels are not square \(0.25 x 0.5 um\): export it with square ones, or"),
    (352.8, "says 352.8 um per pixel, which no microscope gives"),
])  # fmt: skip
@pytest.mark.parametrize(("write", "name"), [(write_pyramid, "a.tif"), (write_ome, "a.ome.tif")])
def test_without_a_pixel_size_one_is_asked_for(write, name, mpp, said, image, tmp_path) -> None:
    with open_slide(write(tmp_path / name, image, mpp, 1)) as slide:
        assert (slide.mpp, slide.mpp_source) == (None, "unknown")
        with pytest.raises(ValueError, match=rf"{re.escape(name)} {said}:? give the micrometres per pixel with --mpp"):
            need_mpp(slide)
        with pytest.raises(ValueError, match="give the micrometres per pixel"):
            slide.region(0, 0, 9, 9, mpp=0.5)


def test_sides_that_nearly_agree_are_averaged(image: np.ndarray, tmp_path: Path) -> None:
    with open_slide(write_ome(tmp_path / "a.ome.tif", image, (0.252, 0.248), 1)) as slide:
        assert slide.mpp == pytest.approx(0.25)


def test_the_question_tells_what_the_objective_usually_means(image: np.ndarray, tmp_path: Path) -> None:
    with (
        open_slide(write_svs(tmp_path / "a.svs", image, mpp=None, power=40)) as slide,
        pytest.raises(ValueError, match=r"its objective is 40x, usually 0.25"),
    ):
        need_mpp(slide)


def test_an_empty_region_is_refused(image: np.ndarray, tmp_path: Path) -> None:
    with open_slide(write_pyramid(tmp_path / "a.tif", image, 0.25, 1)) as slide, pytest.raises(
        ValueError, match=r"a region needs a height and a width above 0, got 0 x 5 of a\.tif"
    ):
        slide.region(0, 0, 0, 5)


def test_a_fingerprint_is_of_the_content(image: np.ndarray, tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", image)
    shutil.copy(path, tmp_path / "b.svs")
    with open_slide(path) as a, open_slide(tmp_path / "b.svs") as b:
        assert a.fingerprint == b.fingerprint
        assert re.fullmatch("[0-9a-f]{16}", a.fingerprint)
    path.write_bytes(path.read_bytes() + b"\0")
    assert fingerprint(path) != b.fingerprint
    assert fingerprint(tmp_path / "b.svs") == hashlib.sha256(
        (data := (tmp_path / "b.svs").read_bytes())[:1048576] + data[-1048576:] + str(len(data)).encode()
    ).hexdigest()[:16]  # fmt: skip


def test_the_room_needs_no_torch() -> None:
    code = "import sys, pano_med.slides; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_the_real_slide_by_both_readers(data_root: Path) -> None:
    path = data_root / "wsi_cmu1_small_region" / "CMU-1-Small-Region.svs"
    source = TiffSource(path)
    with open_slide(path) as slide:
        assert (slide.size, slide.mpp, slide.objective, slide.bounds) == ((2967, 2220), 0.499, 20, None)
        assert near(source.read(0, 500, 300, 900, 700), slide.region(500, 300, 900, 700), 1)
    source.close()


# --- the stand-ins that other tests build on


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_the_perfect_predictor_reads_the_truth_off_any_crop(mpp: float) -> None:
    slide = PaintedSlide((100_000, 100_000), tissue=0.5)
    predictor = PerfectPredictor(slide, mpp)
    for top, left, h, w in ((50_001, 50_003, 200, 300), (14_600, 50_000, 200, 200), (0, 0, 64, 64)):
        box = top, left, h * mpp / 0.25, w * mpp / 0.25
        ids, classes = slide.truth(*box, mpp)
        found = fuse(predictor.predict(slide.region(*box, mpp), mpp), predictor.rules).panoptic
        assert np.array_equal(found.semantic(), classes)
        pairs = np.unique(np.stack([found.lookup({s.id: s.id for s in found.things}), ids]).reshape(2, -1), axis=1)
        assert len(set(pairs[0])) == len(set(pairs[1])) == pairs.shape[1]


def test_the_painted_slide_is_one_scene() -> None:
    slide = PaintedSlide((2048, 1500), tissue=0.3, giants=[(1000, 750, 150)])
    assert isinstance(slide, Slide)
    whole, part = slide.truth(0, 0, 2048, 1500), slide.truth(750, 500, 377, 255)
    assert all(np.array_equal(a[750:1127, 500:755], b) for a, b in zip(whole, part, strict=True))
    assert (whole[1] > 1).mean() == pytest.approx(0.3, abs=0.03)
    assert np.count_nonzero(whole[0] == whole[0][1000, 750]) == pytest.approx(np.pi * 150**2, rel=0.01)
    with pytest.raises(SlideReadError, match="the painter was told so"):
        PaintedSlide(damaged=[(100, 100, 200, 200)]).region(150, 0, 10, 1000)
