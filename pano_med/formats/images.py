"""Read any image that people have as 8-bit RGB, with its pixel size where the file knows it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pano_med.formats.pixels import rgb8_from_numbers
from pano_med.formats.resolution import from_pillow, from_tiff
from pano_med.types import check_pixel_size

#: Largest image read in one piece: 2^30 pixels, 3 GiB as RGB. Larger ones belong to the slide reader.
MAX_PIXELS = 2**30
#: Pillow decoders that we let near a file; EPS and the like start other programs.
PILLOW_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "DIB", "WEBP", "GIF", "PPM", "JPEG2000")
_STRIP = 1024  # rows converted at a time, so that a huge image is not in memory three times
_pillow_lock = threading.Lock()


@dataclass(frozen=True)
class ImageFile:
    """An image as read from a file.

    Attributes:
        array: (H, W, 3) uint8 RGB.
        pixel_size_um: side of a pixel in micrometres, or None where the file does not say.
        notes: what was converted or left out on the way, one sentence each.
    """

    array: np.ndarray
    pixel_size_um: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.array.ndim != 3 or self.array.shape[2] != 3 or self.array.dtype != np.uint8:
            raise ValueError(f"an image must be (H, W, 3) uint8, got {self.array.shape} of {self.array.dtype}")
        check_pixel_size(self.pixel_size_um)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.array.shape[:2]


def read_image(path: str | Path) -> ImageFile:
    """Read PNG, JPEG, TIFF, SVS (level 0), BMP, WebP, GIF, PPM or JPEG 2000 as 8-bit RGB.

    Conversions, each told in `notes`: grey is repeated in R, G and B; alpha is laid over white; CMYK and palettes
    become RGB; numbers that are not 8-bit are scaled by the rule of `pixels.rgb8_from_numbers`; an EXIF orientation
    is applied; of several pages or frames the first is read. Colour profiles are not applied.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: no such file.
        IsADirectoryError: it is a folder.
        OSError: not an image, truncated, or a kind that cannot be read here.
        ValueError: more than `MAX_PIXELS` pixels, or numbers that are no picture.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not an image; name a file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; check the name and the folder")
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        array, pixel_size_um = _guarded(path, notes)
    notes += [f"the reader warned: {w.message}" for w in told if not issubclass(w.category, DeprecationWarning)]
    return ImageFile(array, pixel_size_um, tuple(dict.fromkeys(notes)))


class _PlainError(ValueError):
    """A message already fit for people."""


def _guarded(path: Path, notes: list[str]) -> tuple[np.ndarray, float | None]:
    """The one door where the many errors of many decoders become one sentence."""
    try:
        with path.open("rb") as file:
            tiff = file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        return _read_tiff(path, notes) if tiff else _read_pillow(path, notes)
    except _PlainError as error:
        raise ValueError(f"{path}: {error}") from None
    except UnidentifiedImageError as error:
        raise OSError(
            f"{path} is not an image that can be read here; save it as PNG, JPEG or TIFF and try again"
        ) from error
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read by you; change its permissions or copy it") from error
    except MemoryError as error:
        raise OSError(f"{path} does not fit into memory; cut it into smaller images") from error
    except Exception as error:  # corrupt files make decoders raise nearly anything
        raise OSError(
            f"{path} is damaged, cut short or of an unusual kind ({error}); get a new copy or save it as PNG"
        ) from error


@contextmanager
def no_pillow_limit() -> Iterator[None]:
    """Lift Pillow's decompression-bomb limit (it is global, hence the lock); `_check_size` stands in for it."""
    with _pillow_lock:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = kept


def _check_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise _PlainError(f"an image may have {MAX_PIXELS} pixels, this has {height} x {width}; "
                          "save it as a tiled TIFF and open it as a slide")


def _read_pillow(path: Path, notes: list[str]) -> tuple[np.ndarray, float | None]:
    with no_pillow_limit(), Image.open(path, formats=PILLOW_FORMATS) as image:
        _check_size(image.height, image.width)
        pixel_size_um = from_pillow(image.info)
        deep = image.format == "PNG" and any("16B" in str(tile[3]) for tile in image.tile) and image.mode != "I;16"
        if deep:
            notes.append("16-bit colour was reduced to its upper 8 bits")
        _note_pages(getattr(image, "n_frames", 1), notes)
        return _pillow_rgb(image, notes), pixel_size_um


