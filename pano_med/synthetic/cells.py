"""Which cells lie where: kinds of nuclei, their sizes in um, and dart throwing with room for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pano_med.synthetic.knobs import Knobs
from pano_med.synthetic.scene import Scene


@dataclass(frozen=True)
class Kind:
    """One kind of nucleus. Ranges are uniform; optical densities in units of a typical nucleus.

    Attributes:
        category: name of the thing class in the taxonomy.
        length: long diameter, um.
        aspect: short over long diameter.
        power: exponent of the superellipse; 2 is an ellipse, less has pointed ends.
        wobble: how far the outline leaves the ellipse.
        ragged: how far a fine noise eats into the outline.
        body: haematoxylin of the nucleoplasm.
        rim: haematoxylin added at the membrane.
        clump: haematoxylin of the chromatin's clumps.
        nucleoli: range of their number.
        bend: how far the long axis curves.
        halo: how far the cytoplasm around clears, 0..1.
        coat: haematoxylin of a ring of cytoplasm of its own.
    """

    category: str
    length: tuple[float, float]
    aspect: tuple[float, float]
    power: float = 2.0
    wobble: float = 0.05
    ragged: float = 0.0
    body: tuple[float, float] = (0.8, 1.2)
    rim: tuple[float, float] = (0.0, 0.2)
    clump: float = 0.2
    nucleoli: tuple[int, int] = (0, 0)
    bend: float = 0.0
    halo: float = 0.0
    coat: float = 0.0


NEOPLASTIC, INFLAMMATORY, CONNECTIVE = "neoplastic nucleus", "inflammatory nucleus", "connective nucleus"

KINDS: dict[str, Kind] = {
    "vesicular": Kind(NEOPLASTIC, (10, 14), (0.65, 0.97), 2.1, 0.07, 0.0, (0.4, 0.75), (0.35, 0.9), 0.36, (1, 3)),
    "dense": Kind(NEOPLASTIC, (9, 14), (0.5, 0.92), 2.1, 0.12, 0.03, (0.85, 1.4), (0.1, 0.4), 0.4, (0, 2)),
    "plate": Kind(NEOPLASTIC, (9, 12), (0.28, 0.42), 2.6, 0.1, 0.3, (1.9, 2.5), (0.0, 0.0), 0.3, halo=0.55),
    "prophase": Kind(NEOPLASTIC, (8, 11), (0.6, 0.9), 2.0, 0.2, 0.5, (1.7, 2.3), (0.0, 0.0), 0.6, halo=0.5),
    "lymphocyte": Kind(INFLAMMATORY, (6.4, 8.2), (0.8, 1.0), 2.1, 0.06, 0.0, (1.2, 1.9), (0.0, 0.35), 0.26, halo=0.3),
    "plasma": Kind(INFLAMMATORY, (6.6, 8.4), (0.78, 0.95), 2.0, 0.04, 0.0, (0.9, 1.4), (0.2, 0.5), 0.45, coat=0.35),
    "spindle": Kind(CONNECTIVE, (12, 20), (0.21, 0.33), 1.65, 0.08, 0.0, (0.8, 1.5), (0.1, 0.4), 0.3, bend=0.18),
    "plump": Kind(CONNECTIVE, (12, 16), (0.28, 0.42), 1.85, 0.05, 0.0, (0.35, 0.75), (0.2, 0.6), 0.28, (0, 2), 0.08),
}


@dataclass(frozen=True)
class Cells:
    """Nuclei of a tile, bottom to top. All lengths in um, one entry per nucleus.

    Attributes:
        kinds: names in `KINDS`.
        centre: (n, 2) row and column.
        half: (n, 2) long and short half axis.
        angle: (n,) direction of the long axis, radians from the columns to the rows.
        chance: (n, 16) numbers 0..1 from which the nucleus draws its look.
    """

    kinds: list[str]
    centre: np.ndarray
    half: np.ndarray
    angle: np.ndarray
    chance: np.ndarray

    def __len__(self) -> int:
        return len(self.kinds)


def place(rng: np.random.Generator, scene: Scene, knobs: Knobs) -> Cells:
    """Throw the nuclei of a tile: density by tissue, then whoever stands too close to an earlier one goes."""
    grade, pleomorphic = rng.uniform(0.92, 1.3), rng.uniform(0.05, 0.22)
    parts = [_throw(rng, scene, names, density * knobs.crowding) for names, density in _densities(rng, scene)]
    kinds = [k for names, _ in parts for k in names]
    centre = np.concatenate([c for _, c in parts])
    order = rng.permutation(len(kinds))
    kinds, centre = [kinds[i] for i in order], centre[order]
    half = _axes(rng, kinds, grade, pleomorphic) * knobs.size
    angle = _angles(rng, scene, kinds, centre)
    chance = rng.random((len(kinds), 16))
    keep = _room(centre, np.sqrt(half[:, 0] * half[:, 1]), 0.95 - 0.35 * knobs.overlap)
    return Cells([kinds[i] for i in keep], centre[keep], half[keep], angle[keep], chance[keep])


def _densities(rng: np.random.Generator, scene: Scene) -> list[tuple[dict[str, float], np.ndarray]]:
    """Kinds with their shares, and where they lie: (h, w) nuclei per um2."""
    tissue, nest = scene.matter > 1.5, scene.nest > 3
    stroma = tissue & ~nest
    vesicular, mitoses = rng.beta(2, 1), 0.012 * rng.random() ** 2
    tumour = {"vesicular": vesicular, "dense": 1 - vesicular, "plate": mitoses, "prophase": mitoses}
    plasma = rng.uniform(0, 0.3)
    loose = {"spindle": 1.0, "plump": rng.uniform(0.1, 1.0)}
    inside = rng.choice([0.0, 0.04, 0.15])  # lymphocytes among tumour cells
    return [
        (tumour, nest * tissue * rng.uniform(1 / 110, 1 / 45)),
        (loose, stroma * (1 - 0.6 * scene.inflamed) * rng.uniform(1 / 900, 1 / 260)),
        ({"lymphocyte": 1 - plasma, "plasma": plasma}, scene.inflamed * tissue * np.where(nest, inside, 1.0) / 32),
    ]


def _throw(
    rng: np.random.Generator,
    scene: Scene,
    shares: dict[str, float],
    density: np.ndarray,
) -> tuple[list[str], np.ndarray]:
    """Random points of a density with random kinds."""
    step = scene.grid.step
    total = np.cumsum(density.ravel() * step**2)
    n = rng.poisson(total[-1])
    at = np.searchsorted(total, rng.random(n) * total[-1])
    y, x = scene.grid.positions()
    i, j = np.divmod(np.minimum(at, density.size - 1), density.shape[1])
    points = np.stack([y[i, 0], x[0, j]], -1) + rng.uniform(-0.5, 0.5, (n, 2)) * step
    p = np.array(list(shares.values()))
    return list(rng.choice(list(shares), n, p=p / p.sum())), points


def _axes(rng: np.random.Generator, kinds: list[str], grade: float, pleomorphic: float) -> np.ndarray:
    """(n, 2) half axes in um; tumour nuclei share the tile's grade and vary with its pleomorphism."""
    low = np.array([(*KINDS[k].length, *KINDS[k].aspect) for k in kinds]).reshape(-1, 4)
    u = rng.random((len(kinds), 2))
    length = low[:, 0] + u[:, 0] * (low[:, 1] - low[:, 0])
    tumour = np.array([KINDS[k].category == NEOPLASTIC for k in kinds], bool)
    vary = grade * np.exp(pleomorphic * rng.standard_normal(len(kinds)).clip(-2, 2.2))
    length = np.where(tumour, (length * vary).clip(7, 19), length)
    return np.stack([length, length * (low[:, 2] + u[:, 1] * (low[:, 3] - low[:, 2]))], -1) / 2


