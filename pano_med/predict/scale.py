"""Between the pixels of an image and the pixels of a model: resizing, and guessing the pixel size from nuclei."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pano_med.types import Instances, Panoptic, Prediction

#: Guesses are kept inside what microscopes give, in micrometres per pixel (80x .. 5x).
MPP_RANGE = (0.1, 2.0)
#: Side of the probe windows in pixels of the image, and how many are looked at.
PROBE, PROBES = 512, 3
#: Fewer nuclei than this say nothing about the scale.
MIN_NUCLEI = 20


def to_tensor(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """(H, W, 3) uint8 -> (3, *size) float 0..1, area-averaged when it shrinks."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
    if tuple(pixels.shape[1:]) == size:
        return pixels
    return F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def rescaled(prediction: Prediction, size: tuple[int, int], pixel_size_um: float | None) -> Prediction:
    """The same prediction on a grid of another size; mask logits live in their boxes and need no change."""
    (h, w), i = prediction.size, prediction.instances
    logits = prediction.semantic_logits
    if size != (h, w):
        logits = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    factor = i.boxes.new_tensor([size[1] / w, size[0] / h] * 2)
    boxes = Instances(i.boxes * factor, i.category_ids, i.scores, i.mask_logits)
    return replace(prediction, semantic_logits=logits, instances=boxes, pixel_size_um=pixel_size_um)


def estimate_mpp(image: np.ndarray, segment: Callable[[np.ndarray, float], Panoptic], nucleus_um: float,
                 start: float) -> tuple[float, int]:
    """Guess the pixel size from the median size of nuclei.

    The network is asked at one scale, its nuclei are measured, the scale is corrected so that their median diameter
    becomes `nucleus_um`, and again until that changes little. Nuclei differ by tissue and species, so the guess may be
    wrong by a third; it puts nuclei at the size the network knows, which is what the result depends on.

    Args:
        image: (H, W, 3) uint8.
        segment: image and assumed micrometres per pixel -> map of the same size.
        nucleus_um: median diameter of the nuclei that the weights were trained on.
        start: first assumption.

    Returns:
        The guess and the number of nuclei it rests on; (start, 0) where too few are found.
    """
    windows = probe_windows(image)
    best = (start, 0)
    for first in (start, 2 * start, start / 2):
        mpp = first
        for _ in range(3):
            diameters = np.concatenate([_diameters(segment(w, mpp)) for w in windows])
            if len(diameters) < MIN_NUCLEI:
                break
            previous, mpp = mpp, float(np.clip(nucleus_um / np.median(diameters), *MPP_RANGE))
            best = (mpp, len(diameters))
            if abs(np.log(mpp / previous)) < 0.1:
                return best
        if best[1]:
            return best
    return best


def probe_windows(image: np.ndarray) -> list[np.ndarray]:
    """The windows of an image with most dark blue detail: there the nuclei are."""
    h, w = image.shape[:2]
    corners = [(r, c) for r in range(0, max(1, h - PROBE // 2), PROBE) for c in range(0, max(1, w - PROBE // 2), PROBE)]
    windows = [image[r : r + PROBE, c : c + PROBE] for r, c in corners]
    # red absorbs haematoxylin, hardly eosin
    windows.sort(key=lambda x: -float((x[::4, ::4, 0] < 150).mean()))
    return windows[:PROBES]


def _diameters(panoptic: Panoptic) -> np.ndarray:
    return np.array([2 * np.sqrt(s.area / np.pi) for s in panoptic.things])
