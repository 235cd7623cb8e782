"""Smooth random fields: cubic B-splines on a lattice of random values. Cheap at any scale, no full-canvas filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

#: Mean square of the four weights of a cubic B-spline over one lattice cell (151 / 315), the variance it leaves.
_VARIANCE = 151 / 315


def _weights(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First of the four lattice nodes around each position, and the weights (4, n) of a cubic B-spline there."""
    base = np.floor(positions).astype(int)
    t = positions - base
    w = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    return base - 1, w.astype(np.float32)


def spread(lattice: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Cubic B-spline with these control values at `rows` x `columns` (lattice units, 1 <= position < n - 2).

    Returns:
        (len(rows), len(columns)) float32.
    """
    first, w = _weights(columns)
    wide = sum(w[k] * lattice[:, first + k] for k in range(4))
    first, w = _weights(rows)
    out = w[0][:, None] * wide[first]
    for k in range(1, 4):
        out += w[k][:, None] * wide[first + k]
    return out


def smooth(rng: np.random.Generator, size: tuple[int, int], scale: float | tuple[float, float]) -> np.ndarray:
    """Random field of mean 0 and standard deviation 1 whose blobs are about `scale` samples wide.

    Args:
        rng: source of randomness.
        size: (H, W) of the field.
        scale: width of the blobs in samples, one number or (rows, columns); less than 1 counts as 1.

    Returns:
        (H, W) float32.
    """
    scales = np.maximum(np.broadcast_to(scale, 2).astype(float), 1.0)
    where = [np.arange(n) / s + 1 + rng.random() for n, s in zip(size, scales, strict=True)]
    lattice = rng.standard_normal([int(p[-1]) + 4 for p in where], dtype=np.float32)
    return spread(lattice, *where) / np.float32(_VARIANCE)  # one square root for rows, one for columns


def endless(rng: np.random.Generator, n: int, scale: tuple[float, float]) -> np.ndarray:
    """Like `smooth`, (n, n), but the far edges join the near ones without a seam."""
    nodes = [max(round(n / s), 4) for s in scale]
    lattice = np.pad(rng.standard_normal(nodes, dtype=np.float32), 2, mode="wrap")
    return spread(lattice, *(np.arange(n) * k / n + 2 for k in nodes)) / np.float32(_VARIANCE)


def sample(texture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Values of an endless texture (it repeats) at fractional positions, linear between samples."""
    return map_coordinates(texture, [rows, columns], order=1, mode="grid-wrap", output=np.float32)


@dataclass(frozen=True)
class Grid:
    """A coarse canvas under the picture, with a margin so that cells at the rim are cut as in a real field of view.

    Attributes:
        size: (H, W) of the picture in pixels.
        pixel: side of a pixel, um.
        step: side of a coarse cell, um.
        margin: how far the coarse canvas reaches beyond the picture, um.
    """

    size: tuple[int, int]
    pixel: float
    step: float = 2.0
    margin: float = 24.0

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the coarse canvas."""
        h, w = (int(np.ceil((n * self.pixel + 2 * self.margin) / self.step)) + 4 for n in self.size)
        return h, w

    def noise(self, rng: np.random.Generator, scale_um: float) -> np.ndarray:
        """Coarse random field with blobs of `scale_um`."""
        return smooth(rng, self.shape, scale_um / self.step)

    def positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows (h, 1) and columns (1, w) of the coarse samples in um of the picture."""
        y, x = (np.float32((np.arange(n) - 1) * self.step - self.margin) for n in self.shape)
        return y[:, None], x[None, :]

    def fine(self, coarse: np.ndarray) -> np.ndarray:
        """The coarse field at every pixel of the picture, (H, W) float32."""
        at = [((np.arange(n) + 0.5) * self.pixel + self.margin) / self.step + 1 for n in self.size]
        return spread(np.asarray(coarse, np.float32), *at)

    def at(self, coarse: np.ndarray, points: np.ndarray) -> np.ndarray:
        """The coarse field at (n, 2) points in um, nearest sample."""
        i = np.rint((points + self.margin) / self.step + 1).astype(int)
        return coarse[i[:, 0].clip(0, self.shape[0] - 1), i[:, 1].clip(0, self.shape[1] - 1)]
