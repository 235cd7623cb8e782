"""Nuclei PQ of weights and of the classical watershed on the validation part, with paired intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pano_med import models, weights
from pano_med.data import load, split
from pano_med.lessons.classical import watershed
from pano_med.metrics import Contradictions, PQCounts, bootstrap, paired_bootstrap, things_quality, total
from pano_med.predict import Segmenter, between_heads
from pano_med.training import checkpoint
from pano_med.types import Panoptic, Sample
from pano_med.weights import LoadedWeights

#: Sets whose validation part holds nuclei; the first two are other patients, the last is "same slide, unseen rows".
NUCLEI = ("tnbc_breast_nuclei", "dsb2018_tissue", "histolytics_hgsc")
UNSEEN = NUCLEI[:2]


def load_network(place: str | Path) -> LoadedWeights:
    """Weights by name or file, or the best averaged weights of a run's folder."""
    if not Path(place).is_dir():
        return weights.load(place)
    _, facts = checkpoint.read(Path(place), "best")
    model = models.build(facts["model"])
    checkpoint.load_weights(model, Path(place), "best")
    return LoadedWeights(model.eval(), {"model_mpp": facts["config"]["model_mpp"], "config": facts["model"]})


def validation(root: str) -> list[Sample]:
    """The nuclei samples of the written validation part."""
    return split([s for name in NUCLEI for s in load(name, root, glass=True)]).validation


def counts(samples: Sequence[Sample], method: Callable[[np.ndarray, float], Panoptic]) -> list[PQCounts]:
    """One sum of matches per sample."""
    out = []
    for sample in samples:
        ignore = None if sample.ignore is None else sample.ignore.numpy()
        found = method(sample.image.permute(1, 2, 0).numpy(), sample.pixel_size_um)
        out.append(things_quality(sample.truth, found, ignore))
    return out


def contradictions(samples: Sequence[Sample], segmenter: Segmenter) -> list[Contradictions]:
    """Contradictions between the two heads, counted per sample, at the segmenter's score cut and before any merge."""
    said = (segmenter.predict(s.image.permute(1, 2, 0).numpy(), s.pixel_size_um) for s in samples)
    return [Contradictions.of(between_heads(prediction, segmenter.rules.score)) for prediction in said]


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
