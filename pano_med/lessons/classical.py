"""The textbook way to separate nuclei: stain, threshold, distance transform, watershed. scikit-image, no torch.

Each step is a function of its own, so that a slider repeats only the steps behind it:

    density = haematoxylin(image)                      # the dye, as optical density
    mask = nuclear_mask(density, Rules(), 0.5)         # threshold, small things out, holes filled
    pieces = split_touching(mask, Rules(), 0.5)        # one number for each nucleus
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy import ndimage
from skimage import color, feature, filters, measure, morphology, segmentation

from pano_med.types import HE_CORE, Panoptic, check_pixel_size


@dataclass(frozen=True)
class Rules:
    """The numbers that a person has to choose.

    Attributes:
        stain: haematoxylin above which a pixel is nucleus; None = Otsu's cut, the one that parts the histogram best.
        smooth_um: standard deviation of the Gaussian that calms the stain and the distances, um, at least 0.
        seed_um: seeds closer to each other than this become one, um, above 0.
        min_um2: smaller areas are no nuclei, um2, at least 0.

    Raises:
        ValueError: a number that is not finite or out of its range.
    """

    stain: float | None = None
    smooth_um: float = 0.5
    seed_um: float = 2.0
    min_um2: float = 10.0

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None and not np.isfinite(value):
                raise ValueError(f"`{f.name}` must be a finite number, got {value}")
        if self.smooth_um < 0 or self.min_um2 < 0 or self.seed_um <= 0:
            raise ValueError(
                "`smooth_um` and `min_um2` must be 0 or more and `seed_um` above 0, "
                f"got {self.smooth_um}, {self.min_um2} and {self.seed_um}"
            )


def haematoxylin(image: np.ndarray) -> np.ndarray:
    """(H, W) float64: the blue dye in each pixel, by Ruifrok and Johnston's deconvolution (skimage's `rgb2hed`).

    Args:
        image: (H, W, 3) uint8 RGB.

    Raises:
        TypeError: not such an image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise TypeError(f"haematoxylin needs an (H, W, 3) uint8 RGB image, got {image.shape} of {image.dtype}")
    return color.rgb2hed(image)[..., 0]


def smoothed(density: np.ndarray, rules: Rules, pixel_size_um: float) -> np.ndarray:
    """(H, W) float64: the stain that the threshold sees."""
    check_pixel_size(pixel_size_um)
    return filters.gaussian(density, rules.smooth_um / pixel_size_um)


def otsu(stain: np.ndarray) -> float:
    """Otsu's cut of a stain image; infinite where the image is of one value, so that nothing is a nucleus."""
    return float(filters.threshold_otsu(stain)) if np.ptp(stain) > 0 else np.inf


def nuclear_mask(density: np.ndarray, rules: Rules, pixel_size_um: float) -> np.ndarray:
    """(H, W) bool: stain above the cut, small areas taken out, holes filled.

    Args:
        density: (H, W) haematoxylin.
        rules: the numbers.
        pixel_size_um: side of a pixel.
    """
    stain = smoothed(density, rules, pixel_size_um)
    cut = otsu(stain) if rules.stain is None else rules.stain
    mask = morphology.remove_small_objects(stain > cut, max_size=int(rules.min_um2 / pixel_size_um**2))
    return ndimage.binary_fill_holes(mask)


def seeds(mask: np.ndarray, rules: Rules, pixel_size_um: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the mask is thickest: (N, 2) rows and columns, and the smoothed distance to its rim, (H, W)."""
    distance = filters.gaussian(ndimage.distance_transform_edt(mask), rules.smooth_um / pixel_size_um)
    apart = max(1, round(rules.seed_um / pixel_size_um))
    return feature.peak_local_max(distance, min_distance=apart, labels=measure.label(mask)), distance


def split_touching(mask: np.ndarray, rules: Rules, pixel_size_um: float) -> np.ndarray:
    """(H, W) int32: a number for each nucleus, by flooding the distance map from its peaks; 0 outside the mask.

    The line between two nuclei follows the narrowest place between them. That is all it knows: two nuclei that
    overlap without a waist stay one, and a bean-shaped nucleus with a waist becomes two.
    """
    peaks, distance = seeds(mask, rules, pixel_size_um)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return segmentation.watershed(-distance, markers, mask=mask).astype(np.int32)


def connected(mask: np.ndarray) -> np.ndarray:
    """(H, W) int32: a number for each connected piece of a mask (pixels that share a side or a corner)."""
    return measure.label(mask).astype(np.int32)


def as_panoptic(ids: np.ndarray, pixel_size_um: float | None = None) -> Panoptic:
    """A map of nuclei of unknown type from their numbers; 0 is void."""
    kind = dict.fromkeys(range(1, int(ids.max(initial=0)) + 1), HE_CORE.unclassed.id)
    return Panoptic.from_ids(ids, kind, HE_CORE, pixel_size_um)


def threshold(image: np.ndarray, pixel_size_um: float, rules: Rules | None = None) -> Panoptic:
    """Nuclei as connected pieces of the stained mask: touching ones are one piece."""
    mask = nuclear_mask(haematoxylin(image), rules or Rules(), pixel_size_um)
    return as_panoptic(connected(mask), pixel_size_um)


def watershed(image: np.ndarray, pixel_size_um: float, rules: Rules | None = None) -> Panoptic:
    """The textbook method: haematoxylin by Ruifrok's deconvolution, Otsu, distance transform, watershed."""
    rules = rules or Rules()
    mask = nuclear_mask(haematoxylin(image), rules, pixel_size_um)
    return as_panoptic(split_touching(mask, rules, pixel_size_um), pixel_size_um)


def nuclei_table(ids: np.ndarray, density: np.ndarray) -> dict[str, np.ndarray]:
    """Size, shape and stain of each nucleus, in the order of ids.

    Sums over pixels instead of one object at a time, so that a slider can ask for it. The eccentricity is skimage's:
    that of the ellipse with the same second moments, 0 = circle, near 1 = line.

    Args:
        ids: (H, W) integers, 0 = none.
        density: (H, W) haematoxylin.

    Returns:
        "id", "area_px", "row", "column", "eccentricity", "haematoxylin" (mean), each (N,).
    """
    rows, columns = np.nonzero(ids)
    names, where = np.unique(ids[rows, columns], return_inverse=True)
    n = np.bincount(where, minlength=len(names)).astype(float)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(where, values, len(names)) / n

    row, column = mean(rows), mean(columns)
    dr, dc = rows - row[where], columns - column[where]
    rr, cc, rc = mean(dr * dr), mean(dc * dc), mean(dr * dc)
    half, root = (rr + cc) / 2, np.sqrt(((rr - cc) / 2) ** 2 + rc**2)
    long = np.where(half + root > 0, half + root, 1)  # one pixel alone is a circle
    eccentricity = np.sqrt(np.where(half + root > 0, 1 - np.maximum(half - root, 0) / long, 0))
    dye = mean(density[rows, columns])
    return {
        **{"id": names, "area_px": n.astype(np.int64), "row": row, "column": column},
        **{"eccentricity": eccentricity, "haematoxylin": dye},
    }
