"""A block of nuclei, cut: what a section of some thickness shows of them from above. NumPy and SciPy, no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Block:
    """Round nuclei that do not touch in space.

    Attributes:
        centres: (N, 3) depth, row, column, um.
        diameter: um.
        size: (depth, height, width), um.
    """

    centres: np.ndarray
    diameter: float
    size: tuple[float, float, float]


@dataclass(frozen=True)
class Section:
    """What a section shows from above.

    Attributes:
        places: (N, 2) row, column of each profile, um.
        radii: (N,) radius of each profile, um: its widest part inside the section.
        inside: (N,) bool, nuclei whose centre lies in the section.
        overlaps: (N,) bool, profiles that cover a part of another one.
        area_mm2: area looked at.
    """

    places: np.ndarray
    radii: np.ndarray
    inside: np.ndarray
    overlaps: np.ndarray
    area_mm2: float


def block(share: float = 0.12, diameter: float = 8.0, size: tuple[float, float, float] = (40, 250, 250),
          seed: int = 0) -> Block:
    """Throw nuclei into a block of tissue; one that would touch another is thrown again.

    Args:
        share: of the volume that nuclei take, 0..0.25 (more does not fit by throwing).
        diameter: um.
        size: (depth, height, width), um.
        seed: the same seed gives the same block.

    Raises:
        ValueError: a share out of its range.
    """
    if not 0 < share <= 0.25:
        raise ValueError(f"nuclei may take a share of the volume between 0 and 0.25, got {share}")
    rng = np.random.default_rng(seed)
    wanted = round(share * np.prod(size) / (np.pi / 6 * diameter**3))
    centres = np.empty((0, 3))
    while len(centres) < wanted:
        thrown = np.concatenate([centres, rng.uniform(0, size, (wanted - len(centres), 3))])
        pairs = cKDTree(thrown).query_pairs(diameter, output_type="ndarray")
        centres = np.delete(thrown, np.unique(pairs.max(axis=1)), axis=0) if len(pairs) else thrown
    return Block(centres, diameter, size)


def serial(tissue: Block, thickness: float, sections: int = 10) -> list[Section]:
    """Sections of one thickness at even steps through the block; thick ones share tissue with their neighbours.

    Args:
        tissue: the block.
        thickness: um.
        sections: how many.

    Raises:
        ValueError: a thickness that leaves no nucleus' diameter of the block above and below the section.
    """
    last = tissue.size[0] - tissue.diameter - thickness
    if last < tissue.diameter:
        room = tissue.size[0] - 2 * tissue.diameter
        raise ValueError(f"sections all through this block are at most {room:g} um thick, got {thickness}")
    return [cut(tissue, thickness, start) for start in np.linspace(tissue.diameter, last, sections)]


def cut(tissue: Block, thickness: float, start: float | None = None) -> Section:
    """Take a section out of the middle and look at it from above.

    Args:
        tissue: the block.
        thickness: um.
        start: depth at which it begins; None = such that it lies in the middle.

    Raises:
        ValueError: a thickness that the block does not have.
    """
    if not 0 < thickness <= tissue.size[0]:
        raise ValueError(f"a section is thicker than 0 and at most {tissue.size[0]} um thick, got {thickness}")
    top = (tissue.size[0] - thickness) / 2 if start is None else start
    depth, radius = tissue.centres[:, 0], tissue.diameter / 2
    away = np.maximum(np.maximum(top - depth, depth - top - thickness), 0)  # of the centre from the section
    seen = away < radius
    radii = np.sqrt(radius**2 - away[seen] ** 2)
    places = tissue.centres[seen, 1:]
    overlaps = np.zeros(len(places), bool)
    pairs = cKDTree(places).query_pairs(tissue.diameter, output_type="ndarray")
    gap = np.hypot(*(places[pairs[:, 0]] - places[pairs[:, 1]]).T)
    overlaps[pairs[gap < radii[pairs].sum(1)].ravel()] = True
    return Section(places, radii, (away == 0)[seen], overlaps, tissue.size[1] * tissue.size[2] / 1e6)
