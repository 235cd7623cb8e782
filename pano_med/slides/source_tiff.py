"""OME-TIFF and other TIFFs that keep their pyramid in SubIFDs: tifffile knows where, Pillow unpacks."""

from __future__ import annotations

import io
import itertools
import logging
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from pano_med.formats.resolution import tiff_sides
from pano_med.slides.source import Facts, level

_JPEG2000 = (33005, 34712)
#: Largest piece, in pixels: each is unpacked whole for whatever is asked of it.
_MAX_TILE = 1 << 25
_COLOURS = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)
_SEPARATE = tifffile.PLANARCONFIG.SEPARATE
#: Tags that say how a tile's bytes are packed: Predictor, JPEGTables, YCbCrSubSampling.
_PACKING = (317, 347, 530)
# its complaints about broken files reach people as our one sentence
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class TiffSource:
    """The first picture of a TIFF, 8-bit RGB, with its levels; tiles are unpacked one by one as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()  # one file position for all threads
        try:
            self._tiff = tifffile.TiffFile(path)
            self._pages = [part.keyframe for part in self._tiff.series[0].levels]
            sides = tiff_sides(self._tiff)
        except Exception as error:  # a broken directory makes tifffile raise nearly anything
            raise OSError(f"{path} is damaged or cut short and can't be opened ({error}); get a new copy") from error
        try:
            for page in self._pages:
                _check(path, page)
        except OSError:
            self._tiff.close()
            raise
        sizes = [(page.imagelength, page.imagewidth) for page in self._pages]
        levels = tuple(level(size, sizes[0]) for size in sizes)
        self.facts = Facts(levels, sides)

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """See `Source.read`."""
        page = self._pages[level]
        out = np.full((height, width, 3), 255, np.uint8)
        h, w = _tile_size(page)
        planes = 3 if page.planarconfig == _SEPARATE else 1
        rows, columns = range(top // h, -(-(top + height) // h)), range(left // w, -(-(left + width) // w))
        for plane, row, column in itertools.product(range(planes), rows, columns):
            index = (plane * -(-page.imagelength // h) + row) * -(-page.imagewidth // w) + column
            data = self._packed(page, page.dataoffsets[index], page.databytecounts[index])
            if not data:  # never written: white
                continue
            y, x = row * h - top, column * w - left
            tile = _unpacked(data, page, h if page.is_tiled else min(h, page.imagelength - row * h))
            part = tile[max(0, -y) : height - y, max(0, -x) : width - x]
            y, x = max(0, y), max(0, x)
            channels = slice(3) if planes == 1 else slice(plane, plane + 1)
            out[y : y + part.shape[0], x : x + part.shape[1], channels] = part[..., :3]
        return out

    def close(self) -> None:
        """See `Source.close`."""
        self._tiff.close()

    def _packed(self, page: Any, offset: int, count: int) -> bytes:
        file = page.parent.filehandle  # an OME-TIFF may lie in several files
        with self._lock:
            file.seek(offset)
            data: bytes = file.read(count)
        if len(data) < count:
            raise OSError("the file ends before this tile")
        return data


def _check(path: Path, page: Any) -> None:
    """Refuse what is no 8-bit colour picture, or packed so that nothing here unpacks it."""
    if page.photometric not in _COLOURS or page.bitspersample != 8 or page.samplesperpixel < 3 or page.imagedepth > 1:
        kind = getattr(page.photometric, "name", page.photometric)
        raise OSError(f"a slide must be 8-bit RGB, {path} holds {page.dtype} numbers of kind {kind}; export it as RGB")
    if page.compression not in (*TiffImagePlugin.COMPRESSION_INFO, *_JPEG2000):
        name = getattr(page.compression, "name", page.compression)
        raise OSError(f"{path} is packed as {name}, which can't be unpacked here; export it with JPEG or LZW")
    if np.prod(_tile_size(page)) > _MAX_TILE:
        raise OSError(f"a slide must be cut into tiles, {path} is one piece; export it as a tiled, pyramidal OME-TIFF")


def _tile_size(page: Any) -> tuple[int, int]:
    """(h, w) of a tile; a strip is a tile as wide as the picture."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _unpacked(data: bytes, page: Any, height: int) -> np.ndarray:
    """(height, w, channels) uint8 of one tile: its bytes become a TIFF of their own, which Pillow reads."""
    if page.compression not in _JPEG2000:
        samples = 1 if page.planarconfig == _SEPARATE else page.samplesperpixel
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[256], tags[257], tags[278] = _tile_size(page)[1], height, height  # width, length, rows of the strip
        tags[258], tags[277] = (8,) * samples, samples
        tags[259], tags[262] = int(page.compression), 1 if samples == 1 else int(page.photometric)
        tags[273], tags[279] = 0, len(data)  # the strip's place behind the tags, and its length
        if samples > 3:
            tags[338] = (0,) * (samples - 3)
        for tag in _PACKING:
            if tag in page.tags:
                tags[tag] = page.tags[tag].value
        data = b"II*\0" + struct.pack("<I", 8) + tags.tobytes(8) + data
    with Image.open(io.BytesIO(data), formats=("TIFF", "JPEG2000")) as image:
        array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]
