"""What the pictures of SeparationLab hold: nuclei as a layer, their table, and where they went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from pano_med.lessons.classical import as_panoptic, nuclei_table
from pano_med.metrics import Separation, separation_errors, things_quality
from pano_med.types import Panoptic
from pano_med.widgets.layer import layer

#: Kinds of errors in the order of the lists: sign on the picture, what each is called.
KINDS: dict[str, tuple[str, str]] = {
    "merge": ("M", "merges"),
    "split": ("S", "splits"),
    "missed": ("–", "missed"),
    "invented": ("+", "invented"),
    "poor": ("~", "poor outlines"),
}


def things_only(panoptic: Panoptic, least: float = 0.0) -> Panoptic:
    """The things of a map, numbered 1, 2, 3, ... in the order of their ids; the rest is void.

    Args:
        panoptic: a map.
        least: things with a lower score are left out; those without a score stay.
    """
    kept = [s for s in panoptic.things if s.score is None or s.score >= least]
    number = {s.id: i for i, s in enumerate(kept, 1)}
    return Panoptic.from_ids(
        panoptic.lookup(number),
        {number[s.id]: s.category_id for s in kept},
        panoptic.taxonomy,
        panoptic.pixel_size_um,
        {number[s.id]: s.score for s in kept if s.score is not None},
    )


def pane(panoptic: Panoptic, density: np.ndarray, truth: Panoptic | None = None) -> dict[str, Any]:
    """Everything that one picture of the lab needs.

    Args:
        panoptic: things only, numbered densely.
        density: (H, W) haematoxylin.
        truth: what it is compared with, of any taxonomy, or None.

    Returns:
        layer: see `layer`; table: eccentricity and haematoxylin of each nucleus; count: nuclei; with a truth also
        errors: number of each kind, matched: nuclei found, pq: 0..1 or None, marks: see `marks`.
    """
    drawn, table = layer(panoptic), nuclei_table(panoptic.ids, density)
    found: dict[str, Any] = {
        "layer": drawn,
        "table": {name: table[name].round(3).tolist() for name in ("eccentricity", "haematoxylin")},
        "count": len(panoptic.segments),
    }
    if truth is None:
        return found
    one, other = as_panoptic(truth.ids), as_panoptic(panoptic.ids)  # one class, whatever the taxonomies are
    errors, pq = separation_errors(one, other), things_quality(one, other).mean("things")[0]
    listed = marks(errors, one, other)
    return {
        **found,
        "marks": listed,
        "errors": {kind: sum(m["kind"] == kind for m in listed) for kind in KINDS},
        "matched": len(errors.matched),
        "pq": None if np.isnan(pq) else float(pq),
    }


def marks(errors: Separation, truth: Panoptic, prediction: Panoptic) -> list[dict[str, Any]]:
    """Each error with its place: kind, row and col, own and truth (the numbers of the nuclei), text."""
    here, there = (_middles(p) for p in (prediction, truth))
    found = [
        ("merge", here[m.prediction], [m.prediction], list(m.truths), f"{len(m.truths)} nuclei in one outline")
        for m in errors.merges
    ]
    found += [
        ("split", there[s.truth], list(s.predictions), [s.truth], f"one nucleus in {len(s.predictions)} pieces")
        for s in errors.splits
    ]
    found += [("missed", there[t], [], [t], "a nucleus without outline") for t in errors.missed]
    found += [("invented", here[p], [p], [], "an outline without nucleus") for p in errors.invented]
    found += [("poor", there[t], [p], [t], "outline and nucleus share too little") for t, p in errors.poor]
    return [
        {"kind": kind, "row": place[0], "col": place[1], "own": own, "truth": true, "text": text}
        for kind, place, own, true, text in found
    ]


def _middles(panoptic: Panoptic) -> dict[int, tuple[float, float]]:
    """(row, column) of the centroid of each segment."""
    rows, columns = np.nonzero(panoptic.ids)
    ids = panoptic.ids[rows, columns]
    n = np.maximum(np.bincount(ids), 1)
    middle = [(np.bincount(ids, place) / n).round(1) for place in (rows, columns)]
    return {s.id: (float(middle[0][s.id]), float(middle[1][s.id])) for s in panoptic.segments}
