"""What a viewer asks of the map of a slide: windows of ids and classes, nuclei, ranks, and counts in a region.

`SlideMap` is the door; `ResultMap` opens a result folder, `pano_med.slides.explore.LiveMap` a map in the making.
No torch. Places are in level-0 pixels; a region is a polygon of (row, column) corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import shapely
from PIL import Image, ImageDraw

from pano_med.slides.store import Result
from pano_med.types import Taxonomy

#: A region's tissue is measured on about this many pixels of the map.
_MEASURED = 4_000_000
#: What a viewer says about a nucleus.
_TOLD = ("id", "category_id", "score", "area_um2", "row", "column", "top", "left", "bottom", "right")

Polygon = Sequence[tuple[float, float]]


class SlideMap(Protocol):
    """A panoptic map of a slide.

    Attributes:
        size: (H, W) of the slide's level 0 in pixels.
        mpp: micrometres per level-0 pixel.
        scale: level-0 pixels per pixel of the map.
        shapes: (h, w) of each level of the map, finest first; a pixel of level n covers 2^n x 2^n pixels of level 0.
        taxonomy: of the categories.
    """

    size: tuple[int, int]
    mpp: float
    scale: float
    shapes: tuple[tuple[int, int], ...]
    taxonomy: Taxonomy

    def window(self, level: int, top: int, left: int, bottom: int, right: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and categories (integers of one shape) of a rectangle in pixels of a level, cut off at its border."""

    def nucleus(self, number: int) -> dict[str, Any] | None:
        """id, category_id, score, area_um2, row, column, top, left, bottom, right of a nucleus; None: no such id."""

    def inside(self, box: tuple[float, float, float, float]) -> dict[str, np.ndarray]:
        """row, column, category_id of every nucleus whose centroid lies in top, left, bottom, right."""

    def ranked(self, by: str, count: int) -> list[dict[str, Any]]:
        """The `count` nuclei with the lowest score (by "score") or the largest area (by "area_um2"), as `nucleus`."""


