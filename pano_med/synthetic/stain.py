"""Looks: the colour of glass, haematoxylin, eosin and blood in different laboratories (Beer-Lambert)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Look:
    """Colours of one tile; triples are R, G, B.

    Attributes:
        glass: light through bare glass, 0..255.
        haematoxylin: optical density of a typical nucleus.
        eosin: optical density of typical cytoplasm.
        blood: optical density of a red cell.
    """

    glass: np.ndarray
    haematoxylin: np.ndarray
    eosin: np.ndarray
    blood: np.ndarray


#: Looks seen in real sets: glass, haematoxylin, eosin, blood, and how often we draw them.
LOOKS: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...], float]] = {
    "classic": ((243, 242, 244), (0.75, 0.78, 0.34), (0.10, 0.45, 0.22), (0.15, 1.0, 0.7), 2),
    "crisp purple": ((254, 249, 247), (0.95, 1.55, 0.42), (0.30, 0.74, 0.28), (0.25, 2.2, 1.2), 3),
    "pale pink": ((238, 231, 240), (0.38, 0.46, 0.29), (0.10, 0.21, 0.13), (0.08, 0.7, 0.5), 2),
    "pale grey-blue": ((240, 236, 241), (0.46, 0.45, 0.28), (0.07, 0.14, 0.10), (0.08, 0.6, 0.45), 1.5),
    "saffron": ((236, 229, 233), (0.42, 0.45, 0.24), (0.03, 0.17, 0.24), (0.06, 0.6, 0.6), 1),
    "lavender": ((188, 171, 208), (0.44, 0.95, 0.09), (0.05, 0.08, 0.04), (0.1, 0.2, 0.1), 2),
    "magenta on grey": ((214, 213, 220), (0.45, 1.0, 0.26), (0.07, 0.09, 0.06), (0.1, 0.3, 0.15), 1),
    "hot pink": ((220, 186, 213), (0.36, 1.0, 0.25), (0.11, 0.42, 0.14), (0.1, 1.8, 0.8), 1),
}


def choose(rng: np.random.Generator, stain: float, variation: float) -> Look:
    """The look of one tile: one of `LOOKS`, mixed with a second, each dye with its own strength and hue.

    Args:
        rng: source of randomness.
        stain: factor on both dyes.
        variation: 0 gives the first look unchanged, 1 the full spread.
    """
    table = [np.array(row[:4]) for row in LOOKS.values()]
    odds = np.array([row[4] for row in LOOKS.values()])
    first, second = rng.choice(len(table), 2, p=odds / odds.sum())
    share = 0.3 * rng.random()
    drawn = table[first] * (1 - share) + table[second] * share
    glass, *dyes = table[0] * (1 - variation) + drawn * variation
    strength = np.exp(variation * rng.normal(0, 0.2, 3))[:, None]
    hue = np.exp(variation * rng.normal(0, 0.08, (3, 3)))
    dyes = np.stack(dyes) * strength * hue * stain
    glass = np.minimum(glass * np.exp(variation * rng.normal(0, 0.015, 3)), 255)
    return Look(glass, *dyes)


def light(look: Look, haematoxylin: np.ndarray, eosin: np.ndarray, blood: np.ndarray) -> np.ndarray:
    """Light that comes through, (3, H, W) float32, 0..255 (Beer-Lambert: intensity falls as exp(-density))."""
    out = np.empty((3, *haematoxylin.shape), np.float32)
    for c in range(3):
        density = np.float32(look.haematoxylin[c]) * haematoxylin
        density += np.float32(look.eosin[c]) * eosin
        density += np.float32(look.blood[c]) * blood
        np.exp(-density, out=density)
        np.multiply(density, np.float32(look.glass[c]), out=out[c])
    return out
