"""Panoptic quality and instance scores against torchmetrics and against plain loops. Equality is asserted first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torchmetrics.detection import PanopticQuality

from pano_med.metrics import Record, panoptic_quality
from pano_med.metrics.nuclei import aji_plus
from pano_med.metrics.rules import torchmetrics_count
from pano_med.types import HE_CORE, Panoptic

SIDE, SEGMENTS = 1024, 500


def disks(seed: int, shift: int = 0) -> Panoptic:
    """A map of 500 segments: two stuff regions and round nuclei of every class, laid out on a jittered grid."""
    rng = np.random.default_rng(seed)
    stuff, things = HE_CORE.stuff, HE_CORE.things
    ids = np.ones((SIDE, SIDE), np.int32)
    ids[SIDE // 2 :] = 2
    kinds = {1: stuff[0].id, 2: stuff[1].id}
    cells = rng.choice(24 * 24, SEGMENTS - 2, replace=False)
    for i, cell in enumerate(cells, 3):
        row, column = np.array(divmod(int(cell), 24)) * 42 + 21 + rng.integers(-3, 4, 2) + shift
        radius, kinds[i] = int(rng.integers(9, 16)), things[int(rng.integers(len(things)))].id
        rows, columns = np.ogrid[row - radius : row + radius + 1, column - radius : column + radius + 1]
        inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        ids[row - radius : row + radius + 1, column - radius : column + radius + 1][inside] = i
    return Panoptic.from_ids(ids, kinds, HE_CORE)


def best_of(what: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Shortest of several runs, in seconds, and the result."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        result = what()
        spans.append(time.perf_counter() - start)
    return min(spans), result


def row(what: str, against: str, ours_s: float, theirs_s: float, note: str) -> dict[str, Any]:
    """One line of the table of benchmarks."""
    times = {"ours_s": ours_s, "theirs_s": theirs_s, "ratio": theirs_s / ours_s}
    return {"what": what, "against": against, **times, "note": note}


def quality() -> dict[str, Any]:
    """PQ of two maps of 500 segments each."""
    truth, prediction = disks(0), disks(0, shift=3)

    def theirs() -> float:
        things, stuffs = ({c.id for c in kinds} for kinds in (HE_CORE.things, HE_CORE.stuff))
        maps = [torch.from_numpy(np.stack([m.semantic(), m.ids], -1)[None]).long() for m in (prediction, truth)]
        metric = PanopticQuality(things, stuffs)
        metric.update(*maps)
        return float(metric.compute())

    ours_s, counts = best_of(lambda: panoptic_quality(truth, prediction), 9)
    theirs_s, value = best_of(theirs, 2)
    np.testing.assert_allclose(counts.mean()[0], value, atol=1e-6)
    np.testing.assert_allclose(torchmetrics_count(Record.of(truth, prediction).pairs).mean()[0], value, atol=1e-6)
    return row(
        f"PQ of two {SIDE} x {SIDE} maps, {SEGMENTS} segments each", "torchmetrics PanopticQuality", ours_s, theirs_s,
        f"both PQ {value:.4f}, equal to 1e-6; {torch.get_num_threads()} threads for torch",
    )  # fmt: skip


def aggregated_jaccard() -> dict[str, Any]:
    """AJI+ of the same maps against one mask per nucleus, as the usual scripts do it."""
    truth, prediction = disks(0), disks(0, shift=3)

    def theirs() -> float:
        t, p = ([m.ids == s.id for s in m.things] for m in (truth, prediction))
        shared, union = np.zeros((len(t), len(p))), np.ones((len(t), len(p)))
        place = {s.id: j for j, s in enumerate(prediction.things)}
        for i, mask in enumerate(t):
            for j in (place[k] for k in np.unique(prediction.ids[mask]).tolist() if k in place):
                shared[i, j], union[i, j] = (mask & p[j]).sum(), (mask | p[j]).sum()
        i, j = linear_sum_assignment(-shared / union)
        hit = shared[i, j] > 0
        alone = sum(m.sum() for k, m in enumerate(t) if k not in set(i[hit]))
        alone += sum(m.sum() for k, m in enumerate(p) if k not in set(j[hit]))
        return float(shared[i, j][hit].sum() / (union[i, j][hit].sum() + alone))

    ours_s, ours = best_of(lambda: aji_plus(Record.of(truth, prediction)), 5)
    theirs_s, value = best_of(theirs, 1)
    np.testing.assert_allclose(ours, value, atol=1e-12)
    return row("AJI+ of the same maps", "one mask per nucleus", ours_s, theirs_s, f"both {value:.4f}")


def run() -> list[dict[str, Any]]:
    """Rows {what, against, ours_s, theirs_s, ratio, note}."""
    return [quality(), aggregated_jaccard()]


if __name__ == "__main__":
    for line in run():
        print(f"{line['what']}: {line['ours_s'] * 1000:.1f} ms against {line['theirs_s'] * 1000:.0f} ms of "
              f"{line['against']}, {line['ratio']:.0f} times faster ({line['note']})")  # fmt: skip
