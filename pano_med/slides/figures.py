"""Small figures as SVG within a page: they print sharply and need nothing else."""

from __future__ import annotations

from html import escape

import numpy as np

#: Figures are drawn for the width of a phone, so that their letters stay legible there.
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 380, 190, 46, 40, 12
_BAR = "#0072B2"


def histogram(values: np.ndarray, unit: str, what: str, bins: int = 24) -> str:
    """A histogram with its median marked; the last bar holds all that is larger.

    Args:
        values: (N,) not negative.
        unit: of the values.
        what: what is counted, for people who hear the page.

    Returns:
        An svg element; a sentence where there is no value.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return f"<p>No {escape(what)}.</p>"
    far = float(np.percentile(values, 98))
    step = _nice(far / bins)
    top = step * max(2, int(np.ceil(far / step)))
    counts, edges = np.histogram(np.minimum(values, top * (1 - 1e-9)), round(top / step), (0, top))
    low, median, high = np.percentile(values, [25, 50, 75])
    said = f"{what}: median {median:.0f} {unit} (dashed line), half of them between {low:.0f} and {high:.0f} {unit}"
    width, height = _WIDTH - _LEFT - 8, _HEIGHT - _BOTTOM - _TOP
    floor, bar = _HEIGHT - _BOTTOM, width / len(counts)
    bars = "".join(
        f'<rect x="{_LEFT + i * bar:.1f}" y="{floor - height * n / counts.max():.1f}" width="{max(bar - 1, 0.5):.1f}" '
        f'height="{height * n / counts.max():.1f}" fill="{_BAR}"><title>{edges[i]:g} to {edges[i + 1]:g} {escape(unit)}'
        f"{' or more' if i + 1 == len(counts) else ''}: {n:,}</title></rect>"
        for i, n in enumerate(counts)
    )
    place = _LEFT + width * min(median / top, 1)
    marks = "".join(
        f'<text x="{_LEFT + width * v / top:.0f}" y="{floor + 16}" text-anchor="middle">{v:g}</text>'
        for v in np.arange(0, top * 0.99, _nice(top / 5))
    )
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said)}">{bars}'
        f'<path d="M{_LEFT} {_TOP}V{floor}H{_WIDTH - 8}" class="axis"/>'
        f'<path d="M{place:.1f} {_TOP}V{floor}" class="median"/>{marks}'
        f'<text x="{_LEFT - 5}" y="{_TOP + 9}" text-anchor="end">{_short(int(counts.max()))}</text>'
        f'<text x="{_LEFT - 5}" y="{floor}" text-anchor="end">0</text>'
        f'<text x="{_LEFT + width / 2:.0f}" y="{_HEIGHT - 5}" text-anchor="middle">{escape(unit)}</text></svg>'
        f"<figcaption>{escape(said[0].upper() + said[1:])}. The last bar holds all that are larger."
        "</figcaption></figure>"
    )


def _nice(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= value * (1 - 1e-9)))


def _short(number: int) -> str:
    return f"{number / 1000:.0f}k" if number >= 10_000 else f"{number:,}"
