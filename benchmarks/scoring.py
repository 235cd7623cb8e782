"""Nuclei PQ of weights and of the classical watershed on the validation part, with paired intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage
from skimage import color, feature, filters, measure, morphology, segmentation

from pano_med.data import load, split
from pano_med.metrics import PQCounts, bootstrap, paired_bootstrap, things_quality, total
from pano_med.predict import Segmenter
from pano_med.types import HE_CORE, Panoptic, Sample
from pano_med.weights import LoadedWeights

#: Sets whose validation part holds nuclei; the first two are other patients, the last is "same slide, unseen rows".
NUCLEI = ("tnbc_breast_nuclei", "dsb2018_tissue", "histolytics_hgsc")
UNSEEN = NUCLEI[:2]


def validation(root: str) -> list[Sample]:
    """The nuclei samples of the written validation part."""
    return split([s for name in NUCLEI for s in load(name, root, glass=True)]).validation


def watershed(image: np.ndarray, pixel_size_um: float) -> Panoptic:
    """The textbook method: haematoxylin by Ruifrok's deconvolution, Otsu, distance transform, watershed."""
    stain = filters.gaussian(color.rgb2hed(image)[..., 0], 0.5 / pixel_size_um)
    cut = filters.threshold_otsu(stain) if np.ptp(stain) > 0 else np.inf
    mask = morphology.remove_small_objects(stain > cut, max_size=int(10 / pixel_size_um**2))
    mask = ndimage.binary_fill_holes(mask)
    distance = filters.gaussian(ndimage.distance_transform_edt(mask), 0.5 / pixel_size_um)
    peaks = feature.peak_local_max(distance, min_distance=max(1, round(2 / pixel_size_um)), labels=measure.label(mask))
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    ids = segmentation.watershed(-distance, seeds, mask=mask).astype(np.int32)
    return Panoptic.from_ids(ids, dict.fromkeys(range(1, len(peaks) + 1), HE_CORE.unclassed.id), HE_CORE, pixel_size_um)


def counts(samples: Sequence[Sample], method: Callable[[np.ndarray, float], Panoptic]) -> list[PQCounts]:
    """One sum of matches per sample."""
    out = []
    for sample in samples:
        ignore = None if sample.ignore is None else sample.ignore.numpy()
        found = method(sample.image.permute(1, 2, 0).numpy(), sample.pixel_size_um)
        out.append(things_quality(sample.truth, found, ignore))
    return out


def pq(items: Sequence[PQCounts]) -> float:
    """PQ of nuclei regardless of type, over all images together."""
    return total(items).mean("things")[0]


def compare(loaded: LoadedWeights, root: str, score: float | None = None) -> dict[str, dict[str, float | list[float]]]:
    """PQ, SQ, RQ with intervals by set and over the unseen patients, beside watershed and the paired difference."""
    samples, segmenter = validation(root), Segmenter(loaded, score=score)
    ours = counts(samples, lambda image, mpp: segmenter(image, mpp).panoptic)
    theirs = counts(samples, watershed)
    rows = {}
    for name, sources in (("unseen patients", UNSEEN), *((n, (n,)) for n in NUCLEI)):
        chosen = [i for i, s in enumerate(samples) if s.source in sources]
        a, b = [ours[i] for i in chosen], [theirs[i] for i in chosen]
        interval, rival, gain = bootstrap(a, pq), bootstrap(b, pq), paired_bootstrap(a, b, pq)
        _, sq, rq = total(a).mean("things")
        rows[name] = {
            "images": len(chosen), "pq": interval.value, "pq_95": [interval.low, interval.high], "sq": sq, "rq": rq,
            "watershed_pq": rival.value, "watershed_pq_95": [rival.low, rival.high],
            "gain_95": [gain.low, gain.high],
        }  # fmt: skip
    return rows
