"""Where the tissues lie: nests, glands, stroma, fat, vessels, clefts and bare glass, as smooth fields in um."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial import cKDTree

from pano_med.synthetic.knobs import Knobs
from pano_med.synthetic.noise import Grid


@dataclass(frozen=True)
class Scene:
    """The plan of a tile on a coarse grid. Lengths in um.

    Attributes:
        grid: the coarse canvas.
        nest: (h, w) signed distance to the border of the tumour, positive inside.
        matter: (h, w) signed distance to the nearest white space, positive in tissue.
        vessel: (h, w) signed distance to the nearest vessel wall, positive in the lumen.
        across: (h, w) coordinate that runs across the collagen fibres.
        along: (h, w) coordinate that runs along them.
        inflamed: (h, w) 0..1, how densely lymphocytes lie.
        loose: 0..1, how far the fibres stand apart.
        blood: 0..1, how full the vessels are.
    """

    grid: Grid
    nest: np.ndarray
    matter: np.ndarray
    vessel: np.ndarray
    across: np.ndarray
    along: np.ndarray
    inflamed: np.ndarray
    loose: float
    blood: float


def plan(rng: np.random.Generator, grid: Grid, knobs: Knobs) -> Scene:
    """Draw the plan of one tile."""
    nest, lumen = _nests(rng, grid, knobs)
    edge = _edge(rng, grid, knobs)
    fat, vessel = _fat(rng, grid, nest), np.minimum(_vessels(rng, grid, nest), edge)
    cleft = np.abs(nest + 2.5) - 3.5 * rng.random() * (grid.noise(rng, 22) - rng.uniform(0.3, 2.5))
    blood = float(rng.choice([0.0, 0.4, 1.0]))
    matter = np.minimum.reduce([lumen, fat, cleft, -vessel, edge])
    across, along = _fibres(rng, grid, nest)
    return Scene(grid, nest, matter, vessel, across, along, _inflamed(rng, grid), float(rng.beta(1.2, 1.8)), blood)


def signed_distance(inside: np.ndarray, step: float) -> np.ndarray:
    """Distance to the border of a region in um, positive inside; far away where there is no border."""
    far = 1e3
    out = distance_transform_edt(~inside) if inside.any() else np.full(inside.shape, far)
    within = distance_transform_edt(inside) if not inside.all() else np.full(inside.shape, far)
    return np.float32((within - out - 0.5 * inside + 0.5 * ~inside) * step)


def _nests(rng: np.random.Generator, grid: Grid, knobs: Knobs) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to nests, and to the lumina inside them (positive in tissue)."""
    share = knobs.tumour_fraction
    drawn = float(rng.choice([0.0, rng.uniform(0.15, 0.75), rng.uniform(0.9, 1.0)], p=[0.2, 0.7, 0.1]))
    share = drawn if share is None else share
    glandular, thick = rng.random() < 0.35 and share <= 0.5, rng.uniform(16, 26)
    scale = rng.uniform(60, 95) if glandular else rng.uniform(55, 150)
    field = grid.noise(rng, scale) + 0.35 * grid.noise(rng, scale / 3) + 0.1 * grid.noise(rng, 12)
    nest = signed_distance(field > _upper(field, share), grid.step)
    deep = np.minimum(nest, 60)  # a tile that is all tumour has no border to measure from
    gland = thick * (1 + 0.2 * grid.noise(rng, 25)) - deep
    spaces = 10 * (rng.uniform(2.0, 3.2) - grid.noise(rng, rng.uniform(14, 30)))
    return nest, np.float32(gland if glandular else spaces)


def _upper(field: np.ndarray, share: float) -> float:
    """Threshold that `share` of the field exceeds; 0 and 1 mean nothing and everything."""
    return np.inf if share <= 0 else -np.inf if share >= 1 else float(np.quantile(field, 1 - share))


