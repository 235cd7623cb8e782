"""Pixel size out of what files say about themselves."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import numpy as np
import tifffile

#: Print resolutions (72 or 300 dpi) say nothing of a microscope; only pixel sizes in this range are believed.
PLAUSIBLE_UM = (0.05, 5.0)
_UM = {"um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "\\u00b5m": 1.0}
_UM |= {"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0, "in": 25400.0}


def from_pillow(info: Mapping[Any, Any]) -> float | None:
    """Micrometres per pixel of Pillow's `dpi`, if plausible for microscopy and square."""
    dpi = info.get("dpi")
    if not dpi:
        return None
    return _square([25400 / float(d) if d and float(d) > 0 else None for d in dpi], PLAUSIBLE_UM)


def from_tiff(tiff: tifffile.TiffFile, notes: list[str]) -> float | None:
    """Micrometres per pixel of a TIFF's first page, where pixels are square; see `tiff_sides`.

    Args:
        tiff: the open file.
        notes: gets a sentence where pixels are not square.
    """
    sizes, limits = _stated(tiff)
    size = _square(sizes, limits)
    if size is None and any(sizes) and limits is None:
        notes.append("the file's pixel size was not used: pixels are not square, or one side is missing")
    return size


def tiff_sides(tiff: tifffile.TiffFile) -> tuple[float, float] | None:
    """Micrometres per pixel along x and y as a TIFF states them, plausible or not: Aperio, OME, ImageJ, then tags."""
    x, y = _stated(tiff)[0]
    return (x, y) if x and y else None


def _stated(tiff: tifffile.TiffFile) -> tuple[list[float | None], tuple[float, float] | None]:
    """What the first that knows anything says, and the limits in which it is believed."""
    for sizes in (_aperio(tiff), _ome(tiff), _imagej(tiff)):
        if any(sizes):
            return sizes, None
    return _tags(tiff), PLAUSIBLE_UM


def _square(sizes: list[float | None], limits: tuple[float, float] | None) -> float | None:
    """The mean side where both sides are known, finite, within limits and agree to 1 %."""
    x, y = sizes
    if not x or not y or not np.isfinite([x, y]).all() or abs(x - y) > 0.01 * max(x, y):
        return None
    size = (x + y) / 2
    return None if limits and not limits[0] <= size <= limits[1] else size


def _aperio(tiff: tifffile.TiffFile) -> list[float | None]:
    found = re.search(r"\bMPP\s*=\s*([0-9.]+(?:[eE][-+]?\d+)?)", tiff.pages.first.description or "")
    return [float(found[1])] * 2 if found else [None, None]


def _ome(tiff: tifffile.TiffFile) -> list[float | None]:
    try:
        root = ET.fromstring(tiff.ome_metadata or "")
    except ET.ParseError:
        return [None, None]
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return [None, None]
    return [_ome_side(pixels.attrib, axis) for axis in "XY"]


def _ome_side(attributes: Mapping[str, str], axis: str) -> float | None:
    unit = _UM.get(attributes.get(f"PhysicalSize{axis}Unit", "µm"))
    try:
        return float(attributes[f"PhysicalSize{axis}"]) * unit if unit else None
    except (KeyError, ValueError):
        return None


def _imagej(tiff: tifffile.TiffFile) -> list[float | None]:
    unit = _UM.get(str((tiff.imagej_metadata or {}).get("unit", "")).strip().lower())
    return [_per_unit(tiff, tag, unit) for tag in ("XResolution", "YResolution")]


def _tags(tiff: tifffile.TiffFile) -> list[float | None]:
    tag = tiff.pages.first.tags.get("ResolutionUnit")
    code = 2 if tag is None else int(tag.value)  # TIFF's default is the inch; 1 = no unit
    unit = {2: 25400.0, 3: 1e4, 4: 1e3, 5: 1.0}.get(code)
    return [_per_unit(tiff, tag, unit) for tag in ("XResolution", "YResolution")]


def _per_unit(tiff: tifffile.TiffFile, name: str, unit_um: float | None) -> float | None:
    """Micrometres per pixel, from a tag that holds pixels per unit as a fraction."""
    tag = tiff.pages.first.tags.get(name)
    if tag is None or unit_um is None:
        return None
    top, bottom = tag.value
    return unit_um * bottom / top if top and bottom else None
