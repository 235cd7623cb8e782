"""The forest plot of the class experiment."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pano_med.lessons.class_experiment_lines import BASE, SCORES, Comparison

_SIZE = 13
#: An interval that holds 0, one that lies below, one that lies above: colour and sign.
_OPEN, _WORSE, _BETTER = ("#555555", "o"), ("#D55E00", "v"), ("#0072B2", "^")


def forest(comparisons: Sequence[Comparison], score: str = "mean_pq", note: str = "") -> Figure:
    """Difference of each arm from the base with its interval; an arm with too few runs has an empty sign and no bar.

    Args:
        comparisons: of `compare`; the base and arms without a run get no row.
        score: as in `compare`.
        note: a line below the title that says what the runs were, of `told`: pictures travel without their text.
    """
    rows = [(c, c.difference) for c in comparisons if c.arm != BASE and c.difference is not None]
    figure = Figure(figsize=(10.5, 2.1 + 0.55 * max(1, len(rows))), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="black", lw=1.5)
    for place, (c, difference) in enumerate(rows):
        _row(axes, place, c, difference)
    base = next((c.values for c in comparisons if c.arm == BASE), ())
    axes.set_yticks(range(len(rows)), [f"{c.arm}\n{_runs(len(c.values))}" for c, _ in rows], fontsize=_SIZE)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    reach = max([0.02, *(abs(v) for c, middle in rows for v in (middle, c.low, c.high) if v is not None)])
    axes.set_xlim(-1.12 * reach, 1.12 * reach)
    axes.tick_params(axis="x", labelsize=_SIZE - 1)
    axes.grid(axis="x", color="0.85", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"← worse than {BASE!r}      difference in PQ      better than {BASE!r} →", fontsize=_SIZE)
    told = f"{BASE!r}: {fmean(base):.3f} in {_runs(len(base))}" if base else f"no run of {BASE!r}"
    title = [SCORES[score], f"difference from {told}; bars: 95 % intervals", *([note] if note else [])]
    axes.set_title("\n".join(title), fontsize=_SIZE, loc="left")
    if not rows:
        axes.text(0, 0, "nothing to compare yet", ha="center", va="center", fontsize=_SIZE + 2)
    return figure


def _row(axes: Axes, place: int, c: Comparison, difference: float) -> None:
    color, sign = _OPEN
    if c.low is None or c.high is None:
        axes.plot(difference, place, sign, ms=11, mfc="white", mec=color, mew=2)
        return
    if c.high < 0 or c.low > 0:
        color, sign = _WORSE if c.high < 0 else _BETTER
    axes.plot([c.low, c.high], [place, place], color=color, lw=3.5, solid_capstyle="butt")
    axes.plot(difference, place, sign, ms=11, color=color)


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"