def _pillow_rgb(image: Image.Image, notes: list[str]) -> np.ndarray:
    turned = image.getexif().get(ExifTags.Base.Orientation, 1)
    image.load()
    upright = ImageOps.exif_transpose(image)  # Pillow has turned a TIFF already while loading; then this does nothing
    if turned in range(2, 9):
        notes.append(f"the picture was turned upright (EXIF orientation {turned})")
    if upright.mode.startswith(("I", "F")):
        return _scaled(np.asarray(upright), notes)
    _note_mode(upright, notes)
    out = np.empty((upright.height, upright.width, 3), np.uint8)
    for top in range(0, upright.height, _STRIP):
        strip = upright.crop((0, top, upright.width, min(top + _STRIP, upright.height)))
        out[top : top + _STRIP] = _strip_rgb(strip)
    return out


def _strip_rgb(strip: Image.Image) -> np.ndarray:
    if not strip.has_transparency_data:
        return np.asarray(strip.convert("RGB"))
    rgba = strip.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))


def _note_mode(image: Image.Image, notes: list[str]) -> None:
    if image.has_transparency_data:
        notes.append("transparent parts were laid over white")
    if image.mode in ("1", "L", "LA", "La"):
        notes.append("a grey image was repeated in red, green and blue")
    elif image.mode.startswith("P"):
        notes.append("palette colours were converted to RGB")
    elif image.mode not in ("RGB", "RGBA", "RGBa", "RGBX"):
        notes.append(f"{image.mode} colours were converted to RGB")


def _note_pages(pages: int, notes: list[str]) -> None:
    if pages > 1:
        notes.append(f"only the first of {pages} pages was read")


def _scaled(numbers: np.ndarray, notes: list[str]) -> np.ndarray:
    try:
        array, note = rgb8_from_numbers(numbers)
    except ValueError as error:
        raise _PlainError(str(error)) from None
    if numbers.ndim == 2:
        notes.append("a grey image was repeated in red, green and blue")
    notes.append(note)
    return array


def _read_tiff(path: Path, notes: list[str]) -> tuple[np.ndarray, float | None]:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        _check_size(page.imagelength, page.imagewidth)
        pixel_size_um = from_tiff(tiff, notes)
        if tiff.is_svs:
            notes.append("level 0 of the slide was read; its thumbnail and label were left out")
        else:
            _note_pages(len(tiff.pages), notes)
        numbers = _tiff_numbers(page)
    if numbers is not None:
        return _scaled(numbers, notes), pixel_size_um
    with no_pillow_limit(), Image.open(path, formats=("TIFF",)) as image:
        if page.bitspersample == 16 and image.mode == "RGB":
            notes.append("16-bit colour was reduced to its upper 8 bits")
        return _pillow_rgb(image, notes), pixel_size_um


def _tiff_numbers(page: tifffile.TiffPage) -> np.ndarray | None:
    """(H, W) or (H, W, C) numbers of a page that Pillow would misread, else None (8-bit: Pillow knows colours)."""
    if page.dtype is None or page.dtype.itemsize == 1:
        return None
    try:
        numbers = page.asarray()
    except ValueError as error:
        if "imagecodecs" in str(error):  # a compression that Pillow may know
            return None
        raise
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and np.issubdtype(numbers.dtype, np.unsignedinteger):
        numbers = np.iinfo(numbers.dtype).max - numbers
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and numbers.ndim == 3:
        numbers = np.moveaxis(numbers, 0, -1)
    if page.imagedepth > 1:
        raise _PlainError(f"a picture is one plane, this is a stack of {page.imagedepth}; export one of them")
    if numbers.ndim == 3 and numbers.shape[2] not in (1, 3, 4):
        raise _PlainError(f"a picture has 1, 3 or 4 channels, this has {numbers.shape[2]}; export one channel or RGB")
    orientation = page.tags.get("Orientation")
    return upright(numbers, 1 if orientation is None else int(orientation.value))


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (H, W, ...) upright by its EXIF orientation 1..8 (Exif 2.3, tag 274)."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
