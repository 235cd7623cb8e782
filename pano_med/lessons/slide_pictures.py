"""Pictures of lesson 08: the pyramid, the tissue, tiles and their cores, a seam, a blend, a density map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pano_med.lessons.maps import titled
from pano_med.pictures import overlay, scale_bar
from pano_med.pictures.overlay import enlarge
from pano_med.types import OKABE_ITO, Panoptic

INK = {name: tuple(c / 255 for c in rgb) for name, rgb in OKABE_ITO.items()}
_SIZE = 13


def levels(pictures: Sequence[np.ndarray], mpps: Sequence[float]) -> np.ndarray:
    """The same place from each level, enlarged to one size."""
    most = pictures[0].shape[0]
    parts = [scale_bar(enlarge(p, most // p.shape[0]), mpps[0]) for p in pictures]
    return titled(parts, [f"{i}: {mpp:.3g} um/px" for i, mpp in enumerate(mpps)])


def tissue(thumbnail: np.ndarray, mask: np.ndarray, share: float) -> Figure:
    """The slide made small, with a line around what counts as tissue."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(thumbnail, extent=(0, 1, 1, 0), aspect=thumbnail.shape[0] / thumbnail.shape[1])
    h, w = mask.shape
    axes.contour((np.arange(w) + 0.5) / w, (np.arange(h) + 0.5) / h, mask, [0.5], colors=[INK["blue"]], linewidths=3)
    axes.set_title(f"inside the blue line: tissue, {share:.0%} of the slide", fontsize=_SIZE)
    axes.set_axis_off()
    return figure


def tiles(thumbnail: np.ndarray, scale: float, grid: Sequence[Any], chosen: Sequence[int]) -> Figure:
    """Tiles over the slide made small: those that are looked at, with the core of one of them.

    Args:
        thumbnail: (h, w, 3) uint8.
        scale: pixels of the map per pixel of the thumbnail.
        grid: of `pano_med.tiles.Grid`.
        chosen: numbers of the tiles with tissue.
    """
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(thumbnail)
    for number, tile in enumerate(grid):
        look = {"ec": INK["black"], "lw": 1.5} if number in chosen else {"ec": "0.75", "lw": 0.8, "ls": ":"}
        axes.add_patch(_frame(tile.rows, tile.columns, scale, fill=False, **look))
    if chosen:
        one = grid[chosen[len(chosen) // 2]]
        axes.add_patch(_frame(one.rows, one.columns, scale, fc=(*INK["yellow"], 0.35), ec=INK["black"], lw=3))
        axes.add_patch(_frame(one.core_rows, one.core_columns, scale, fill=False, ec=INK["blue"], lw=3, hatch="//"))
    axes.set_title("tiles overlap (yellow: one of them); its core (hatched) touches the next core", fontsize=_SIZE)
    axes.set_axis_off()
    return figure


def _frame(rows: tuple[int, int], columns: tuple[int, int], scale: float, **look: Any) -> Rectangle:
    return Rectangle((columns[0] / scale, rows[0] / scale), (columns[1] - columns[0]) / scale,
                     (rows[1] - rows[0]) / scale, **look)


def seam(image: np.ndarray, maps: Mapping[str, Panoptic], centre: tuple[int, int], um: float, reach: int = 48,
         scale: int = 6) -> np.ndarray:
    """One place in several results, enlarged.

    Args:
        image: (H, W, 3) uint8.
        maps: title and map of each.
        centre: (row, column) in pixels.
        um: side of a pixel.
        reach: pixels around the centre.
        scale: enlargement.
    """
    window = tuple(slice(max(0, c - reach), c + reach) for c in centre)
    parts = []
    for found in maps.values():
        numbers = {s.id: s.id for s in found.things}
        nuclei = Panoptic.from_ids(found.lookup(numbers)[window], {s.id: s.category_id for s in found.things},
                                   found.taxonomy)  # fmt: skip
        parts.append(scale_bar(overlay(image[window], nuclei, scale=scale, bar=False), um / scale))
    return titled(parts, list(maps))


def density(thumbnail: np.ndarray, values: np.ndarray, um: float) -> Figure:
    """A map of nuclei per mm2 beside the slide; squares without tissue stay empty."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    ratio = thumbnail.shape[0] / thumbnail.shape[1]
    left.imshow(thumbnail)
    left.set_title("the slide", fontsize=_SIZE)
    shown = right.imshow(values, cmap="cividis", extent=(0, 1, 1, 0), aspect=ratio, interpolation="nearest")
    right.set_title(f"nuclei per mm² of tissue, squares of {um:g} µm", fontsize=_SIZE)
    figure.colorbar(shown, ax=right)
    for axes in (left, right):
        axes.set_axis_off()
    return figure
