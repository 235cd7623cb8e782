"""The scanner: optical blur, focus that drifts, colour fringes, sharpening, gamma, noise and JPEG blocks."""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn, idctn
from scipy.ndimage import gaussian_filter

from pano_med.synthetic.noise import smooth

#: Quantisation of luminance at quality 50 grows about like this with the frequency of a block (a plain ramp).
_STEPS = (10 + 6 * np.add.outer(np.arange(8), np.arange(8))).astype(np.float32)
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32)


def scan(rng: np.random.Generator, light: np.ndarray, pixel: float, blur: float, variation: float) -> np.ndarray:
    """Turn light into a picture.

    Args:
        rng: source of randomness.
        light: (3, H, W) float32, 0..255.
        pixel: side of a pixel, um.
        blur: standard deviation of the optics, um.
        variation: 0..1, how far the scanner differs from a plain one.

    Returns:
        (H, W, 3) uint8.
    """
    size = light.shape[1:]
    fringe = rng.normal(0, 0.25 * variation, (3, 2))
    width = blur / pixel * np.exp(variation * rng.normal(0, 0.35)) * (1 + 0.15 * variation * rng.random(3))
    sharpen, drift = variation * rng.uniform(0, 0.9) * (rng.random() < 0.6), variation * (rng.random() < 0.3)
    out = np.stack([gaussian_filter(c, w) if w > 0.05 else c for c, w in zip(light, width, strict=True)])
    if drift:
        out = _drift(rng, out, 1.0 / pixel)
    if variation:
        out = np.stack([_nudge(c, f) for c, f in zip(out, fringe, strict=True)])
    if sharpen > 0.1:
        out += np.float32(sharpen) * (out - np.stack([gaussian_filter(c, 1.2) for c in out]))
    out = 255 * (out.clip(0, 255) / 255) ** np.float32(np.exp(variation * rng.normal(0, 0.12)))
    out += rng.uniform(0.4, 0.4 + 3 * variation) * smooth(rng, size, 1.0)
    out += rng.standard_normal(out.shape, dtype=np.float32) * np.float32(rng.uniform(0.3, 0.3 + 2.2 * variation))
    if rng.random() < 0.7:
        out = _blocks(out, rng.uniform(0.15, 0.15 + 0.6 * variation))
    return np.rint(out).clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy()


def _drift(rng: np.random.Generator, picture: np.ndarray, width: float) -> np.ndarray:
    """Blend with a blurred copy where the focal plane leaves the section."""
    lost = (0.5 + 0.7 * smooth(rng, picture.shape[1:], max(picture.shape[1:]) / 3)).clip(0, 1)
    return picture + lost * (np.stack([gaussian_filter(c, width) for c in picture]) - picture)


def _nudge(channel: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Shift by a fraction of a pixel down and right (or up and left), linear; the rim repeats."""
    for axis, step in enumerate(by.clip(-0.7, 0.7).tolist()):
        beside = np.roll(channel, 1 if step > 0 else -1, axis)
        rim = (slice(None),) * axis + (0 if step > 0 else -1,)
        beside[rim] = channel[rim]
        channel = channel + abs(step) * (beside - channel)
    return channel


def _blocks(picture: np.ndarray, strength: float) -> np.ndarray:
    """Quantise 8 x 8 cosine blocks as JPEG does; colour more coarsely than brightness."""
    h, w = picture.shape[1:]
    full = np.pad(picture, ((0, 0), (0, -h % 8), (0, -w % 8)), mode="edge")
    ycc = np.tensordot(_TO_YCC, full, 1)
    blocks = ycc.reshape(3, full.shape[1] // 8, 8, -1, 8).transpose(0, 1, 3, 2, 4)
    steps = _STEPS * np.float32(strength) * np.array([1, 2, 2], np.float32)[:, None, None, None, None]
    coded = np.rint(dctn(blocks, axes=(-2, -1), norm="ortho") / steps) * steps
    ycc = idctn(coded, axes=(-2, -1), norm="ortho").transpose(0, 1, 3, 2, 4).reshape(full.shape)
    return np.tensordot(np.linalg.inv(_TO_YCC).astype(np.float32), ycc, 1)[:, :h, :w]
