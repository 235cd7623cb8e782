"""Pictures of lesson 03: grids, reach, anchors, boxes. Matplotlib figures for `pano_med.lessons.show`; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

#: Type that a class can read from the back of the room.
SIZE = 13
BLUE, ORANGE, VERMILLION = "#0072B2", "#E69F00", "#D55E00"


def panels(count: int, width: float = 3.4, height: float = 3.7) -> tuple[Figure, np.ndarray]:
    """A row of axes without ticks, as a figure and a (count,) array."""
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False, layout="constrained")
    for axis in axes[0]:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes[0]


def bare(axis: Axes, picture: np.ndarray, title: str, **options: object) -> Axes:
    """A picture and its title on an axis."""
    axis.imshow(picture, **options)
    axis.set_title(title, fontsize=SIZE)
    return axis


def frame(axis: Axes, box: Sequence[float], color: str = "black", dashed: bool = False, width: float = 2.5) -> None:
    """Outline a box (x1, y1, x2, y2) in pixels, in colour on white, so that it shows on any tissue."""
    x1, y1, x2, y2 = (float(v) for v in box)
    for ink, thick, line in (("white", width + 2.5, "-"), (color, width, "--" if dashed else "-")):
        axis.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, ec=ink, lw=thick, ls=line))


def stride_grids(image: np.ndarray, strides: Sequence[int]) -> Figure:
    """The image under the grid of each stride: one square is one cell of that level."""
    figure, axes = panels(len(strides))
    side = image.shape[0]
    for axis, stride in zip(axes, strides, strict=True):
        bare(axis, image, f"stride {stride}: {side // stride} × {side // stride} cells", extent=(0, side, side, 0))
        for at in range(0, side + 1, stride):
            axis.axhline(at, color="black", lw=stride**0.5 / 3.5)
            axis.axvline(at, color="black", lw=stride**0.5 / 3.5)
    return figure


def who_hears_whom(tables: Mapping[str, np.ndarray], levels: Sequence[str]) -> Figure:
    """One table for each pyramid: (from, to) bool, dark where a signal put in at one level comes out at another."""
    figure, axes = panels(len(tables), 4.6, 4.6)
    for axis, (title, heard) in zip(axes, tables.items(), strict=True):
        axis.imshow(heard, cmap="cividis_r", vmin=0, vmax=1.3)
        for row, column in np.ndindex(heard.shape):
            yes = bool(heard[row, column])
            axis.text(column, row, "yes" if yes else "no", ha="center", va="center", fontsize=SIZE + 1,
                      color="white" if yes else "black", weight="bold" if yes else "normal")  # fmt: skip
        axis.set_title(title, fontsize=SIZE + 1)
        axis.set_xticks(range(len(levels)), [f"P{n}" for n in levels], fontsize=SIZE)
        axis.set_yticks(range(len(levels)), [f"C{n}" for n in levels], fontsize=SIZE)
        axis.set_xlabel("comes out at", fontsize=SIZE)
        axis.set_ylabel("goes in at", fontsize=SIZE)
    return figure


def fields(touched: Mapping[str, np.ndarray]) -> Figure:
    """For each branch the (H, W) cells of the input that one output cell uses, dark, with their extent in the title."""
    figure, axes = panels(len(touched), 2.9, 3.5)
    for axis, (name, cells) in zip(axes, touched.items(), strict=True):
        rows, columns = (np.flatnonzero(cells.any(1 - a)) for a in (0, 1))
        high, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        axis.imshow(cells, cmap="Greys", vmin=0, vmax=1)
        middle = [(n - 1) / 2 for n in cells.shape]
        axis.plot(middle[1], middle[0], "o", ms=9, mfc="none", mec=VERMILLION, mew=2.5)
        axis.set_title(f"{name}\n{high} × {wide} cells", fontsize=SIZE)
    return figure


def bars(parts: Mapping[str, int], title: str) -> Figure:
    """Numbers by part as horizontal bars with the numbers written out."""
    figure, axis = plt.subplots(figsize=(9, 0.62 * len(parts) + 0.8), layout="constrained")
    names, values = list(parts), np.array(list(parts.values()))
    axis.barh(names, values, color=BLUE)
    for place, value in enumerate(values):
        axis.text(value, place, f" {value:,} ({value / values.sum():.0%})", va="center", fontsize=SIZE)
    axis.invert_yaxis()
    axis.set_xlim(0, values.max() * 1.45)
    axis.set_xticks([])
    axis.tick_params(axis="y", labelsize=SIZE)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.set_title(title, fontsize=SIZE + 1, loc="left")
    return figure


def curves(shift: np.ndarray, lines: Mapping[str, np.ndarray], across: str, up: str) -> Figure:
    """Lines over one axis, told apart by dashes and names at their ends."""
    figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
    looks = ((BLUE, "-"), (VERMILLION, "--"), ("black", ":"))
    for (name, values), (color, dash) in zip(lines.items(), looks, strict=False):
        axis.plot(shift, values, color=color, ls=dash, lw=3, label=name)
    axis.legend(fontsize=SIZE, frameon=False)
    axis.set_xlabel(across, fontsize=SIZE)
    axis.set_ylabel(up, fontsize=SIZE)
    axis.tick_params(labelsize=SIZE - 1)
    axis.spines[["top", "right"]].set_visible(False)
    return figure
