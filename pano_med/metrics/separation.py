"""Why a count is wrong: nuclei merged, split, missed, invented, or found with a poor outline. NumPy, no torch.

PQ counts false positives and false negatives; these names say what happened to each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pano_med.metrics.overlap import Overlap, overlap
from pano_med.types import Panoptic

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Merge:
    """Several true nuclei under one predicted nucleus, which covers more than half of each.

    Attributes:
        prediction: segment id.
        truths: segment ids, two or more.
    """

    prediction: int
    truths: tuple[int, ...]


@dataclass(frozen=True)
class Split:
    """One true nucleus in several predicted pieces, each with more than half of itself inside it.

    Attributes:
        truth: segment id.
        predictions: segment ids, two or more.
    """

    truth: int
    predictions: tuple[int, ...]


@dataclass(frozen=True)
class Separation:
    """How the things of a prediction lie on the things of the truth; classes play no part.

    "a lies in b" means: more than half of a's pixels are b's. A nucleus can take part in a merge and still be
    `matched` (a large nucleus that swallowed a small one), so the groups may overlap; `causes` has each once.

    Attributes:
        truths: number of true nuclei that are judged.
        predictions: number of predicted nuclei that are judged.
        matched: (truth, prediction) pairs with IoU > 0.5, PQ's true positives.
        merges: one predicted nucleus in which two or more true ones lie.
        splits: one true nucleus in which two or more predicted ones lie.
        missed: true nuclei that lie in no prediction and in which none lies.
        invented: predicted nuclei that lie in no true one and in which none lies.
        poor: (truth, prediction) pairs for true nuclei that none of the above explains: one lies in the other, but
            IoU <= 0.5, so the outline is much too wide or too narrow.
    """

    truths: int
    predictions: int
    matched: tuple[tuple[int, int], ...]
    merges: tuple[Merge, ...]
    splits: tuple[Split, ...]
    missed: tuple[int, ...]
    invented: tuple[int, ...]
    poor: tuple[tuple[int, int], ...]

    def causes(self) -> dict[str, int]:
        """What became of each true nucleus; the five numbers add up to `truths`.

        A true nucleus that is not matched counts as "merged" if it lies in a merge, else as "split", "missed" or
        "poor outline".
        """
        good = {t for t, _ in self.matched}
        merged = {t for m in self.merges for t in m.truths} - good
        split = {s.truth for s in self.splits} - good - merged
        return {
            **{"matched": len(good), "merged": len(merged), "split": len(split)},
            **{"missed": len(self.missed), "poor outline": len(self.poor)},
        }


def separation_errors(truth: Panoptic, prediction: Panoptic, ignore: npt.NDArray[np.bool_] | None = None) -> Separation:
    """Say what became of each true and each predicted nucleus.

    Crowds, and predicted nuclei of which at least half lies on crowds or ignored pixels, are not judged.

    Args:
        truth: what the annotators drew.
        prediction: what is judged, same size and categories.
        ignore: (H, W) bool, True where nothing is known, or None.

    Raises:
        ValueError: sizes or categories differ.
    """
    pairs = overlap(truth, prediction, ignore)
    keep_t, keep_p = _judged(pairs)
    used = keep_t[pairs.t] & keep_p[pairs.p]
    t, p, n = pairs.t[used], pairs.p[used], pairs.n[used]
    area_t, area_p = pairs.truth.area[t], pairs.prediction.area[p]
    under, within = 2 * n > area_t, 2 * n > area_p  # t lies in p; p lies in t
    match = 2 * n > area_t + area_p - n
    merging, splitting = _repeated(p[under]), _repeated(t[within])
    grouped = np.isin(p, merging) & under | np.isin(t, splitting) & within
    name_t = np.array([0, *(s.id for s in truth.segments), 0], np.int64)
    name_p = np.array([0, *(s.id for s in prediction.segments)], np.int64)
    bound = under | within
    explained = np.unique(t[match | grouped])
    poor = np.flatnonzero(bound & ~np.isin(t, explained))
    poor = poor[np.lexsort((-n[poor], t[poor]))]  # the partner that shares most pixels first
    poor = poor[np.unique(t[poor], return_index=True)[1]]
    return Separation(
        truths=int(keep_t.sum()),
        predictions=int(keep_p.sum()),
        matched=_pairs(name_t[t[match]], name_p[p[match]]),
        merges=tuple(Merge(int(name_p[row]), _ids(name_t[t[under & (p == row)]])) for row in merging),
        splits=tuple(Split(int(name_t[row]), _ids(name_p[p[within & (t == row)]])) for row in splitting),
        missed=_ids(name_t[np.setdiff1d(np.flatnonzero(keep_t), t[bound])]),
        invented=_ids(name_p[np.setdiff1d(np.flatnonzero(keep_p), p[bound])]),
        poor=_pairs(name_t[t[poor]], name_p[p[poor]]),
    )


def _judged(pairs: Overlap) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Rows of the truth and of the prediction that count."""
    truth, prediction = pairs.truth, pairs.prediction
    lost = pairs.on((truth.crowd | pairs.void(is_background=True))[pairs.t])
    return pairs.isthing(truth) & ~truth.crowd, pairs.isthing(prediction) & (2 * lost < prediction.area)


def _repeated(rows: Ints) -> Ints:
    found, counts = np.unique(rows, return_counts=True)
    return np.asarray(found[counts > 1])


def _ids(names: Ints) -> tuple[int, ...]:
    return tuple(sorted(int(i) for i in names))


def _pairs(one: Ints, other: Ints) -> tuple[tuple[int, int], ...]:
    return tuple((int(a), int(b)) for a, b in zip(one, other, strict=True))
