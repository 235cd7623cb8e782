"""One nucleus at a time, each in its own window: outline, chromatin, nucleoli, and its number in the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pano_med.synthetic.cells import KINDS, Cells, Kind
from pano_med.synthetic.knobs import Knobs
from pano_med.synthetic.noise import smooth


@dataclass
class Canvas:
    """What the painter works on; arrays are (H, W).

    Attributes:
        pixel: side of a pixel, um.
        haematoxylin: optical density of the blue dye, 1 = a typical nucleus.
        eosin: optical density of the pink dye, 1 = typical cytoplasm.
        ids: nucleus of each pixel, 0 = none.
        chromatin: fine noise, 0 on average.
        grain: coarser noise, 0 on average.
    """

    pixel: float
    haematoxylin: np.ndarray
    eosin: np.ndarray
    ids: np.ndarray
    chromatin: np.ndarray
    grain: np.ndarray


def canvas(rng: np.random.Generator, haematoxylin: np.ndarray, eosin: np.ndarray, pixel: float) -> Canvas:
    """A canvas over painted tissue, with its noises and without nuclei."""
    size = haematoxylin.shape
    chromatin = smooth(rng, size, 0.75 / pixel)
    grain = smooth(rng, size, 1.9 / pixel)
    return Canvas(pixel, haematoxylin, eosin, np.zeros(size, np.int32), chromatin, grain)


def paint(on: Canvas, cells: Cells, knobs: Knobs) -> dict[int, str]:
    """Paint the nuclei from bottom to top into `on`.

    A nucleus that would hide more of another (or be too small a sliver at the rim) than the knobs allow is left out.

    Returns:
        Thing class of each id in `on.ids`.
    """
    names: dict[int, str] = {}
    areas: dict[int, int] = {}
    for i, kind in enumerate(cells.kinds):
        window = _window(on, cells.centre[i], cells.half[i, 0])
        if window is None:
            continue
        rho, p, q = _outline(on, window, cells, i, KINDS[kind])
        inside = rho < 1
        area = int(inside.sum())
        number = len(names) + 1
        if area * on.pixel**2 < 3 or not _fits(on.ids[window], inside, areas, knobs.overlap):
            continue
        names[number], areas[number] = KINDS[kind].category, area
        on.ids[window][inside] = number
        _stain(on, window, rho, p, q, KINDS[kind], cells.half[i], cells.chance[i])
    return names


def _window(on: Canvas, centre: np.ndarray, reach: float) -> tuple[slice, slice] | None:
    """Pixels around a nucleus, None where it lies outside the picture."""
    r = (reach * 1.45 + 1.5) / on.pixel
    spans = [(max(int(c / on.pixel - r), 0), min(int(c / on.pixel + r) + 2, n))
             for c, n in zip(centre.tolist(), on.ids.shape, strict=True)]
    if any(low >= high for low, high in spans):
        return None
    return slice(*spans[0]), slice(*spans[1])


def _outline(on: Canvas, window: tuple[slice, slice], cells: Cells, i: int, kind: Kind) -> tuple[np.ndarray, ...]:
    """rho (1 on the outline, 0 in the middle) and the position along the long and short axis in half axes."""
    (cy, cx), (a, b), u = cells.centre[i], cells.half[i], cells.chance[i]
    dy = (np.arange(window[0].start, window[0].stop, dtype=np.float32) + 0.5)[:, None] * on.pixel - cy
    dx = (np.arange(window[1].start, window[1].stop, dtype=np.float32) + 0.5)[None, :] * on.pixel - cx
    c, s = np.cos(cells.angle[i]), np.sin(cells.angle[i])
    p = (c / a) * dx + (s / a) * dy
    q = (c / b) * dy - (s / b) * dx
    if kind.bend:
        q = q + (kind.bend * (2 * u[0] - 1) * a / b) * (p * p - 0.4)
    turn = np.arctan2(q, p)
    k = kind.wobble * (0.5 + u[1])
    radius = 1 + k * (np.cos(2 * turn + 6.3 * u[2]) + 0.8 * np.cos(3 * turn + 6.3 * u[3]) + 0.4 * np.cos(5 * turn + 6.3 * u[4]))
    if kind.ragged:
        radius = radius - kind.ragged * 0.5 * on.chromatin[window]
    power = kind.power
    rho = np.hypot(p, q) if power == 2 else (np.abs(p) ** power + np.abs(q) ** power) ** (1 / power)
    return rho / np.maximum(radius, 0.2), p, q


def _fits(ids: np.ndarray, inside: np.ndarray, areas: dict[int, int], overlap: float) -> bool:
    """True unless the new nucleus lies on another too far: at overlap 0 not at all, at 1 up to two thirds of either."""
    below = ids[inside]
    below = below[below > 0]
    if not len(below):
        return True
    limit = overlap * 2 / 3
    if len(below) > limit * inside.sum():
        return False
    for number in set(below.tolist()):
        left = int((ids == number).sum()) - int((below == number).sum())
        if left < (1 - limit) * areas[number]:
            return False
    return True


def _stain(on: Canvas, window: tuple[slice, slice], rho: np.ndarray, p: np.ndarray, q: np.ndarray, kind: Kind,
           half: np.ndarray, u: np.ndarray) -> None:
    """Add the nucleus to both dyes."""
    b = half[1]
    depth = (1 - rho) * np.float32(b)
    soft = 0.35 + 8 * max(u[5] - 0.75, 0) ** 1.5  # um; a quarter of the nuclei lie a little out of the focal plane
    alpha = np.clip(depth / soft + 0.5, 0, 1)
    body = kind.body[0] + u[6] * (kind.body[1] - kind.body[0])
    rim = kind.rim[0] + u[7] * (kind.rim[1] - kind.rim[0])
    texture = kind.clump * (0.7 * on.chromatin[window] + 0.6 * on.grain[window])
    density = body * (1 + texture)
    if rim:
        density = density + rim * (1 + 0.5 * on.grain[window]) * np.exp(-((depth / 0.75) ** 2))
    h, e = on.haematoxylin[window], on.eosin[window]
    if kind.halo:
        clear = kind.halo * u[8] * np.exp(-(((rho - 1.2) / 0.25) ** 2))
        e *= 1 - clear
        h *= 1 - (rho > 1) * clear
    if kind.coat:
        ring = kind.coat * np.exp(-(((np.hypot(p - 0.4, q) - 1) / 0.5) ** 2))
        h += ring
        e += ring
    for k in range(round(kind.nucleoli[0] + u[9] * (kind.nucleoli[1] - kind.nucleoli[0]))):
        at = 0.55 * (2 * u[10 + 2 * k : 12 + 2 * k] - 1)
        size = (0.55 + 0.75 * u[(11 + k) % 16]) * (1.25 if k == 0 else 0.8)
        spot = np.exp(-(((((p - at[0]) * half[0]) ** 2 + ((q - at[1]) * b) ** 2) / size**2) ** 2))
        density = density + (0.7 + 0.6 * u[15]) * spot
        e += 0.35 * spot * alpha
    h += alpha * (np.maximum(density, 0.1) - 0.72 * h)
    e *= 1 - 0.5 * alpha
