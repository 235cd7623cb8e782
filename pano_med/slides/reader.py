"""`Slide`, the one door to a slide: size, levels, pixel size, any rectangle at any scale, a thumbnail."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType

import numpy as np

from pano_med.formats.resolution import PLAUSIBLE_UM
from pano_med.slides import resample
from pano_med.slides.source import Level, SlideReadError, Source
from pano_med.slides.sources import open_source
from pano_med.types import check_pixel_size

#: Sides of a pixel may differ this much and count as square; their mean is used. Scanners differ by up to 1 %.
SQUARE = 0.05
_MIB = 1 << 20


class Slide:
    """A slide. Use it in a `with` block; reading is safe from several threads.

    Args:
        path: the file.
        source: what reads it.
        mpp: micrometres per level-0 pixel, where you know better than the file.

    Attributes:
        path: the file.
        levels: the pyramid, finest first.
        mpp: micrometres per level-0 pixel, or None where nobody knows.
        mpp_source: "file", "given" or "unknown".
        bounds: top, left, bottom, right of the part that was scanned, in level-0 pixels, or None.
        objective: nominal magnification as the file says it, or None.
    """

    def __init__(self, path: str | Path, source: Source, mpp: float | None = None) -> None:
        check_pixel_size(mpp)
        self.path, self._source = Path(path), source
        facts = source.facts
        self.levels: tuple[Level, ...] = facts.levels
        self.bounds, self.objective, self.mpp_xy = facts.bounds, facts.objective, facts.mpp_xy
        stated = _square(facts.mpp_xy)
        self.mpp = stated if mpp is None else mpp
        self.mpp_source = "given" if mpp is not None else "file" if stated else "unknown"
        self._fingerprint: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of level 0 in pixels."""
        return self.levels[0].size

    @property
    def fingerprint(self) -> str:
        """Cheap, stable identity: 16 hex digits of SHA-256 over the file's length, first and last MiB."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.path)
        return self._fingerprint

    def region(self, top: float, left: float, height: float, width: float, mpp: float | None = None) -> np.ndarray:
        """A rectangle as RGB.

        Args:
            top: first row in level-0 pixels; the rectangle may reach over the border, where it is white.
            left: first column.
            height: in level-0 pixels.
            width: likewise.
            mpp: None = level-0 pixels as they are, and the four numbers are whole. Else resampled to this many
                micrometres per pixel from the level that suits best (averaging when it shrinks), and the four
                numbers may be fractions: equal places on the slide then give equal pixels whatever rectangle they
                are asked in.

        Returns:
            (h, w, 3) uint8, where h = height without `mpp` and round(height * self.mpp / mpp) with it.

        Raises:
            SlideReadError: a part of the file can't be decoded; the message names file and place.
            ValueError: an empty rectangle, or `mpp` asked of a slide whose own is unknown.
        """
        if height <= 0 or width <= 0:
            raise ValueError(f"a region needs a height and a width above 0, got {height:g} x {width:g} of {self.name}")
        if mpp is None:
            return self._read(0, *(int(v) for v in (top, left, height, width)))
        check_pixel_size(mpp)
        factor = mpp / need_mpp(self)
        size = max(1, round(height / factor)), max(1, round(width / factor))
        return resample.resampled(self._read, self.levels, (top, left, height, width), size)

    def thumbnail(self, longest: int = 1024) -> np.ndarray:
        """The whole slide, (h, w, 3) uint8, its longer side at most `longest` pixels; damaged parts are white."""
        factor = max(1.0, max(self.size) / longest)
        return self.overview((max(1, round(self.size[0] / factor)), max(1, round(self.size[1] / factor))))[0]

    def overview(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The whole slide made small, whatever damage it has.

        Args:
            size: (h, w) of the picture.

        Returns:
            (h, w, 3) uint8, white where the file can't be decoded, and (h, w) bool, True there.
        """
        return resample.overview(self._read, self.levels, size)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """A rectangle in pixels of a level, white outside of it."""
        h, w = self.levels[level].size
        rows, columns = (max(0, top), min(h, top + height)), (max(0, left), min(w, left + width))
        inside = rows[0] < rows[1] and columns[0] < columns[1]
        if inside and (rows[1] - rows[0], columns[1] - columns[0]) == (height, width):
            return self._guarded(level, top, left, height, width)
        out = np.full((height, width, 3), 255, np.uint8)
        if inside:
            pixels = self._guarded(level, rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0])
            out[rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left] = pixels
        return out

    def _guarded(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        try:
            return self._source.read(level, top, left, height, width)
        except (OSError, ValueError) as error:
            per = self.levels[level].downsample
            place = f"rows {top * per:.0f}-{(top + height) * per:.0f}, columns {left * per:.0f}-"
            raise SlideReadError(
                f"{self.path} is damaged at {place}{(left + width) * per:.0f} (level-0 pixels) and can't be read "
                f"there: {' '.join(str(error).split())}; get a new copy, or go on without this part"
            ) from error


def open_slide(path: str | Path, mpp: float | None = None) -> Slide:
    """Open a slide: SVS, NDPI, MRXS, SCN, DICOM, Philips and Ventana TIFF, generic tiled TIFF, OME-TIFF, or an image.

    Args:
        path: the file (of DICOM, any file of the series; of MRXS, the .mrxs beside its folder).
        mpp: micrometres per level-0 pixel, where you know better than the file.

    Raises:
        FileNotFoundError: no such file.
        IsADirectoryError: it is a folder.
        OSError: not a slide, or damaged so that it can't be opened.
        ValueError: an `mpp` that no microscope gives, such as a magnification.
    """
    path = Path(path)
    low, high = PLAUSIBLE_UM
    if mpp is not None and not low <= mpp <= high:
        raise ValueError(f"the micrometres per pixel of a slide must lie between {low} and {high:g}, got {mpp:g}; "
                         "40x is usually 0.25, 20x 0.5")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a slide; name a file in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; check the name and the folder")
    return Slide(path, open_source(path), mpp)


def need_mpp(slide: Slide) -> float:
    """The slide's micrometres per level-0 pixel.

    Raises:
        ValueError: nobody knows it; the message asks for it and says what the file lets one guess.
    """
    if slide.mpp is not None:
        return slide.mpp
    x, y = slide.mpp_xy or (0.0, 0.0)
    if x > 0 and y > 0 and abs(x - y) > SQUARE * max(x, y):
        said = f"says that its pixels are not square ({x:g} x {y:g} um): export it with square ones, or"
    elif x > 0 and y > 0:
        said = f"says {x:g} um per pixel, which no microscope gives:"
    else:
        said = "does not say how large its pixels are:"
    usual = f" (its objective is {slide.objective:g}x, usually {10 / slide.objective:.2g})" if slide.objective else ""
    raise ValueError(f"{slide.path} {said} give the micrometres per pixel with --mpp (in Python: mpp=){usual}; "
                     "40x is usually 0.25, 20x 0.5")


def fingerprint(path: str | Path) -> str:
    """16 hex digits of SHA-256 over a file's length, first and last MiB: cheap, and the same after a copy."""
    with Path(path).open("rb") as file:
        digest = hashlib.sha256(file.read(_MIB))
        length = file.seek(0, 2)
        file.seek(max(0, length - _MIB))
        digest.update(file.read(_MIB))
    digest.update(str(length).encode())
    return digest.hexdigest()[:16]


def _square(mpp_xy: tuple[float, float] | None) -> float | None:
    """The mean side where both are plausible and agree."""
    x, y = mpp_xy or (0.0, 0.0)
    if not (np.isfinite([x, y]).all() and min(x, y) > 0 and abs(x - y) <= SQUARE * max(x, y)):
        return None
    size = (x + y) / 2
    return size if PLAUSIBLE_UM[0] <= size <= PLAUSIBLE_UM[1] else None
