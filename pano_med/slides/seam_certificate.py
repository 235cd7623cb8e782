"""What a seam certificate says, when it passes, and how the figures of single places are summed up."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pano_med.formats import replacing
from pano_med.metrics import Interval, bootstrap, total
from pano_med.slides.seam_measures import Look

FILE = "seams.json"
#: The band may fall behind the inside by so much: PQ, share of straight boundary, share of pixels with another tissue.
PQ_WITHIN, STRAIGHT_WITHIN, TISSUE_WITHIN = 0.01, 0.01, 0.01
#: An interval that holds 0 excuses a difference only where it ends below this many times what is allowed.
UNCERTAIN = 5
#: Nuclei per area in the band against the inside may differ from the shifted tile's by this share.
DENSITY_WITHIN = 0.05
#: Fewer nuclei than this in the band or inside say nothing.
ENOUGH = 30
BAND, INSIDE = 0, 1  # the rows of a Look


@dataclass(frozen=True)
class Certificate:
    """What was measured and what follows. Differences are inside minus band for agreement, band minus inside for edges.

    Attributes:
        band_pq: PQ of nuclei (types aside) between stitched map and shifted tiles, in the band; nan = no nucleus.
        interior_pq: the same inside.
        difference: interior_pq - band_pq with its interval over places.
        duplicates: pairs of nuclei from two tiles on the same ground.
        straight_band: share of nuclear boundary in line with a seam or a tile's edge that runs straight.
        straight_inside: the same share of all boundary inside.
        straight: straight_band - straight_inside.
        density_ratio: nuclei per area, band to inside, of the stitched map over that of the shifted tiles.
        tissue: share of pixels with the same tissue in both, inside minus band.
        objects: nuclei of the shifted tiles in the band and inside.
        places: how many places were looked at.
        band_px: width of the band in pixels of the map.
        seamless: the map is one tile, so there is nothing to judge.
        skipped: places that could not be read.
    """

    band_pq: float
    interior_pq: float
    difference: Interval
    duplicates: int
    straight_band: float
    straight_inside: float
    straight: Interval
    density_ratio: Interval
    tissue: Interval
    objects: tuple[int, int]
    places: int
    band_px: int
    seamless: bool = False
    skipped: tuple[str, ...] = ()

    @property
    def reasons(self) -> list[str]:
        """Why it does not pass, one sentence each."""
        if self.seamless:
            return []
        for number, where in zip(self.objects, ("along the seams that were looked at", "inside of tiles"), strict=True):
            if number < ENOUGH:
                return [f"only {number} nuclei lie {where}; at least {ENOUGH} are needed to say anything"]
        found = []
        if self.duplicates:
            found.append(f"{self.duplicates} nuclei along the seams are there twice")
        if _beyond(self.difference, PQ_WITHIN):
            found.append(f"PQ along the seams is {self.band_pq:.3f}, inside {self.interior_pq:.3f}: the difference "
                         f"{self.difference} is more than {PQ_WITHIN:g}")
        if _unclear(self.difference, PQ_WITHIN):
            found.append(f"PQ along the seams and inside differ by {self.difference}, too uncertain to certify: look "
                         "at more places; a slide with few seams may not have enough")
        if _beyond(self.straight, STRAIGHT_WITHIN):
            found.append(f"{self.straight_band:.1%} of the nuclear boundaries in line with a seam run straight, inside "
                         f"{self.straight_inside:.1%}: nuclei are cut")
        ratio = self.density_ratio
        if abs(ratio.value - 1) > DENSITY_WITHIN and not ratio.low <= 1 <= ratio.high:
            found.append(f"nuclei along the seams are {ratio} times as dense as they should be")
        if _beyond(self.tissue, TISSUE_WITHIN):
            found.append(f"tissue along the seams differs from the shifted tiles' on {self.tissue.value:.1%} more "
                         "pixels than inside")
        return found

    @property
    def verdict(self) -> str:
        """ "pass" or "fail"."""
        return "fail" if self.reasons else "pass"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; None where a figure is undefined, an interval as [low, high]."""
        figures = {
            "verdict": self.verdict,
            "reasons": self.reasons,
            "band_pq": self.band_pq,
            "interior_pq": self.interior_pq,
            "difference": self.difference.value,
            "difference_interval": [self.difference.low, self.difference.high],
            "duplicates": self.duplicates,
            "straight_edges_band": self.straight_band,
            "straight_edges_inside": self.straight_inside,
            "straight_edges_interval": [self.straight.low, self.straight.high],
            "density_ratio": self.density_ratio.value,
            "density_ratio_interval": [self.density_ratio.low, self.density_ratio.high],
            "tissue_difference": self.tissue.value,
            "tissue_difference_interval": [self.tissue.low, self.tissue.high],
            "objects_band": self.objects[BAND],
            "objects_inside": self.objects[INSIDE],
            "places": self.places,
            "band_px": self.band_px,
            "one_tile": self.seamless,
            "skipped": list(self.skipped),
        }
        return {name: _plain(value) for name, value in figures.items()}

    def write(self, folder: str | Path) -> Path:
        """Write `FILE` into a result folder, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        path = Path(folder) / FILE
        with replacing(path) as file:
            file.write(json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False).encode())
        return path


def read_verdict(folder: str | Path) -> str:
    """The verdict that was written into a result folder; "" where there is none."""
    path = Path(folder) / FILE
    try:
        return str(json.loads(path.read_bytes())["verdict"]) if path.is_file() else ""
    except (ValueError, KeyError, TypeError):
        return ""


def judge(looks: Sequence[Look], band_px: int, seamless: bool = False, skipped: Iterable[str] = ()) -> Certificate:
    """Sum up what was seen at the places; intervals by drawing places."""
    intervals = [bootstrap(looks, f) if looks else Interval(math.nan, math.nan, math.nan, 0.95, 0, 1.0)
                 for f in (_difference, _straight, _density, _tissue)]
    straight = sum((x.straight for x in looks), np.zeros((2, 3), np.int64))
    objects = sum((x.objects for x in looks), np.zeros((2, 2), np.int64))[:, 1]
    twice = frozenset().union(*(x.twice for x in looks))
    intervals[1] = _at_least(intervals[1], _runs_error(straight))
    return Certificate(
        _pq(looks, BAND), _pq(looks, INSIDE), intervals[0], len(twice), _share(straight[BAND]),
        _share(straight[INSIDE]), *intervals[1:], (int(objects[BAND]), int(objects[INSIDE])), len(looks), band_px,
        seamless, tuple(skipped),
    )


def _pq(looks: Sequence[Look], zone: int) -> float:
    return total(x.quality[zone] for x in looks).mean("things")[0] if looks else math.nan


def _difference(looks: Sequence[Look]) -> float:
    return _pq(looks, INSIDE) - _pq(looks, BAND)


def _straight(looks: Sequence[Look]) -> float:
    sums = sum(x.straight for x in looks)
    return _share(sums[BAND]) - _share(sums[INSIDE])


def _density(looks: Sequence[Look]) -> float:
    sums = sum(x.objects for x in looks).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (sums[BAND, 0] / sums[INSIDE, 0]) / (sums[BAND, 1] / sums[INSIDE, 1])
    return float(ratio) if np.isfinite(ratio) else math.nan


def _tissue(looks: Sequence[Look]) -> float:
    sums = sum(x.tissue for x in looks)
    return _share(sums[INSIDE]) - _share(sums[BAND])


def _runs_error(straight: np.ndarray) -> float:
    """Standard error of the difference of the two shares if each run of boundary is straight or not by chance.

    A short seam meets few nuclei, and places on it show the same ones: drawing places anew then says too little.
    """
    shares = [_share(s) for s in straight]
    return math.sqrt(sum(p * (1 - p) * s[2] / s[1] ** 2 for p, s in zip(shares, straight, strict=True) if s[1]))


def _at_least(interval: Interval, error: float) -> Interval:
    """The interval, widened to 1.96 standard errors on both sides."""
    low, high = interval.value - 1.96 * error, interval.value + 1.96 * error
    return replace(interval, low=float(np.fmin(interval.low, low)), high=float(np.fmax(interval.high, high)))


def _share(part: np.ndarray) -> float:
    """First of second; nan where there is nothing."""
    return float(part[0] / part[1]) if part[1] else math.nan


def _beyond(difference: Interval, within: float) -> bool:
    """More than allowed, and not by chance."""
    return difference.value > within and difference.low > 0


def _unclear(difference: Interval, within: float) -> bool:
    """More than allowed, perhaps by chance, perhaps far more: nothing to put a seal on."""
    return difference.value > within and difference.low <= 0 and difference.high > UNCERTAIN * within


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