def _fat(rng: np.random.Generator, grid: Grid, nest: np.ndarray) -> np.ndarray:
    """Signed distance to fat vacuoles: the cells of a rounded Voronoi diagram inside a patch of fat."""
    share, spacing, wall = float(rng.choice([0.0, 0.2, 0.6], p=[0.75, 0.15, 0.1])), rng.uniform(45, 75), 2.4
    patch = grid.noise(rng, 130)
    y, x = (p.ravel() for p in grid.positions())
    near = np.minimum(_upper(patch, share) - patch, 9) * 60  # positive outside the patch
    if share == 0:
        return np.full(grid.shape, 1e3, np.float32)
    lattice = np.stack(
        np.meshgrid(
            np.arange(y[0], y[-1] + spacing, spacing), np.arange(x[0], x[-1] + spacing, spacing), indexing="ij"
        ),
        -1,
    ).reshape(-1, 2)
    centres = lattice + rng.uniform(-0.42, 0.42, lattice.shape) * spacing
    points = np.stack(np.broadcast_arrays(y[:, None], x[None, :]), -1).reshape(-1, 2)
    d, _ = cKDTree(centres).query(points, k=2) if len(centres) > 1 else (np.full((len(points), 2), 1e3), None)
    hole = np.minimum((d[:, 1] - d[:, 0]) / 2 - wall, spacing * 0.62 - d[:, 0]).reshape(grid.shape)
    return np.float32(np.maximum.reduce([-hole, near, nest + 3]))


def _vessels(rng: np.random.Generator, grid: Grid, nest: np.ndarray) -> np.ndarray:
    """Signed distance to small vessels in the stroma, positive in the lumen."""
    y, x = grid.positions()
    field = np.full(grid.shape, -1e3, np.float32)
    for _ in range(rng.poisson(grid.size[0] * grid.size[1] * grid.pixel**2 / 25_000)):
        radius, squash, turn = rng.uniform(4, 16), rng.uniform(0.35, 0.9), rng.uniform(0, np.pi)
        free = np.argwhere(nest < -radius - 4)
        if not len(free):
            break
        i, j = free[rng.integers(len(free))]
        dy, dx = y - y[i, 0], x - x[0, j]
        p, q = np.cos(turn) * dx + np.sin(turn) * dy, (np.cos(turn) * dy - np.sin(turn) * dx) / squash
        field = np.maximum(field, (radius - np.hypot(p, q)) * squash)
    return field


def _edge(rng: np.random.Generator, grid: Grid, knobs: Knobs) -> np.ndarray:
    """Signed distance to the glass outside the tissue."""
    drawn = float(rng.choice([1.0, rng.uniform(0.4, 0.95)], p=[0.8, 0.2]))
    field = grid.noise(rng, 220) + 0.06 * grid.noise(rng, 30)
    return signed_distance(field > _upper(field, drawn if knobs.tissue is None else knobs.tissue), grid.step)


def _fibres(rng: np.random.Generator, grid: Grid, nest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates across and along wavy collagen that bends around the nests."""
    y, x = grid.positions()
    turn, waves = rng.uniform(0, np.pi), rng.uniform(0.4, 1.6)
    bend = 22 * grid.noise(rng, 110) + waves * (4.5 * grid.noise(rng, 38) + 1.1 * grid.noise(rng, 14))
    soft = gaussian_filter(nest.clip(-90, 30), 4)  # a distance has creases, fibres have none
    wrap = 0.9 * soft.clip(max=0) + 30 * np.exp(np.minimum(soft, 0) / 25)
    across = np.cos(turn) * y + np.sin(turn) * x + bend - wrap
    return np.float32(across), np.float32(np.cos(turn) * x - np.sin(turn) * y + 8 * grid.noise(rng, 60))


def _inflamed(rng: np.random.Generator, grid: Grid) -> np.ndarray:
    """How densely lymphocytes lie: clusters of random size on a thin background, 0..1."""
    share = float(rng.choice([0.01, 0.1, 0.35, 0.8], p=[0.3, 0.3, 0.25, 0.15]))
    field = grid.noise(rng, rng.uniform(40, 100)) + 0.3 * grid.noise(rng, 18)
    return np.float32(0.02 + 0.98 / (1 + np.exp(-(field - _upper(field, share)) * 7)))
