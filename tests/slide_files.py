"""Slides written for tests: pyramids, OME-TIFF, SVS and SCN, whole and damaged."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage


def soft_spots(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8 of soft spots in strong colours; survives JPEG and resampling well."""
    noise = np.random.default_rng(0).random((height // 10 + 1, width // 10 + 1, 3))
    soft = ndimage.zoom(ndimage.gaussian_filter(noise, (1, 1, 0)), (10, 10, 1), order=1)[:height, :width]
    return ((soft - 0.5) * 700 + 128).clip(0, 255).astype(np.uint8)


def near(a: np.ndarray, b: np.ndarray, mean: float) -> bool:
    """Whether two pictures have one shape and differ by at most `mean` grey levels on average."""
    return a.shape == b.shape and bool(np.abs(a.astype(int) - b).mean() <= mean)


def write_pyramid(path: Path, image: np.ndarray, mpp: float | tuple[float, float] | None = None, levels: int = 3,
                  tile: int = 256, compression: str | None = "zlib") -> Path:
    """A tiled pyramid that OpenSlide opens as generic-tiff: one directory per level, mpp in the resolution tags.

    Args:
        path: ends with .tif.
        image: (H, W, 3) uint8.
        mpp: micrometres per pixel, one number or (x, y); None = not said.
        levels: each half as large as the one before.
        tile: side of a tile, a multiple of 16.
        compression: as tifffile names it; "zlib" keeps every pixel.
    """
    with tifffile.TiffWriter(path) as tiff:
        for level, array in enumerate(_halves(image, levels)):
            _write(tiff, array, tile, compression, metadata=None, subfiletype=int(level > 0),
                   **_resolution(mpp, 2**level))
    return path


def write_ome(path: Path, image: np.ndarray, mpp: float | tuple[float, float] | None = None, levels: int = 3,
              tile: int = 256, compression: str | None = "zlib") -> Path:
    """The same as OME-TIFF: the coarser levels stand in SubIFDs, the mpp in the XML. The name ends with .ome.tif."""
    x, y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    said = {} if mpp is None else {"PhysicalSizeX": x, "PhysicalSizeY": y, "PhysicalSizeXUnit": "µm",
                                   "PhysicalSizeYUnit": "µm"}
    first, *rest = _halves(image, levels)
    with tifffile.TiffWriter(path, ome=True) as tiff:
        _write(tiff, first, tile, compression, subifds=len(rest), metadata={"axes": "YXS", **said})
        for array in rest:
            _write(tiff, array, tile, compression, subfiletype=1)
    return path


def write_svs(path: Path, image: np.ndarray, mpp: float | None = 0.25, power: int | None = 40, levels: int = 2,
              tile: int = 240) -> Path:
    """An Aperio SVS, as its description says; the name ends with .svs."""
    said = f"|AppMag = {power}" * (power is not None) + f"|MPP = {mpp}" * (mpp is not None)
    with tifffile.TiffWriter(path) as tiff:
        for array in _halves(image, levels):
            h, w = array.shape[:2]
            _write(tiff, array, tile, "jpeg", metadata=None,
                   description=f"Aperio Image Library v11.2.1\n{w}x{h} ({tile}x{tile}) JPEG/YCC Q=90{said}")
    return path


def damage(path: Path, tile: int, level: int = 0) -> None:
    """Overwrite the bytes of one tile of a written slide with zeros."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[level]
        start, length = page.dataoffsets[tile], page.databytecounts[tile]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(length))


def write_scn(path: Path, image: np.ndarray, offset: tuple[int, int], size: tuple[int, int], mpp: float = 0.5,
              tile: int = 256) -> Path:
    """A Leica SCN whose scan covers a part of the slide only: OpenSlide gives it `bounds`.

    Args:
        path: ends with .scn.
        image: (H, W, 3) uint8, what was scanned.
        offset: row and column of its first pixel in level 0.
        size: (H, W) of level 0.
        mpp: micrometres per pixel.
        tile: side of a tile.
    """
    levels, nm = _halves(image, 2), 1000 * mpp
    rows = "".join(f'<dimension sizeX="{a.shape[1]}" sizeY="{a.shape[0]}" r="{i}" ifd="{i}"/>'
                   for i, a in enumerate(levels))
    view = (f'sizeX="{image.shape[1] * nm:.0f}" sizeY="{image.shape[0] * nm:.0f}" '
            f'offsetX="{offset[1] * nm:.0f}" offsetY="{offset[0] * nm:.0f}"')
    said = f"""<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="c" sizeX="{size[1] * nm:.0f}" sizeY="{size[0] * nm:.0f}"><image name="i"><device model="m"/>
<pixels sizeX="{image.shape[1]}" sizeY="{image.shape[0]}">{rows}</pixels><view {view}/>
<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings>
<numericalAperture>0.75</numericalAperture><illuminationSource>brightfield</illuminationSource>
</illuminationSettings></scanSettings></image></collection></scn>"""
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for i, array in enumerate(levels):
            _write(tiff, array, tile, "jpeg", metadata=None, description=said if i == 0 else None,
                   **_resolution(mpp, 2**i))
    return path


def _write(tiff: tifffile.TiffWriter, array: np.ndarray, tile: int, compression: str | None, **how: Any) -> None:
    """One level; "jpeg" is YCbCr at quality 90, packed by Pillow, as tifffile itself can't."""
    how |= {"tile": (tile, tile), "compression": compression}
    if compression != "jpeg":
        tiff.write(array, photometric="rgb", **how)
        return
    tifffile.TIFF.COMPRESSORS._codecs.setdefault(7, bytes)  # else it wants imagecodecs even for tiles that are packed
    tiff.write(packed_tiles(array, tile), photometric="ycbcr", subsampling=(2, 2), shape=array.shape, dtype=np.uint8,
               **how)


def packed_tiles(array: np.ndarray, tile: int) -> Iterator[bytes]:
    """The tiles of a picture as JPEG, row by row; the last ones are padded."""
    padded = np.pad(array, [(0, -n % tile) for n in array.shape[:2]] + [(0, 0)], mode="edge")
    for top in range(0, padded.shape[0], tile):
        for left in range(0, padded.shape[1], tile):
            packed = io.BytesIO()
            Image.fromarray(padded[top : top + tile, left : left + tile]).save(packed, "JPEG", quality=90,
                                                                              subsampling="4:2:0")
            yield packed.getvalue()


def _halves(image: np.ndarray, levels: int) -> list[np.ndarray]:
    out = [image]
    for _ in range(levels - 1):
        h, w = out[-1].shape[0] // 2 * 2, out[-1].shape[1] // 2 * 2
        out.append(out[-1][:h, :w].reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3)).round().astype(np.uint8))
    return out


def _resolution(mpp: float | tuple[float, float] | None, factor: int) -> dict[str, Any]:
    if mpp is None:
        return {}
    x, y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    return {"resolution": (1e4 / (x * factor), 1e4 / (y * factor)), "resolutionunit": "CENTIMETER"}
