"""A region of a finished slide as a panoptic map."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from pano_med.slides.regions import Region
from pano_med.slides.store import Result
from pano_med.types import Panoptic

#: A map is one picture in memory; more pixels than this need a smaller region.
MAP_PIXELS = 64_000_000

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels of the map."""


def region_map(result: Result, region: Region | None = None) -> Panoptic:
    """The map of a region at its own resolution; things keep the numbers of the table, stuff gets the next ones.

    Nuclei that the border of the region crosses are cut there. Outside a polygon everything is void.

    Args:
        result: an opened folder.
        region: the part; None: the whole slide.

    Raises:
        ValueError: the region holds nothing of the map, or more than `MAP_PIXELS` pixels.
    """
    top, left, bottom, right = _window(result, region)
    if top >= bottom or left >= right:
        height, width = result.size
        raise ValueError(f"the region lies outside the slide of {height} x {width} px; choose another")
    if (bottom - top) * (right - left) > MAP_PIXELS:
        raise ValueError(
            f"a COCO map is one picture of at most {MAP_PIXELS:,} px, this one has {bottom - top:,} x "
            f"{right - left:,}; name a smaller --region"
        )
    ids = np.array(result.ids(0)[top:bottom, left:right])
    classes = np.array(result.classes(0)[top:bottom, left:right])
    if region is not None and not region.is_box:
        x = (np.arange(left, right) + 0.5) * result.scale
        for i, y in enumerate((np.arange(top, bottom) + 0.5) * result.scale):  # row by row: no map of floats
            outside = ~region.holds(np.full(len(x), y), x)
            ids[i, outside], classes[i, outside] = 0, 0
    return _panoptic(result, ids, classes, (top, left, bottom, right))


def _window(result: Result, region: Region | None) -> Box:
    """(top, left, bottom, right) of a region in map pixels, cut at the map's border."""
    height, width = result.ids(0).shape
    if region is None:
        return 0, 0, height, width
    top, left, bottom, right = (v / result.scale for v in region.box)
    return max(0, int(top)), max(0, int(left)), min(height, int(np.ceil(bottom))), min(width, int(np.ceil(right)))


def _panoptic(result: Result, ids: NDArray[np.uint32], classes: NDArray[np.uint8], box: Box) -> Panoptic:
    """Stuff is numbered by category behind the last thing of the slide, so that a tissue has one number everywhere."""
    last = pc.max(result.instances(["id"])["id"]).as_py() or 0
    top, left, bottom, right = (v * result.scale for v in box)
    table = result.instances(["id", "category_id", "score"], (top, left, bottom, right))
    numbers, kinds, scores = (table[name].to_pylist() for name in ("id", "category_id", "score"))
    stuff = np.zeros(256, np.int32)
    for c in result.taxonomy.stuff:
        stuff[c.id] = last + c.id
    # A run that is still going may have painted things that it has not listed yet; their numbers are higher.
    whole = np.where((ids > 0) & (ids <= last), ids.astype(np.int32), stuff[classes])
    categories = {last + c.id: c.id for c in result.taxonomy.stuff} | dict(zip(numbers, kinds, strict=True))
    known = {i: s for i, s in zip(numbers, scores, strict=True) if s is not None}
    return Panoptic.from_ids(whole, categories, result.taxonomy, result.map_mpp, known)
