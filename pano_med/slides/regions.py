"""A part of a slide: a box or a polygon in level-0 pixels, and the origin from which QuPath counts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_BOX = re.compile("[, ]".join([_NUMBER] * 4))


def qupath_origin(manifest: Mapping[str, Any], crop: bool = True) -> tuple[float, float]:
    """(top, left) in level-0 pixels of QuPath's pixel (0, 0).

    The rule, as read in QuPath's OpenSlide reader (`OpenslideImageServer`): where a file names its non-empty part by
    all four `openslide.bounds-*` properties (MRXS, SCN, some DICOM), QuPath shows that part only and counts from its
    corner, so a level-0 place (x, y) is at (x - bounds-x, y - bounds-y). Files without bounds (SVS, NDPI, most TIFF)
    are counted from the corner of level 0. A slide that was added to a project with `--no-crop` is counted from
    level 0 too.

    Args:
        manifest: of a result folder.
        crop: False for a slide that QuPath opened with `--no-crop`.
    """
    bounds = manifest["slide"].get("bounds")
    return (float(bounds[0]), float(bounds[1])) if bounds and crop else (0.0, 0.0)


@dataclass(frozen=True)
class Region:
    """A part of a slide.

    Attributes:
        shape: polygon or multipolygon in level-0 pixels, (x, y).
        is_box: True for an upright rectangle.
    """

    shape: shapely.Geometry
    is_box: bool = False

    @classmethod
    def of_box(cls, top: float, left: float, bottom: float, right: float) -> Region:
        """An upright rectangle in level-0 pixels.

        Raises:
            ValueError: it holds nothing.
        """
        if not (top < bottom and left < right):
            size = f"{bottom - top:g} x {right - left:g} px"
            raise ValueError(f"a region has a height and a width, got {size}; enlarge it")
        return cls(shapely.box(left, top, right, bottom), True)

    @classmethod
    def parse(cls, text: str, origin: tuple[float, float] = (0, 0)) -> Region:
        """The region that a person named: four numbers, or a GeoJSON file as QuPath writes it.

        Args:
            text: "TOP,LEFT,HEIGHT,WIDTH" in level-0 pixels, or the path of a GeoJSON file whose polygons are joined.
            origin: (top, left) from which the file counts, see `qupath_origin`. The four numbers count from level 0.

        Raises:
            ValueError: neither of them, or nothing in it.
            OSError: the file cannot be read.
        """
        if numbers := _BOX.fullmatch(text):
            top, left, height, width = (float(n) for n in numbers.groups())
            return cls.of_box(top, left, top + height, left + width)
        path = Path(text)
        if not path.is_file():
            raise ValueError(
                f"a region is TOP,LEFT,HEIGHT,WIDTH in level-0 pixels or a GeoJSON file of polygons, got {text!r}, "
                "which is neither"
            )
        shape = shapely.union_all([g for g in _geometries(path) if shapely.get_dimensions(g) == 2])
        if shape.is_empty:
            raise ValueError(f"{path} holds no polygon; draw one in QuPath and export it again")
        return cls(shapely.transform(shape, lambda xy: xy + origin[::-1]))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(top, left, bottom, right) in level-0 pixels."""
        left, top, right, bottom = self.shape.bounds
        return top, left, bottom, right

    def holds(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Which of these places (level-0 pixels) lie in the region, its border included; bool of their shape."""
        shapely.prepare(self.shape)
        return np.asarray(shapely.intersects_xy(self.shape, columns, rows))


def _geometries(path: Path) -> list[shapely.Geometry]:
    """The valid geometries of a GeoJSON file: a collection, a feature, a list of features or a bare geometry."""
    try:
        document = json.loads(path.read_bytes())
        items = document.get("features", [document]) if isinstance(document, dict) else document
        found = [shapely.from_geojson(json.dumps(item.get("geometry") or item)) for item in items]
    except (ValueError, AttributeError, ShapelyError) as error:
        raise ValueError(f"{path} is not GeoJSON as QuPath writes it ({error}); export it again") from error
    return [shapely.make_valid(g) for g in found]
