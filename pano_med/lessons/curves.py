"""Plots of the lessons whose code would distract from what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

#: Lines that differ in colour and in dashes.
_LOOKS = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#000000", ":"))


def iou_by_size(
    sizes: Sequence[float], curves: Mapping[str, Sequence[float]], marks: Mapping[float, str] | None = None
) -> Figure:
    """IoU over the width of an object, with the line below which nothing matches.

    Args:
        sizes: widths in pixels.
        curves: a name and the IoU (0..1) at each width.
        marks: width -> words at a vertical line there.
    """
    fig, ax = plt.subplots(figsize=(8, 4.2), dpi=120)
    for (name, values), (color, line) in zip(curves.items(), _LOOKS, strict=False):
        ax.plot(sizes, values, line, color=color, lw=2.5, label=name)
    ax.axhspan(0, 0.5, color="#eeeeee")
    ax.text(max(sizes), 0.49, "no match: IoU is not above 0.5", ha="right", va="top", fontsize=11)
    for width, words in (marks or {}).items():
        ax.axvline(width, color="#555555", ls=":", lw=1)
        ax.text(width + 0.4, 0.03, words, color="#333333", fontsize=11)
    ax.set(ylim=(0, 1), xlim=(min(sizes), max(sizes)))
    ax.set_xlabel("width of the object in pixels", fontsize=12)
    ax.set_ylabel("IoU", fontsize=12)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.18), frameon=False, fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)
    return fig