def _angles(rng: np.random.Generator, scene: Scene, kinds: list[str], centre: np.ndarray) -> np.ndarray:
    """Connective nuclei follow fibres and walls, tumour nuclei at the rim of a nest stand upright on it."""
    any_way = rng.uniform(0, np.pi, len(kinds))
    jitter = rng.standard_normal(len(kinds))
    slope = lambda f: np.arctan2(*(scene.grid.at(g, centre) for g in np.gradient(f)))  # noqa: E731
    near_wall = np.abs(scene.grid.at(scene.matter, centre)) < 5
    fibre = np.where(near_wall, slope(scene.matter), slope(scene.across)) + np.pi / 2 + 0.16 * jitter
    rim = scene.grid.at(scene.nest, centre) < 14
    upright = np.where(rim & (rng.random() < 0.6), slope(scene.nest) + 0.3 * jitter, any_way)
    which = np.array([KINDS[k].category for k in kinds], object)
    return np.where(which == CONNECTIVE, fibre, np.where(which == NEOPLASTIC, upright, any_way))


def _room(centre: np.ndarray, radius: np.ndarray, spacing: float) -> np.ndarray:
    """Indices of the nuclei that stay when each needs `spacing` x the sum of radii to the earlier ones."""
    if len(centre) < 2:
        return np.arange(len(centre))
    pairs = cKDTree(centre).query_pairs(2 * radius.max() * spacing, output_type="ndarray")
    gap = np.hypot(*(centre[pairs[:, 0]] - centre[pairs[:, 1]]).T)
    pairs = pairs[gap < spacing * radius[pairs].sum(1)]
    pairs = pairs[np.argsort(pairs[:, 1], kind="stable")]  # the earlier one stands first in each pair
    stays = np.ones(len(centre), bool)
    for first, second in pairs.tolist():
        stays[second] &= not stays[first]
    return np.flatnonzero(stays)
