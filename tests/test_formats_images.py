"""formats.read_image and write_png: every kind of file people have, and every kind that is broken."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pano_med import formats
from pano_med.formats import ImageFile, make_folder, read_image, replacing, write_png
from pano_med.formats import images as images_module

RGB = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3) * 2


def notes(image: ImageFile) -> str:
    return " | ".join(image.notes)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "a.ppm"])
def test_lossless_rgb_comes_back_as_it_was(tmp_path, name):
    Image.fromarray(RGB).save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.array, RGB)
    assert image.array.flags.writeable  # torch.from_numpy warns of arrays that are not
    assert image.size == (5, 7)
    assert image.notes == ()


def test_jpeg_is_close_to_what_was_saved(tmp_path):
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 64, 3))
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").array.astype(int), smooth, atol=4)


def test_grey_is_repeated_in_three_channels(tmp_path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.array, np.repeat(RGB[..., :1], 3, 2))
    assert "grey" in notes(image)


def test_one_bit_tiff_is_black_and_white(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").array[0, :, 0].tolist() == [255, 0]


def test_alpha_is_laid_over_white(tmp_path):
    rgba = np.array([[[100, 0, 200, 0], [100, 0, 200, 255], [100, 0, 200, 51]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.array.tolist() == [[[255, 255, 255], [100, 0, 200], [224, 204, 244]]]  # 0.2 of it, 0.8 of white
    assert "over white" in notes(image)


def test_palette_with_a_transparent_colour(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(tmp_path / "a.png", transparency=1)
    image = read_image(tmp_path / "a.png")
    assert image.array.tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert "palette" in notes(image)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (2, 1), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    assert image.array[0, 0].tolist() == [255, 0, 0]
    assert "CMYK" in notes(image)


@pytest.mark.parametrize(("top", "depth"), [(200, 8), (4095, 12), (4096, 14), (65535, 16)])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_by_the_depth_that_holds_its_largest_value(tmp_path, name, top, depth):
    values = np.array([[0, top // 2, top]], np.uint16)
    (tifffile.imwrite if name == "a.tif" else lambda p, v: Image.fromarray(v).save(p))(tmp_path / name, values)
    image = read_image(tmp_path / name)
    assert image.array[0, :, 1].tolist() == np.rint(values[0] / (2**depth - 1) * 255).tolist()
    assert f"{depth}-bit" in notes(image)


def test_16_bit_colour_tiff_in_planes_and_interleaved(tmp_path):
    deep = RGB.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate")
    for name in ("a.tif", "b.tif"):
        expected = np.rint(deep / (2**16 - 1) * 255) if deep.max() > 2**14 else None
        np.testing.assert_array_equal(read_image(tmp_path / name).array, expected)


def test_16_bit_alpha_and_white_is_zero(tmp_path):
    deep = np.array([[[65535, 0, 0, 65535], [65535, 0, 0, 0]]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", extrasamples=["unassalpha"])
    assert read_image(tmp_path / "a.tif").array.tolist() == [[[255, 0, 0], [255, 255, 255]]]
    tifffile.imwrite(tmp_path / "b.tif", np.array([[0, 65535]], np.uint16), photometric="miniswhite")
    assert read_image(tmp_path / "b.tif").array[0, :, 0].tolist() == [255, 0]


def test_16_bit_colour_png_says_what_was_lost(tmp_path):
    deep_png(tmp_path / "a.png", np.array([[[0x1234, 0xFFFF, 0x00FF]]], np.uint16))
    image = read_image(tmp_path / "a.png")
    assert image.array.tolist() == [[[0x12, 0xFF, 0x00]]]
    assert "upper 8 bits" in notes(image)


def deep_png(path: Path, values: np.ndarray) -> None:
    """A 16-bit RGB PNG by hand, which Pillow does not write."""
    height, width, _ = values.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_float_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 0.5, 1]], np.float32))
    assert read_image(tmp_path / "a.tif").array[0, :, 0].tolist() == [0, 128, 255]
    tifffile.imwrite(tmp_path / "b.tif", np.array([[0, 100, 200]], np.float64))
    assert read_image(tmp_path / "b.tif").array[0, :, 0].tolist() == [0, 100, 200]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1])
def test_numbers_that_are_no_picture(tmp_path, bad):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, bad]], np.float32))
    with pytest.raises(ValueError, match=r"a\.tif: pixel values must be finite and not negative"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.array([[0, 1e12]], np.float64))
    with pytest.raises(ValueError, match="pixel values must fit 32 bits"):
        read_image(tmp_path / "b.tif")


def test_a_tiff_of_two_channels_or_many_planes_is_no_picture(tmp_path):
    two = np.zeros((4, 4, 2), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", two, photometric="minisblack", planarconfig="contig")
    with pytest.raises(ValueError, match="1, 3 or 4 channels, this has 2"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((6, 16, 16), np.uint16), volumetric=True, tile=(2, 16, 16))
    with pytest.raises(ValueError, match="a picture is one plane, this is a stack of 6"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif8", "tif16"])
def test_exif_orientation_turns_the_picture_upright(tmp_path, code, kind):
    turn_away = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1)}
    turn_away |= {6: np.rot90, 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, -1)}
    stored, path = np.ascontiguousarray(turn_away[code](RGB)), tmp_path / f"a.{kind[:3]}"
    if kind == "png":
        exif = Image.Exif()
        exif[274] = code
        Image.fromarray(stored).save(path, exif=exif)
    else:
        deep = stored if kind == "tif8" else stored.astype(np.uint16)
        tifffile.imwrite(path, deep, photometric="rgb", extratags=[(274, "H", 1, code, True)])
    np.testing.assert_array_equal(read_image(path).array, RGB)


def test_of_many_pages_the_first_is_read_and_said(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([RGB, RGB // 2]), photometric="rgb")
    second = Image.new("RGB", (7, 5))
    Image.fromarray(RGB).save(tmp_path / "a.webp", save_all=True, append_images=[second], lossless=True)
    for name in ("a.tif", "a.webp"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array, RGB)
        assert "first of 2 pages" in notes(image)


def test_one_pixel(tmp_path):
    write_png(tmp_path / "a.png", RGB[:1, :1])
    assert read_image(tmp_path / "a.png").array.shape == (1, 1, 3)


def test_compressed_tiffs_that_tifffile_alone_cannot_read(tmp_path):
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        Image.fromarray(RGB).save(tmp_path / "a.tif", compression=compression)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, RGB)
        Image.fromarray(RGB[..., 0].astype(np.uint16) * 300).save(tmp_path / "b.tif", compression=compression)
        expected = np.rint(RGB[..., 0] * 300.0 / 65535 * 255)
        np.testing.assert_array_equal(read_image(tmp_path / "b.tif").array[..., 0], expected)


def pixel_size(path: Path) -> float | None:
    return read_image(path).pixel_size_um


def test_pixel_size_of_png_jpeg_and_print_resolutions(tmp_path):
    write_png(tmp_path / "a.png", RGB, pixel_size_um=0.499)
    assert pixel_size(tmp_path / "a.png") == pytest.approx(0.499, abs=1e-6)
    write_png(tmp_path / "b.png", RGB)
    assert pixel_size(tmp_path / "b.png") is None
    for name in ("c.png", "c.jpg", "c.tif", "c.bmp"):
        Image.fromarray(RGB).save(tmp_path / name, dpi=(300, 300))
        assert pixel_size(tmp_path / name) is None


def test_pixel_size_of_tiffs(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, resolution=(40000, 40000), resolutionunit="CENTIMETER")
    assert pixel_size(path) == pytest.approx(0.25)
    tifffile.imwrite(path, RGB, resolution=(40000, 20000), resolutionunit="CENTIMETER")
    assert pixel_size(path) is None
    tifffile.imwrite(path, RGB[..., 0], imagej=True, resolution=(2, 2), metadata={"unit": "um"})
    assert pixel_size(path) == pytest.approx(0.5)
    tifffile.imwrite(path, RGB, description="Aperio Image Library v1|AppMag = 20|MPP = 0.4990|Left = 2", metadata=None)
    assert pixel_size(path) == pytest.approx(0.499)
    ome = tmp_path / "a.ome.tif"
    side = {"PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(ome, RGB, photometric="rgb", metadata={"axes": "YXS", **side})
    assert pixel_size(ome) == pytest.approx(0.25)
    tifffile.imwrite(ome, RGB, photometric="rgb", metadata={"axes": "YXS", **side, "PhysicalSizeY": 0.5})
    assert "not square" in notes(read_image(ome))
    assert pixel_size(ome) is None


def test_a_real_slide(data_root):
    image = read_image(data_root / "wsi_cmu1_small_region" / "CMU-1-Small-Region.svs")
    assert image.size == (2967, 2220)
    assert image.pixel_size_um == pytest.approx(0.499)
    assert "level 0" in notes(image)
    means = image.array.reshape(-1, 3).mean(0)
    assert means[0] > means[2] > means[1] > 100  # H&E: pink to violet, so green is the least


def test_missing_folder_text_and_empty_files_get_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.png; check the name"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(IsADirectoryError, match="is a folder, not an image"):
        read_image(tmp_path)
    for content in (b"", b"hello, I am a letter", b"%!PS-Adobe-3.0 EPSF-3.0"):
        (tmp_path / "letter.png").write_bytes(content)
        with pytest.raises(OSError, match=r"letter\.png is not an image that can be read here; save it as PNG"):
            read_image(tmp_path / "letter.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a16.tif", "a.webp", "a.bmp"])
def test_truncated_files_get_one_sentence(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    if name == "a16.tif":
        tifffile.imwrite(tmp_path / name, noise.astype(np.uint16) * 257, photometric="rgb")
    else:
        Image.fromarray(noise).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for part in (0.2, 0.5, 0.9):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(OSError, match=name + r" is (damaged, cut short|not an image)"):
            read_image(tmp_path / name)


def test_random_bytes_after_a_good_header_never_escape_as_another_error(tmp_path):
    rng, path = np.random.default_rng(1), tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((9, 9), np.uint16))
    whole = bytearray(path.read_bytes())
    for _ in range(80):
        broken = whole.copy()
        for place in rng.integers(4, len(whole), 6):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        try:
            assert read_image(path).array.dtype == np.uint8
        except (OSError, ValueError) as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right, but the file must be named


def test_a_picture_beyond_pillows_limit_is_read_and_the_limit_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # 35 pixels: more than twice as many, which Pillow refuses
    write_png(tmp_path / "a.png", RGB)
    assert read_image(tmp_path / "a.png").size == (5, 7)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(images_module, "MAX_PIXELS", 34)
    Image.fromarray(RGB).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        with pytest.raises(ValueError, match=r"an image may have 34 pixels, this has 5 x 7; .* open it as a slide"):
            read_image(tmp_path / name)


@pytest.mark.slow
def test_20000_by_20000(tmp_path):
    flat = np.zeros((20000, 20000), np.uint8)
    flat[-1, -1] = 9
    Image.fromarray(flat).save(tmp_path / "a.png", compress_level=1)
    del flat
    image = read_image(tmp_path / "a.png")
    assert image.size == (20000, 20000)
    assert image.array[-1, -1].tolist() == [9, 9, 9]


def test_image_file_checks_itself():
    with pytest.raises(ValueError, match=r"an image must be \(H, W, 3\) uint8, got \(2, 2\) of uint8"):
        ImageFile(np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="pixel_size_um must be a positive number"):
        ImageFile(RGB, 0.0)


def test_write_png_refuses_what_is_no_picture(tmp_path):
    with pytest.raises(ValueError, match=r"a PNG needs .* got \(2, 2, 3\) of float64"):
        write_png(tmp_path / "a.png", np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="at least one pixel"):
        write_png(tmp_path / "a.png", np.zeros((0, 2, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_gets_one_sentence_and_leaves_no_half_file(tmp_path):
    """A real refusal by the system, in the middle of the file: the largest file allowed is set to 4 kB."""
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write .*a\.png: the file is larger than this system allows"):
            write_png(tmp_path / "a.png", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_missing_and_impossible_folders_get_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot write .*a\.png: its folder does not exist; create it first"):
        write_png(tmp_path / "no" / "a.png", RGB)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="its folder is a file"):
        write_png(tmp_path / "file" / "a.png", RGB)
    (tmp_path / "a.png").mkdir()
    with pytest.raises(IsADirectoryError, match="a folder has that name"):
        write_png(tmp_path / "a.png", RGB)


def test_a_folder_that_cannot_be_made_gets_one_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match=r"cannot make the folder .*a: its folder is a file; choose another"):
        make_folder(tmp_path / "file" / "a")
    with pytest.raises(FileExistsError, match=r"cannot make the folder .*file: a file has that name; choose another"):
        make_folder(tmp_path / "file")
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


REFUSALS = [(13, "read-only for you"), (30, "read-only; choose"), (28, "disk is full")]


@pytest.mark.parametrize(("number", "sentence"), REFUSALS)
def test_each_refusal_of_the_system_is_explained(tmp_path, monkeypatch, number, sentence):
    def refuse(self: Path, mode: str) -> None:
        raise OSError(number, "as the system says it")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=rf"cannot write .*a\.png: .*{sentence}"):
        write_png(tmp_path / "a.png", RGB)


def test_formats_and_pictures_do_not_import_torch():
    code = "import sys, pano_med.formats, pano_med.pictures; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert set(formats.__all__) <= set(dir(formats))
