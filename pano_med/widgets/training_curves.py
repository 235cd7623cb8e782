"""Curves of a training: few points that tell the same as many, and the picture of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Points of a curve at most.
POINTS = 300
#: Bins that a smoothed value looks back on.
_SPAN = 12
#: Columns of a log that are no loss.
_OTHER = {"step", "lr", "grad_norm", "seconds", "left", "skipped", "total", "loss"}
#: Loss -> [name, colour, dashes in pixels]. Lines differ in dashes, too.
PARTS: dict[str, list[Any]] = {
    "semantic": ["semantic: class of pixels", "#0072B2", []],
    "objectness": ["proposals: thing or not", "#D55E00", [8, 3]],
    "proposal_box": ["proposals: boxes", "#E69F00", [2, 3]],
    "class": ["boxes: class", "#009E73", [10, 3, 2, 3]],
    "box": ["boxes: place", "#56B4E9", [5, 2]],
    "mask": ["masks", "#CC79A7", [12, 4]],
    "centre": ["centres of things", "#595959", [1, 3]],
}
#: Column of a validation -> [name, colour, dashes, sign].
SCORES: dict[str, list[Any]] = {
    "objects_pq": ["things, types ignored", "#0072B2", [], "o"],
    "things_pq": ["things, mean of classes", "#D55E00", [7, 3], "^"],
    "stuff_pq": ["stuff, mean of classes", "#009E73", [2, 3], "s"],
}


def thinned(rows: Sequence[Mapping[str, float | None]], points: int = POINTS) -> dict[str, Any]:
    """A log as at most `points` points a line.

    Returns:
        "step": the last step of each bin; "low" and "high": smallest and largest loss of a bin; "lines": loss and its
        parts -> smoothed values, None where there is nothing above 0; "first" and "last": their plain values.
    """
    if not rows:
        return {"step": [], "low": [], "high": [], "lines": {}, "first": {}, "last": {}}
    cuts = np.unique(np.linspace(0, len(rows), min(points, len(rows)) + 1).astype(int))
    names = ["loss", *(k for k in rows[0] if k not in _OTHER)]
    values = np.array([[np.nan if row.get(k) is None else row[k] for k in names] for row in rows], float)
    values[values <= 0] = np.nan  # a head that had nothing to learn in this step; a log axis has no place for it
    bins = [values[a:b] for a, b in pairwise(cuts)]
    lines = {k: _plain(_smoothed(np.array([_mean(b[:, i]) for b in bins]))) for i, k in enumerate(names)}
    return {
        "step": [int(rows[b - 1]["step"] or 0) for b in cuts[1:]],
        "low": _plain([_mean(b[:, 0], np.min) for b in bins]),
        "high": _plain([_mean(b[:, 0], np.max) for b in bins]),
        "lines": {k: line for k, line in lines.items() if any(v is not None for v in line)},
        "first": dict(zip(names, _plain(values[0]), strict=True)),
        "last": dict(zip(names, _plain(values[-1]), strict=True)),
    }


def draw(curve: Mapping[str, Any], validations: Sequence[Mapping[str, float | None]]) -> np.ndarray:
    """(H, W, 3) uint8: losses on a log axis above, validation PQ below."""
    figure = Figure(figsize=(8.8, 5.6), dpi=100, layout="constrained", facecolor="white")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    step = curve["step"]
    if step:
        above.fill_between(step, _gaps(curve["low"]), _gaps(curve["high"]), color="#bbbbbb", lw=0)
        above.set_yscale("log")
    for name, line in curve["lines"].items():
        label, color, dashes = PARTS.get(name, [name, "#555555", [4, 4]])
        look = {"color": "black", "lw": 2.8, "label": "whole loss"} if name == "loss" else {
            "color": color, "lw": 1.6, "label": label, "dashes": dashes or (None, None)}
        above.plot(step, _gaps(line), **look)
    for name, (label, color, dashes, sign) in SCORES.items():
        known = [(r["step"], r[name]) for r in validations if r.get(name) is not None]
        if known:
            xs, ys = zip(*known, strict=True)
            below.plot(xs, ys, color=color, marker=sign, ms=7, label=label, dashes=dashes or (None, None))
    above.set_ylabel("loss (log)", fontsize=12)
    below.set(ylim=(0, 1), xlabel="step")
    below.set_ylabel("validation PQ", fontsize=12)
    below.xaxis.label.set_size(12)
    for axes, empty in ((above, "no step yet"), (below, "no validation yet")):
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=11)
        else:
            axes.text(0.5, 0.5, empty, transform=axes.transAxes, ha="center", fontsize=12)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def told(seconds: float) -> str:
    """Seconds as people say them: "45 s", "12 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Exponential mean over about `_SPAN` bins, without the pull of a start at 0; gaps stay gaps."""
    total = weight = 0.0
    out = np.full(len(values), np.nan)
    keep = 1 - 2 / (_SPAN + 1)
    for i, value in enumerate(values):
        if np.isfinite(value):
            total, weight = keep * total + value, keep * weight + 1
            out[i] = total / weight
    return out


def _mean(values: np.ndarray, how: Any = np.mean) -> float:
    known = values[np.isfinite(values)]
    return float(how(known)) if len(known) else np.nan


def _plain(values: Any) -> list[float | None]:
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in values]


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [np.nan if v is None else v for v in values]
