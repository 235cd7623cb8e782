"""The seam certificate: does a stitched map say the same along its seams as elsewhere?

A network with strides is not shift-equivariant: laid differently over the same pixels it finds slightly different
nuclei everywhere. So seams can't be judged by "the result changes when the grid moves". They are judged against the
inside of the same tiles. At a sample of places a tile is laid so that a seam runs through its middle, where this tile
has none. The PQ between its result and the stitched map is taken twice: in the band along the seam that two tiles
share, and away from it. A stitching that cuts, loses or doubles nuclei does so in the band only.

Beside PQ: boundaries that run straight along a seam or a tile's edge (a cut nucleus), nuclei per area in the band
(against the shifted tile, so that uneven tissue does not count), nuclei that lie twice, and the tissue's agreement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pano_med.predict.segmenter import merged_tile
from pano_med.slides.begin import Map
from pano_med.slides.reader import Slide
from pano_med.slides.seam_certificate import FILE, Certificate, judge
from pano_med.slides.seam_measures import look
from pano_med.slides.seam_places import Place, Seams, all_places, choose
from pano_med.slides.source import SlideReadError
from pano_med.slides.store import Result
from pano_med.tiles import Grid
from pano_med.types import Panoptic, Taxonomy

__all__ = ["FILE", "Certificate", "certify"]


def certify(
    result: Result,
    slide: Slide,
    segmenter: Any,
    places: int = 24,
    seed: int = 0,
    on_place: Callable[[int, int], None] | None = None,
) -> Certificate:
    """Look at the seams of a finished result.

    Args:
        result: the folder.
        slide: its slide.
        segmenter: the network that made it, see `segment_slide`.
        places: how many places to look at; each costs about one tile.
        seed: the same seed looks at the same places.
        on_place: called with (places done, places in all).

    Raises:
        ValueError: `places` below 1, an unfinished result, or slide or network are not those that it was made of.
    """
    if places < 1:
        raise ValueError(f"the number of places must be at least 1, got {places}")
    check_same(result, slide, segmenter)
    grid = result.manifest["grid"]
    size, origin = tuple(grid["size"]), tuple(grid["origin"])
    tiles = Grid(size, grid["tile"], grid["overlap"], origin)
    seams = Seams.of(tiles, size, grid["tile"], grid["overlap"])
    candidates = [p for p in all_places(seams, origin) if not _failed(p, tiles, result)]
    chosen = choose(candidates, tissue_share(result, candidates), places, seed)
    looks, skipped = [], []
    for done, place in enumerate(chosen, start=1):
        try:
            shifted = shifted_tile(place, slide, segmenter, result.taxonomy)
        except SlideReadError as error:
            skipped.append(str(error))
        else:
            stitched = stitched_part(result, place.window)
            looks.append(look(place, seams, stitched, shifted, rows_at(result, place), result.scale))
        if on_place is not None:
            on_place(done, len(chosen))
    return judge(looks, seams.overlap, not candidates and len(tiles) == 1, skipped)


def check_same(result: Result, slide: Slide, segmenter: Any) -> None:
    """Raise ValueError unless the result is finished and was made of this slide with this network."""
    if result.manifest["state"] != "done":
        raise ValueError(f"{result.folder} is not finished: go on with `pano-med slide ... --resume`, then certify it")
    made, name = result.manifest["slide"], result.manifest["model"]["name"]
    if slide.fingerprint != made["fingerprint"]:
        raise ValueError(f"the result was made from another slide ({made['name']}) than {slide.path}; name that file "
                         "with --slide")
    if slide.mpp != made["mpp"]:
        raise ValueError(f"the result was made at {made['mpp']:g} um per pixel, {slide.path} was opened with "
                         f"{slide.mpp}: open it with mpp={made['mpp']:g}")
    if segmenter.loaded.meta.get("sha256") != result.manifest["model"]["sha256"]:
        raise ValueError(f"the result was made with other weights ({name}); name them with --weights")


def shifted_tile(place: Place, slide: Slide, segmenter: Any, taxonomy: Taxonomy) -> Panoptic:
    """What a tile of its own says of a place, read as `segment_slide` reads tiles and fused by the same rules.

    Types are told or not as in the result, whose `taxonomy` it is.
    """
    mpp = segmenter.loaded.model_mpp
    image = Map.of(slide, mpp).read(slide, place.rows, place.columns)
    return merged_tile(segmenter.predict(image, mpp), segmenter.rules, taxonomy)


def stitched_part(result: Result, window: tuple[slice, slice]) -> Panoptic:
    """A part of a result's map; each stuff class is one segment, what was not looked at is void."""
    ids, classes = np.asarray(result.ids(0)[window]), np.asarray(result.classes(0)[window])
    return as_panoptic(ids, classes, result.taxonomy)


def as_panoptic(ids: np.ndarray, classes: np.ndarray, taxonomy: Taxonomy) -> Panoptic:
    """A panoptic map from (h, w) numbers of things (0 = none) and (h, w) categories (0 = void); numbers change."""
    first = 1 + max(c.id for c in taxonomy.all)
    numbers, where = np.unique(ids, return_index=True)
    order = np.searchsorted(numbers, ids)
    things = {first + i: int(classes.ravel()[where[i]]) for i, n in enumerate(numbers) if n}
    stuff = {c.id: c.id for c in taxonomy.all if not c.isthing}
    ground = np.where(np.isin(classes, list(stuff)), classes, 0)
    return Panoptic.from_ids(np.where(ids > 0, first + order, ground), {**things, **stuff}, taxonomy)


def rows_at(result: Result, place: Place) -> pa.Table:
    """The rows of `instances.parquet` whose box reaches into a place."""
    box = [v * result.scale for v in (place.rows[0], place.columns[0], place.rows[1], place.columns[1])]
    return result.instances(["id", "tile", "row", "column", "contour"], box=tuple(box))


def tissue_share(result: Result, places: Sequence[Place]) -> np.ndarray:
    """(N,) share of each place that was looked at, from the coarsest level of the map."""
    classes = np.asarray(result.classes(len(result.levels) - 1)[:])
    factor = [n / c for n, c in zip(result.manifest["grid"]["size"], classes.shape, strict=True)]
    shares = []
    for p in places:
        near = [slice(int(max(0, c - p.reach) / f), int((c + p.reach) / f) + 1)
                for c, f in zip(p.centre, factor, strict=True)]
        shares.append(float((classes[near[0], near[1]] > 0).mean()))
    return np.array(shares)


def _failed(place: Place, tiles: Grid, result: Result) -> bool:
    """Whether a tile that could not be read touches the place."""
    failed = [tiles[row["tile"]] for row in result.manifest["tiles"]["failed"]]
    return any(
        t.rows[0] < place.rows[1] and place.rows[0] < t.rows[1]
        and t.columns[0] < place.columns[1] and place.columns[0] < t.columns[1]
        for t in failed
    )
