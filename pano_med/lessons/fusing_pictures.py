"""Pictures of lesson 04: tables of logits, FL as a landscape and as a line. Matplotlib, no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from pano_med.pictures import styles
from pano_med.types import OKABE_ITO, Panoptic

BLUE, ORANGE = ("#{:02x}{:02x}{:02x}".format(*OKABE_ITO[name]) for name in ("blue", "vermillion"))
#: Blue below 0, white at 0, orange above.
LOGITS = LinearSegmentedColormap.from_list("logits", [BLUE, "white", ORANGE])
Fuse = Callable[[np.ndarray, np.ndarray], np.ndarray]


def logit_tables(planes: Sequence[np.ndarray], titles: Sequence[str], columns: int | None = None) -> Figure:
    """Small arrays of logits as tables: each number on its colour, a thick line where the sign changes.

    Args:
        planes: (h, w) floats each.
        titles: one for each.
        columns: tables in a row; None: all.
    """
    columns = columns or len(planes)
    rows = -(-len(planes) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 3.9 * rows), squeeze=False, layout="constrained")
    limit = max(float(np.abs(p).max()) for p in planes)
    for axis, plane, title in zip(axes.flat, planes, titles, strict=False):
        axis.imshow(plane, cmap=LOGITS, vmin=-limit, vmax=limit)
        edges(axis, plane > 0)
        for (row, column), value in np.ndenumerate(plane):
            ink = "white" if abs(value) > 0.75 * limit else "black"
            axis.text(column, row, short(value), ha="center", va="center", color=ink, fontsize=11)
        axis.set_title(title, fontsize=13)
        axis.set_xticks(range(plane.shape[1]))
        axis.set_yticks(range(plane.shape[0]))
    for axis in axes.flat[len(planes) :]:
        axis.axis("off")
    return figure


def owner_tables(maps: Sequence[Panoptic], titles: Sequence[str]) -> Figure:
    """Small maps as tables of owners: letters for stuff, numbers from 0 for things, hatching for void.

    Args:
        maps: their things have the ids 1, 2, ...
        titles: one for each.
    """
    figure, axes = plt.subplots(1, len(maps), figsize=(3.6 * len(maps), 3.9), squeeze=False, layout="constrained")
    for axis, panoptic, title in zip(axes.flat, maps, titles, strict=True):
        look, things = styles(panoptic.taxonomy), {s.id for s in panoptic.things}
        classes = {s.id: s.category_id for s in panoptic.segments}
        picture = np.ones((*panoptic.size, 3))
        for (row, column), owner in np.ndenumerate(panoptic.ids):
            if owner == 0:
                box = plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="///", edgecolor="grey", lw=0)
                axis.add_patch(box)
            else:
                share = 0.75 if owner in things else 0.35
                picture[row, column] = 1 - share + share * np.array(look[classes[owner]].color) / 255
            letter = str(owner - 1) if owner in things else look[classes[owner]].letter if owner else ""
            weight = "bold" if owner in things else "normal"
            axis.text(column, row, letter, ha="center", va="center", fontsize=12, weight=weight)
        axis.imshow(picture)
        for owner in classes:
            edges(axis, panoptic.ids == owner)
        axis.set_title(title, fontsize=13)
        axis.set_xticks(range(panoptic.size[1]))
        axis.set_yticks(range(panoptic.size[0]))
    return figure


def short(value: float) -> str:
    """A number in at most four signs, with a real minus."""
    text = f"{value:.0f}" if float(value).is_integer() or abs(value) >= 10 else f"{value:.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


def edges(axis: Axes, mask: np.ndarray) -> None:
    """Draw the line around the True pixels of a mask."""
    line = {"color": "black", "lw": 2.5, "solid_capstyle": "projecting"}
    for row, column in np.argwhere(mask[1:] != mask[:-1]):
        axis.plot([column - 0.5, column + 0.5], [row + 0.5, row + 0.5], **line)
    for row, column in np.argwhere(mask[:, 1:] != mask[:, :-1]):
        axis.plot([column + 0.5, column + 0.5], [row - 0.5, row + 0.5], **line)


def fits(fused: Fuse) -> bool:
    """Whether a learner's FL can be drawn; where it cannot, a sentence that says why is printed.

    Raises:
        NotImplementedError: the learner's own, from an exercise that is not done yet.
    """
    try:
        pairs, one = fused(np.array([[-6.0, -3, -1], [1, 3, 6]]), np.ones((2, 3))), fused(np.float64(3), np.float64(-3))
        shapes = [np.shape(pairs), np.shape(one)]
        fine = shapes == [(2, 3), ()] and all(np.isfinite(np.asarray(fl, float)).all() for fl in (pairs, one))
        found = "gives NaN or infinity" if shapes == [(2, 3), ()] else f"gives the shapes {shapes[0]} and {shapes[1]}"
    except NotImplementedError:
        raise
    except Exception as error:  # whatever a learner's function can do wrong
        fine, found = False, f"stops with {type(error).__name__}: {error}"
    if not fine:
        print(
            "Your fused is asked for FL of (2, 3) logits and of two single ones: it must give a finite number for each "
            f"pair, but it {found}. See what check says of exercise 4.3, then run this cell again."
        )
    return fine


def landscape(fused: Fuse, reach: float = 6.0) -> Figure:
    """FL over all pairs of logits, with lines of equal FL, and beside it FL where the mask says 3."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    line = np.linspace(-reach, reach, 241)
    a, b = np.meshgrid(line, line)
    values = fused(a, b)
    shown = left.imshow(values, extent=(-reach, reach, -reach, reach), origin="lower", cmap=LOGITS, vmin=-16, vmax=16)
    levels = left.contour(a, b, values, levels=[-1, 0, 2, 5, 10, 15], colors="black", linewidths=[1, 2.5, 1, 1, 1, 1])
    left.clabel(levels, fontsize=11)
    left.set(xlabel="ML_A, the instance's own mask", ylabel="ML_B, the semantic head", title="FL, thick line: 0")
    figure.colorbar(shown, ax=left, shrink=0.8)
    right.plot(line, fused(np.full_like(line, 3), line), color=ORANGE, lw=3, label="FL(3, y)")
    right.plot(line, 3 + line, color="black", ls="--", lw=1.5, label="3 + y: the plain sum")
    right.axhline(3, color=BLUE, ls="-.", lw=2, label="3: the mask alone")
    right.axhline(0, color="grey", lw=0.8)
    right.set(xlabel="y, the semantic head's logit", ylabel="FL", ylim=(-5, 19))
    right.set_title("The mask says 3; what y makes of it")
    right.legend(fontsize=11)
    return figure


def below_zero(fused: Fuse, stuff: float = -0.5) -> Figure:
    """FL(x, x) for negative x against a stuff logit: where the thing wins although both heads say no."""
    figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
    x = np.linspace(-12, 0, 481)
    y = fused(x, x)
    axis.plot(x, y, color=ORANGE, lw=3, label="FL(x, x)")
    axis.axhline(stuff, color=BLUE, lw=2.5, ls="--", label=f"stuff logit {short(stuff)}")
    wins = y > stuff
    axis.fill_between(x, y, stuff, where=wins, color=ORANGE, alpha=0.25, hatch="//", label="the thing wins")
    low = int(y.argmin())
    words = f"lowest: FL = {short(y[low])} at x = {short(x[low])}"
    axis.annotate(words, (x[low], y[low]), (-8.5, y[low] - 0.15), fontsize=12, arrowprops={"arrowstyle": "->"})
    axis.set(xlabel="x, the logit of both heads", ylabel="FL", ylim=(y[low] - 0.4, 0.3))
    axis.legend(fontsize=11, loc="lower left")
    return figure
