"""The halves of the conventions: what is kept of one image, and how the images become one number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pano_med.metrics.nuclei import Detection
from pano_med.metrics.quality import Kind, PQCounts, total
from pano_med.metrics.record import Record

NAN = math.nan


def mean(values: Sequence[float]) -> float:
    """Mean of the values that are not nan; nan if there are none."""
    found = [v for v in values if not math.isnan(v)]
    return float(np.mean(found)) if found else NAN


def pooled(kind: Kind = "all", score: int = 0) -> Callable[[Sequence[PQCounts]], float]:
    """Sum the counts of all images, then average PQ (`score` 0), SQ (1) or RQ (2) over the classes of a kind."""
    return lambda counts: total(counts).mean(kind)[score] if counts else NAN


def by_tissue(values: Sequence[tuple[str, float]]) -> float:
    """Mean over the images of each tissue, then over tissues; nan is left out at both steps."""
    tissues: dict[str, list[float]] = {}
    for tissue, value in values:
        tissues.setdefault(tissue, []).append(value)
    return mean([mean(v) for v in tissues.values()])


def untyped_of_drawn(record: Record) -> tuple[str, float]:
    """PanNuke's binary PQ of one image and its tissue; nan where the truth has no thing."""
    counts = record.untyped
    return record.tissue, counts.mean()[0] if (counts.tp + counts.fn).any() else NAN


def typed_of_drawn(record: Record) -> tuple[str, float]:
    """PanNuke's mean PQ over the classes that the truth of one image has, and its tissue."""
    counts = record.typed
    drawn = counts.tp + counts.fn > 0
    return record.tissue, float(counts.scores()[0, drawn].mean()) if drawn.any() else NAN


def untyped_or_zero(record: Record) -> float:
    """CoNIC's PQ of one image; nothing against nothing is 0."""
    value = record.untyped.mean()[0]
    return 0.0 if math.isnan(value) else value


def detection_f1(values: Sequence[Detection]) -> float:
    """2 TP / (2 TP + FP + FN), counts summed over the images."""
    pairs = sum(d.pairs for d in values)
    alone = sum(int(d.extra.sum() + d.missed.sum()) for d in values)
    return 2 * pairs / (2 * pairs + alone) if pairs + alone else NAN


def typed_f1(values: Sequence[Detection]) -> float:
    """Mean over the classes that the truth has of HoVer-Net's typed F1, counts summed over the images."""
    if not values:
        return NAN
    both, only_p, only_t, extra, missed = np.sum([d[:5] for d in values], axis=0)
    whole = 2 * both + 2 * only_p + 2 * only_t + extra + missed
    drawn = both + only_t + missed > 0
    return float((2 * both[drawn] / whole[drawn]).mean()) if drawn.any() else NAN


def r2_of_counts(values: Sequence[npt.NDArray[np.int64]]) -> float:
    """Coefficient of determination of counts per image, mean over the classes that occur."""
    if len(values) < 2:
        return NAN
    truth, prediction = np.stack(values, axis=1)  # each (images, classes)
    occurs = (truth + prediction).any(axis=0)
    truth, prediction = truth[:, occurs], prediction[:, occurs]
    rest = ((truth - prediction) ** 2).sum(axis=0)
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    r2 = np.where(spread > 0, 1 - rest / np.where(spread > 0, spread, 1), np.where(rest == 0, 1.0, 0.0))
    return float(r2.mean()) if occurs.any() else NAN
