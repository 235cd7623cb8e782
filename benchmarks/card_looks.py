"""Groups of a model card: the look of a stain, and size, shape and neighbours of things. All measured, none typed in.

The stain is measured by the optical density (-ln of the light) of tissue: how dense it is on average, and how much of
its dye is haematoxylin by the colours of Ruifrok & Johnston (2001), red and green light.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import regionprops_table

from pano_med.transforms.macenko import GLASS
from pano_med.transforms.stain import RUIFROK, optical_density
from pano_med.types import Panoptic

#: Share of haematoxylin in the dye. On our images red, eosin-soaked tissue lies below 0.45, haematoxylin alone above.
BALANCE = ((0.45, "eosin prevails"), (0.62, "both dyes"), (math.inf, "haematoxylin prevails"))
#: Mean optical density of tissue. Gaps on our images: 0.39 to 0.46, and 0.81 to 0.97.
STRENGTH = ((0.42, "pale"), (0.9, "medium"), (math.inf, "deep"))
#: Lower edges of the bins after the first. Nuclei in um2; the ratio of the axes; um to the next thing.
NUCLEUS_UM2 = (20.0, 40.0, 80.0, 160.0)
AXES = (1.5, 2.0, 3.0)
GAP_UM = (0.5, 2.0, 5.0)


@dataclass(frozen=True)
class Look:
    """The stain of one image.

    Attributes:
        haematoxylin: its share of the dye, 0..1; nan without tissue.
        density: mean optical density of tissue; nan without tissue.
    """

    haematoxylin: float
    density: float

    @property
    def name(self) -> str:
        """The group, e.g. "haematoxylin prevails, pale"."""
        if math.isnan(self.density):
            return "no tissue"
        said = (next(name for top, name in steps if value < top)
                for value, steps in ((self.haematoxylin, BALANCE), (self.density, STRENGTH)))  # fmt: skip
        return ", ".join(said)


def look_of(image: np.ndarray, ignore: np.ndarray | None = None) -> Look:
    """Measure the stain of an image.

    Args:
        image: (H, W, 3) uint8.
        ignore: (H, W) bool, pixels that are no part of the slide, or None.
    """
    kept = image.reshape(-1, 3) if ignore is None else image[~ignore]
    density = optical_density(torch.from_numpy(np.ascontiguousarray(kept)).double() / 255)  # (P, 3)
    tissue = density[density.mean(1) > GLASS]
    if not len(tissue):
        return Look(math.nan, math.nan)
    mean = tissue.mean(0)
    amounts = torch.linalg.solve(RUIFROK[:2, :2].T.double(), mean[:2]).clamp(min=0)
    return Look(float(amounts[0] / amounts.sum()), float(mean.mean()))


@dataclass(frozen=True)
class Shapes:
    """Things of one map, one row each, in the order asked for.

    Attributes:
        area_um2: (N,) float.
        axes: (N,) float, longer over shorter axis of the ellipse with the same second moments, at least 1.
        gap_um: (N,) float, from edge to edge to the nearest other thing, 0 = they touch, inf = there is no other.
        whole: (N,) bool, False where the edge of the image cuts the thing.
    """

    area_um2: np.ndarray
    axes: np.ndarray
    gap_um: np.ndarray
    whole: np.ndarray


def shapes_of(panoptic: Panoptic, ids: Sequence[int] | np.ndarray, pixel_size_um: float) -> Shapes:
    """Measure the things with these segment ids.

    Args:
        panoptic: the map.
        ids: N segment ids of things.
        pixel_size_um: side of a pixel.
    """
    number = {s.id: i for i, s in enumerate(panoptic.things, 1)}
    dense = panoptic.lookup(number)
    rows = np.array([number[int(i)] for i in ids], int) - 1
    wanted = ("area", "axis_major_length", "axis_minor_length")
    measured = regionprops_table(dense, properties=wanted)
    # a line of pixels has no breadth; half a pixel stands in
    ratio = measured[wanted[1]] / np.maximum(measured[wanted[2]], 0.5)
    cut = np.unique(np.concatenate([dense[[0, -1]].ravel(), dense[:, [0, -1]].ravel()]))
    whole = ~np.isin(np.arange(1, len(number) + 1), cut)
    gaps = gaps_px(dense, len(number)) * pixel_size_um
    return Shapes(measured["area"][rows] * pixel_size_um**2, np.maximum(ratio, 1)[rows], gaps[rows], whole[rows])


def gaps_px(dense: np.ndarray, count: int) -> np.ndarray:
    """(count,) float: pixels between each region 1..count and the nearest other one; inf where there is no other.

    The plane is cut where two regions are equally near; the shortest way across that line is the gap, right to about
    one pixel.
    """
    gaps = np.full(count + 1, np.inf)
    if not dense.any():
        return gaps[1:]
    distance, (r, c) = ndimage.distance_transform_edt(dense == 0, return_indices=True)
    nearest = dense[r, c]
    for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        line = nearest[here] != nearest[there]
        across = distance[here][line] + distance[there][line]
        for side in (here, there):
            np.minimum.at(gaps, nearest[side][line], across)
    return gaps[1:]


def binned(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """(N,) int: the bin of each value; bin 0 is below the first edge, an edge belongs to the bin above it."""
    return np.searchsorted(np.asarray(edges), values, "right")


def bin_names(edges: Sequence[float], unit: str = "") -> list[str]:
    """Names of the bins, e.g. "below 20 um2", "20 to 40 um2", "160 um2 and more"."""
    unit = f" {unit}" if unit else ""
    inner = [f"{a:,g} to {b:,g}{unit}" for a, b in pairwise(edges)]
    return [f"below {edges[0]:,g}{unit}", *inner, f"{edges[-1]:,g}{unit} and more"]


def quarters(values: np.ndarray) -> tuple[float, ...]:
    """Edges near the quartiles, rounded to two digits; fewer where they fall together."""
    edges = (float(f"{q:.2g}") for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return tuple(sorted(set(edges)))
