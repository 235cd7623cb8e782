"""The tiles of a slide to look at first: those whose nuclei have the lowest scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pano_med.pictures import overlay
from pano_med.slides.reader import Slide
from pano_med.slides.region_map import region_map
from pano_med.slides.regions import Region
from pano_med.slides.store import Result
from pano_med.tiles import Grid

#: A tile with fewer nuclei says little by its mean score.
FEWEST = 5
#: Of nuclei where the slide is not at hand: haematoxylin.
_DARK = (95, 80, 130)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class WorstTile:
    """One tile.

    Attributes:
        number: of the tile.
        score: mean score of its nuclei, 0..1.
        count: number of its nuclei.
    """

    number: int
    score: float
    count: int


def tile_box(result: Result, number: int) -> Box:
    """(top, left, bottom, right) in level-0 pixels of the part of a tile that is its own."""
    grid = result.manifest["grid"]
    tile = Grid(tuple(grid["size"]), grid["tile"], grid["overlap"], tuple(grid["origin"]))[number]
    (top, bottom), (left, right) = tile.core_rows, tile.core_columns
    return top * result.scale, left * result.scale, bottom * result.scale, right * result.scale


def worst_tiles(result: Result, most: int = 6) -> list[WorstTile]:
    """The tiles with the lowest mean scores, lowest first; ties in the order of tiles."""
    found = result.instances(["tile", "score"])
    groups = found.filter(found["score"].is_valid()).group_by("tile").aggregate([("score", "mean"), ("score", "count")])
    rows = [WorstTile(r["tile"], r["score_mean"], r["score_count"]) for r in groups.to_pylist()]
    return sorted((r for r in rows if r.count >= FEWEST), key=lambda tile: (tile.score, tile.number))[:most]


def picture(result: Result, box: Box, slide: Slide | None = None, longest: int = 480) -> np.ndarray:
    """A part of the slide with its outlines, over the slide where it is at hand, else nuclei dark on white.

    Args:
        result: an opened folder.
        box: (top, left, bottom, right) in level-0 pixels.
        slide: the slide itself.
        longest: longest side of the picture in pixels.

    Returns:
        (h, w, 3) uint8.
    """
    panoptic = region_map(result, Region.of_box(*box))
    height, width = panoptic.size
    image = np.full((height, width, 3), 255, np.uint8)
    image[panoptic.lookup({s.id: 1 for s in panoptic.things}) > 0] = _DARK
    if slide is not None:
        top, left, bottom, right = (round(v) for v in box)
        seen = Image.fromarray(slide.region(top, left, bottom - top, right - left, mpp=result.map_mpp))
        image = np.asarray(seen.resize((width, height)))
    drawn = Image.fromarray(overlay(image, panoptic, letters=False, thickness=2))
    drawn.thumbnail((longest, longest))
    return np.asarray(drawn)
