"""Everything but nuclei: collagen, cytoplasm, red cells and white space, as two densities and a map of stuff."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pano_med.synthetic.cells import Cells
from pano_med.synthetic.noise import endless, sample, smooth
from pano_med.synthetic.scene import Scene


@dataclass(frozen=True)
class Ground:
    """Tissue without nuclei; arrays are (H, W).

    Attributes:
        haematoxylin: optical density, 1 = a typical nucleus.
        eosin: optical density, 1 = typical cytoplasm.
        blood: density of red cells.
        white: True where there is glass.
        nest: True in nests of tumour.
    """

    haematoxylin: np.ndarray
    eosin: np.ndarray
    blood: np.ndarray
    white: np.ndarray
    nest: np.ndarray


def lay(rng: np.random.Generator, scene: Scene, cells: Cells) -> Ground:
    """Paint the tissue of a plan."""
    grid = scene.grid
    size, px = grid.size, grid.pixel
    rough = smooth(rng, size, 3 / px)
    fine = smooth(rng, size, 0.8 / px)
    cloud = smooth(rng, size, 30 / px)
    nest = grid.fine(scene.nest) + 0.8 * rough > 0
    fibres, slit = _collagen(rng, scene)
    matter = grid.fine(scene.matter) + 0.5 * rough + 0.2 * fine
    cyto_e, cyto_h, gap = _cytoplasm(rng, scene, cells, nest, fine, rough)
    firm = np.maximum(5 - matter, 0)  # walls of fat cells and rims of holes do not split
    matter = np.minimum(matter, np.where(nest, gap, slit + firm))
    eosin = np.where(nest, cyto_e, fibres) * (1 + 0.12 * cloud)
    blue = np.where(nest, cyto_h, 0.06 + 0.05 * fibres + 0.1 * grid.fine(scene.inflamed)) * (1 + 0.1 * fine)
    here = np.clip(matter / 0.9 + 0.5, 0, 1)
    blood = _red_cells(rng, scene) * (matter < 0)
    return Ground(np.maximum(blue * here, 0), np.maximum(eosin * here, 0), blood, (matter < 0) & (blood < 0.05), nest)


def _collagen(rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Eosin of the fibres, and the signed distance (um, roughly) to slits between them."""
    grid = scene.grid
    size, px = grid.size, grid.pixel
    ruffle = rng.uniform(0.4, 1.6) * smooth(rng, size, 9 / px) + 0.35 * smooth(rng, size, 3.5 / px)
    across, along = (grid.fine(scene.across) + ruffle) / px, grid.fine(scene.along) / px
    thin, thick = endless(rng, 512, (1.1 / px, 11 / px)), endless(rng, 512, (4.5 / px, 30 / px))
    thin, thick = sample(thin, across, along), sample(thick, across, along)
    patch = smooth(rng, size, 28 / px)
    fibre = (
        rng.uniform(0.06, 0.2) * thin
        + rng.uniform(0.06, 0.2) * thick
        + 0.1 * patch
        + 0.05 * smooth(rng, size, 1.2 / px)
    )
    eosin = rng.uniform(0.6, 1.0) * np.exp(fibre)
    width = 2.2 * scene.loose + 0.9 * patch - 0.9 + 0.5 * thin
    return eosin, np.abs(thick) * 2.5 - width


def _cytoplasm(
    rng: np.random.Generator, scene: Scene, cells: Cells, nest: np.ndarray, fine: np.ndarray, rough: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eosin and haematoxylin of tumour cells, each with its own tint, and the distance (um, roughly) to gaps."""
    size, px = scene.grid.size, scene.grid.pixel
    eosin, blue, border = rng.uniform(0.55, 1.1), rng.uniform(0.1, 0.42), rng.uniform(-0.5, 0.25)
    foam = smooth(rng, size, 2.6 / px) + 0.5 * smooth(rng, size, 30 / px) - rng.uniform(1.6, 4.5)
    grain = 1 + rng.uniform(0.03, 0.1) * fine + rng.uniform(0.03, 0.12) * rough
    edge, tint = _cells(rng, scene, cells, nest)
    apart = rng.uniform(1.0, 2.7) - 0.6 * smooth(rng, size, 22 / px) - 0.25 * rough
    gap = np.minimum(2.5 * (apart - edge) + 1, -2 * foam)
    return eosin * grain * tint * (1 + border * edge), blue * grain * tint * (1 - 0.3 * edge), gap


def _cells(rng: np.random.Generator, scene: Scene, cells: Cells, nest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How near a pixel lies to the border of its cell (0..1), and the tint of that cell, by nearest nuclei."""
    grid = scene.grid
    edge, tint = np.zeros(grid.size, np.float32), np.ones(grid.size, np.float32)
    if len(cells) < 2 or not nest.any():
        return edge, tint
    stride = max(round(1.0 / grid.pixel), 1)
    small = np.zeros((2, *nest[::stride, ::stride].shape), np.float32)
    bulge = 1.3 * np.stack([smooth(rng, small.shape[1:], 6 / (stride * grid.pixel)) for _ in "yx"], -1)
    rows, columns = np.nonzero(nest[::stride, ::stride])
    points = (np.stack([rows, columns], -1) + 0.5) * stride * grid.pixel + bulge[rows, columns]
    d, who = cKDTree(cells.centre).query(points, k=2)
    small[0, rows, columns] = np.exp(-(((d[:, 1] - d[:, 0]) / 1.5) ** 2)) * (d[:, 0] < 15)
    small[1, rows, columns] = (0.1 * rng.standard_normal(len(cells)))[who[:, 0]]
    h, w = grid.size
    big = small.repeat(stride, 1).repeat(stride, 2)[:, :h, :w]
    return big[0], 1 + big[1]


def _red_cells(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Red cells in the lumina of vessels: discs of 7 um, paler in the middle."""
    grid = scene.grid
    out = np.zeros(grid.size, np.float32)
    if not scene.blood or not (scene.vessel > 0).any():
        return out
    lumen = grid.fine(scene.vessel) > 0
    inside = np.argwhere(scene.vessel > 0)
    y, x = grid.positions()
    for i, j in inside[rng.random(len(inside)) < scene.blood * 0.25]:
        r = rng.uniform(2.6, 3.6)
        cy, cx = y[i, 0] + rng.uniform(-1, 1), x[0, j] + rng.uniform(-1, 1)
        ends = [((c - r) / grid.pixel, (c + r) / grid.pixel + 2) for c in (cy, cx)]
        window = tuple(slice(max(int(low), 0), max(int(high), 0)) for low, high in ends)
        rows, columns = (np.arange(*w.indices(n)) + 0.5 for w, n in zip(window, grid.size, strict=True))
        rho = np.hypot(rows[:, None] * grid.pixel - cy, columns[None, :] * grid.pixel - cx) / r
        disc = np.clip((1 - rho) * 5, 0, 1) * (0.75 + 0.35 * rho**2)
        np.maximum(out[window], disc, out=out[window])
    return out * lumen
