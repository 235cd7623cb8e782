"""One nucleus at a time, each in its own window: outline, chromatin, nucleoli, and its number in the truth."""

from __future__ import annotations

import math
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
    areas: list[tuple[int, int]] = [(0, 0)]  # as drawn, and as still seen
    for i, kind in enumerate([KINDS[name] for name in cells.kinds]):
        centre, half, angle = cells.centre[i].tolist(), cells.half[i].tolist(), float(cells.angle[i])
        window = _window(on, centre, half, angle)
        if window is None:
            continue
        rho, p, q = _outline(on, window, centre, half, angle, kind, cells.chance[i].tolist())
        inside = rho < 1
        area = int(np.count_nonzero(inside))
        if area * on.pixel**2 < 3 or not _covers(on.ids[window], inside, areas, area, knobs.overlap * 2 / 3):
            continue
        number = len(areas)
        names[number] = kind.category
        areas.append((area, area))
        on.ids[window][inside] = number
        _stain(on, window, rho, p, q, kind, half, cells.chance[i].tolist())
    return names


def _window(on: Canvas, centre: list[float], half: list[float], angle: float) -> tuple[slice, slice] | None:
    """Pixels around a nucleus, None where it lies outside the picture."""
    c, s = math.cos(angle), math.sin(angle)
    reach = math.hypot(half[0] * s, half[1] * c), math.hypot(half[0] * c, half[1] * s)
    spans = []
    for middle, r, n in zip(centre, reach, on.ids.shape, strict=True):
        r = r * 1.4 + 0.1 * half[0] + 1
        spans.append((max(int((middle - r) / on.pixel), 0), min(max(int((middle + r) / on.pixel) + 2, 0), n)))
    if any(low >= high for low, high in spans):
        return None
    return slice(*spans[0]), slice(*spans[1])


def _outline(
    on: Canvas,
    window: tuple[slice, slice],
    centre: list[float],
    half: list[float],
    angle: float,
    kind: Kind,
    u: list[float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rho (1 on the outline, 0 in the middle) and the position along the long and short axis in half axes."""
    (cy, cx), (a, b) = centre, half
    dy = (np.arange(window[0].start, window[0].stop, dtype=np.float32) + 0.5)[:, None] * on.pixel - cy
    dx = (np.arange(window[1].start, window[1].stop, dtype=np.float32) + 0.5)[None, :] * on.pixel - cx
    c, s = math.cos(angle), math.sin(angle)
    p = (c / a) * dx + (s / a) * dy
    q = (c / b) * dy - (s / b) * dx
    if kind.bend:
        q += (kind.bend * (2 * u[0] - 1) * a / b) * (p * p - 0.4)
    round_ = np.sqrt(p * p + q * q) + 1e-6
    c1, s1 = p / round_, q / round_
    c2, s2 = 2 * c1 * c1 - 1, 2 * s1 * c1  # cosine and sine of twice, thrice, five times the direction
    c3, s3 = c2 * c1 - s2 * s1, s2 * c1 + c2 * s1
    k = kind.wobble * (0.5 + u[1])
    radius = 1 + _wave(k, u[2], c2, s2) + _wave(0.8 * k, u[3], c3, s3)
    radius += _wave(0.4 * k, u[4], c2 * c3 - s2 * s3, s2 * c3 + c2 * s3)
    if kind.ragged:
        radius -= kind.ragged * 0.5 * on.chromatin[window]
    power = kind.power
    rho = round_ if power == 2 else (np.abs(p) ** power + np.abs(q) ** power) ** (1 / power)
    return rho / np.maximum(radius, 0.2), p, q


def _wave(height: float, phase: float, cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """A wave along the outline, from the cosine and sine of a multiple of the direction."""
    return (height * math.cos(math.tau * phase)) * cosine - (height * math.sin(math.tau * phase)) * sine


def _covers(ids: np.ndarray, inside: np.ndarray, areas: list[tuple[int, int]], area: int, limit: float) -> bool:
    """Take what the new nucleus hides off the areas still seen; False, and nothing done, above `limit` of either."""
    below = np.bincount(ids[inside])
    hidden = [(n, int(below[n])) for n in np.flatnonzero(below).tolist() if n]
    if sum(h for _, h in hidden) > limit * area or any(areas[n][1] - h < (1 - limit) * areas[n][0] for n, h in hidden):
        return False
    for n, h in hidden:
        areas[n] = areas[n][0], areas[n][1] - h
    return True


def _stain(
    on: Canvas,
    window: tuple[slice, slice],
    rho: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
    kind: Kind,
    half: list[float],
    u: list[float],
) -> None:
    """Add the nucleus to both dyes."""
    b = half[1]
    depth = (1 - rho) * b
    soft = 0.45 + 0.5 * u[5] + 8 * max(u[5] - 0.75, 0) ** 1.5  # um; a quarter lie a little out of the focal plane
    alpha = np.clip(depth / soft + 0.5, 0, 1)
    body = kind.body[0] + u[6] * (kind.body[1] - kind.body[0])
    rim = kind.rim[0] + u[7] * (kind.rim[1] - kind.rim[0])
    texture = kind.clump * (0.7 * on.chromatin[window] + 0.6 * on.grain[window])
    density = body * (1.12 - 0.3 * rho * rho + texture)  # thick in the middle, like a lens
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
        at = [0.55 * (2 * v - 1) for v in u[10 + 2 * k : 12 + 2 * k]]
        size = (0.55 + 0.75 * u[(11 + k) % 16]) * (1.25 if k == 0 else 0.8)
        spot = np.exp(-(((((p - at[0]) * half[0]) ** 2 + ((q - at[1]) * b) ** 2) / size**2) ** 2))
        density = density + (0.7 + 0.6 * u[15]) * spot
        e += 0.35 * spot * alpha
    h += alpha * (np.maximum(density, 0.1) - 0.72 * h)
    e *= 1 - 0.5 * alpha