class ResultMap:
    """The map of a result folder. Nothing of the table is read before somebody asks, then by row group or column.

    Args:
        result: the folder.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        self.size, self.mpp, self.scale = result.size, result.mpp, result.scale
        self.taxonomy = result.taxonomy
        levels = range(len(result.levels))
        self._arrays = [(result.ids(n), result.classes(n)) for n in levels]
        self.shapes = tuple(tuple(ids.shape) for ids, _ in self._arrays)
        self._order: dict[str, list[dict[str, Any]]] = {}

    def window(self, level: int, top: int, left: int, bottom: int, right: int) -> tuple[np.ndarray, np.ndarray]:
        """See `SlideMap`."""
        place = slice(top, bottom), slice(left, right)
        ids, classes = self._arrays[level]
        return np.asarray(ids[place]), np.asarray(classes[place])

    def nucleus(self, number: int) -> dict[str, Any] | None:
        """See `SlideMap`."""
        row = self.result.nucleus(number, columns=list(_TOLD))
        return None if row is None else {k: _plain(v) for k, v in row.items()}

    def inside(self, box: tuple[float, float, float, float]) -> dict[str, np.ndarray]:
        """See `SlideMap`."""
        table = self.result.instances(columns=["row", "column", "category_id"], box=box)
        found = {name: table[name].to_numpy() for name in table.column_names}
        keep = within(found["row"], found["column"], box)
        return {name: values[keep] for name, values in found.items()}

    def ranked(self, by: str, count: int) -> list[dict[str, Any]]:
        """See `SlideMap`."""
        if by not in self._order:  # one walk through the file that holds no more than its best rows
            best: list[dict[str, Any]] = []
            for batch in self.result.batches(columns=list(_TOLD), size=1 << 16):
                here = first(np.arange(batch.num_rows), batch[by].to_numpy(zero_copy_only=False), by, count)
                best += batch.take(here.tolist()).to_pylist()
                values = np.array([np.nan if row[by] is None else row[by] for row in best], float)
                best = [best[i] for i in first(np.arange(len(best)), values, by, count)]
            self._order[by] = [{k: _plain(v) for k, v in row.items()} for row in best]
        return self._order[by][:count]


def first(ids: np.ndarray, values: np.ndarray, by: str, count: int) -> np.ndarray:
    """The `count` ids to look at first: lowest "score", else highest value; of equal ones the lower id."""
    values = np.nan_to_num(values.astype(float), nan=1.0) * (1 if by == "score" else -1)
    return ids[np.lexsort((ids, values))[:count]]


@dataclass(frozen=True)
class Counted:
    """What lies in a region.

    Attributes:
        area_um2: of the region, on the slide.
        seen_um2: of the part of it that a network looked at.
        nuclei: category id -> number of nuclei whose centroid lies inside.
        tissue_um2: category id of stuff -> area; nuclei that lie on it are not part of it.
    """

    area_um2: float
    seen_um2: float
    nuclei: dict[int, int]
    tissue_um2: dict[int, float]

    @property
    def per_mm2(self) -> dict[int, float]:
        """Nuclei of each category per mm2 of the part that was looked at."""
        return {i: n / self.seen_um2 * 1e6 if self.seen_um2 else 0.0 for i, n in self.nuclei.items()}


def count_in(where: SlideMap, polygon: Polygon) -> Counted:
    """Counts, densities and tissue areas in a polygon.

    Nuclei are counted exactly, by their centroids. Areas are measured on a level of the map that has at most about
    four million pixels in the region's box.

    Args:
        where: the map.
        polygon: at least three (row, column) corners in level-0 pixels; a line that crosses itself is mended.

    Raises:
        ValueError: fewer than three corners, or no area.
    """
    if len(polygon) < 3:
        raise ValueError(f"a region needs at least three corners, got {len(polygon)}")
    shape = shapely.make_valid(shapely.Polygon([(column, row) for row, column in polygon]))
    shape = shapely.intersection(shape, shapely.box(0, 0, where.size[1], where.size[0]))
    if not shape.area:
        raise ValueError("the region has no area on the slide; draw a larger one, on the slide")
    left, top, right, bottom = shape.bounds
    found = where.inside((top, left, bottom, right))
    shapely.prepare(shape)
    chosen = found["category_id"][shapely.contains_xy(shape, found["column"], found["row"])]
    kinds, numbers = np.unique(chosen, return_counts=True)
    seen, tissue = _areas(where, shape)
    nuclei = {int(k): int(n) for k, n in zip(kinds, numbers, strict=True)}
    return Counted(float(shape.area) * where.mpp**2, seen, nuclei, tissue)


def _areas(where: SlideMap, shape: shapely.Geometry) -> tuple[float, dict[int, float]]:
    """um2 that were looked at, and um2 of each stuff category."""
    box = np.array(shape.bounds) / where.scale  # left, top, right, bottom in pixels of the map
    level = 0
    while level + 1 < len(where.shapes) and np.prod((box[2:] - box[:2]) / 2**level + 1) > _MEASURED:
        level += 1
    step = where.scale * 2**level
    (left, top), (right, bottom) = np.floor(box[:2] / 2**level), np.ceil(box[2:] / 2**level)
    _, classes = where.window(level, *(int(max(0, v)) for v in (top, left, bottom, right)))
    mask = Image.new("1", classes.shape[::-1])
    draw = ImageDraw.Draw(mask)
    for part in getattr(shape, "geoms", [shape]):
        if part.geom_type == "Polygon":
            for ring, value in [(part.exterior, 1), *((hole, 0) for hole in part.interiors)]:
                corners = np.asarray(ring.coords) / step - (left, top) - 0.5  # the centre of a pixel is at .5
                draw.polygon([tuple(c) for c in corners], fill=value)
    pixels = np.bincount(classes[np.asarray(mask)].astype(np.int64), minlength=1) * (step * where.mpp) ** 2
    stuff = {c.id: float(pixels[c.id]) for c in where.taxonomy.stuff if c.id < len(pixels) and pixels[c.id]}
    return float(pixels.sum() - pixels[where.taxonomy.VOID]), stuff


def within(rows: np.ndarray, columns: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Which of the places lie in top, left, bottom, right."""
    top, left, bottom, right = box
    return (rows >= top) & (rows <= bottom) & (columns >= left) & (columns <= right)


def _plain(value: Any) -> int | float | None:
    if value is None:
        return None
    return int(value) if float(value).is_integer() and not isinstance(value, float) else round(float(value), 3)
