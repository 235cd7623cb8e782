"""Does a score mean what it says? Reliability by bins of the score, and the expected calibration error. NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Reliability:
    """Scores against what came true, in bins of equal width. Made by `reliability`.

    Attributes:
        edges: (B + 1,) float64, from 0 to 1; a bin holds its upper edge, the first bin 0 as well.
        n: (B,) int64, scores in each bin.
        score: (B,) float64, mean score in each bin, nan where it is empty.
        share: (B,) float64, share of them that came true, nan where it is empty.
    """

    edges: npt.NDArray[np.float64]
    n: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error: mean distance of share and score, bins weighted by n; nan without a score.

        Naeini, Cooper and Hauskrecht 2015, AAAI; Guo et al. 2017, ICML.
        """
        used = self.n > 0
        if not used.any():
            return math.nan
        return float(np.average(np.abs(self.share - self.score)[used], weights=self.n[used]))


def reliability(
    scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], bins: int = 10
) -> Reliability:
    """Put scores into bins and see how many came true.

    Args:
        scores: (N,) float, 0..1.
        right: (N,) bool, e.g. whether a predicted nucleus matches a true one.
        bins: number of bins of equal width, at least 1.

    Raises:
        ValueError: the lists differ in length, a score outside 0..1 or nan, or no bin.
    """
    if scores.shape != right.shape or scores.ndim != 1:
        raise ValueError(f"each score needs one outcome, got arrays of shape {scores.shape} and {right.shape}")
    if bins < 1:
        raise ValueError(f"reliability needs at least one bin, got {bins}")
    strange = np.flatnonzero(~((scores >= 0) & (scores <= 1)))
    if len(strange):
        raise ValueError(f"a score lies between 0 and 1, score number {strange[0]} is {scores[strange[0]]}")
    edges = np.linspace(0, 1, bins + 1)
    place = np.maximum(np.searchsorted(edges, scores, "left"), 1) - 1
    n = np.bincount(place, minlength=bins)
    whole = np.where(n, n, np.nan)
    return Reliability(edges, n, np.bincount(place, scores, bins) / whole, np.bincount(place, right, bins) / whole)
