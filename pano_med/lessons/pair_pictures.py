"""Pictures of lesson 02: painted classes, borders' bands, stages of Mask R-CNN, contradictions. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pano_med.lessons.insides import SIZE, bare, frame, panels
from pano_med.metrics import Story
from pano_med.types import OKABE_ITO, Taxonomy

#: How a contradiction looks: words, colour, hatching (never colour alone).
LOOKS: dict[Story, tuple[str, str, str]] = {
    Story.BOTH_THING: ("both say nucleus, same kind", "sky", ""),
    Story.INSTANCE_ON_STUFF: ("instance head: nucleus; semantic head: tissue", "vermillion", "///"),
    Story.OTHER_THING: ("both say nucleus, another kind", "yellow", "..."),
    Story.NO_INSTANCE: ("semantic head: nucleus; no instance there", "black", "xxx"),
}


def _rgb(name: str) -> tuple[float, ...]:
    return tuple(v / 255 for v in OKABE_ITO[name])


def classes(image: np.ndarray, maps: Mapping[str, np.ndarray], taxonomy: Taxonomy) -> Figure:
    """An image beside maps of channels, in the colours of the taxonomy, with a legend."""
    table = np.array([c.color for c in taxonomy.channels], np.uint8)
    figure, axes = panels(1 + len(maps), 3.1, 3.9)
    bare(axes[0], image, "image")
    for axis, (title, channels) in zip(axes[1:], maps.items(), strict=True):
        bare(axis, table[channels], title)
    keys = [Patch(fc=np.array(c.color) / 255, ec="black", label=c.name) for c in taxonomy.channels]
    figure.legend(handles=keys, loc="outside lower center", ncol=len(keys), fontsize=SIZE - 1, frameon=False)
    return figure


def bands(edges: Sequence[float], lines: Mapping[str, Sequence[float]]) -> Figure:
    """Accuracy by distance to the nearest outline: grouped bars with their values, one group a band.

    Args:
        edges: ends of the bands in micrometres; the last may be infinite.
        lines: values 0..1 of each network, one a band.
    """
    figure, axis = panels(1, 9, 4)
    axis = axis[0]
    width, looks = 0.8 / len(lines), (("white", "///"), ("#56B4E9", ""), ("#0072B2", ""))
    for place, (name, values) in enumerate(lines.items()):
        color, hatch = looks[place % len(looks)]
        at = np.arange(len(values)) + (place - (len(lines) - 1) / 2) * width
        axis.bar(at, values, width, color=color, hatch=hatch, ec="black", label=name)
        for x, value in zip(at, values, strict=True):
            axis.text(x, value + 0.01, f"{value:.0%}", ha="center", fontsize=SIZE - 2)
    names = [f"{a:g} to {b:g} µm" if np.isfinite(b) else f"beyond {a:g} µm"
             for a, b in pairwise(edges)]  # fmt: skip
    axis.set_xticks(range(len(names)), names, fontsize=SIZE)
    axis.set_xlabel("distance to the nearest true outline", fontsize=SIZE)
    axis.set_ylabel("pixels that are right", fontsize=SIZE)
    axis.set_ylim(0, 1.08)
    axis.legend(fontsize=SIZE, frameon=False, ncol=len(lines), loc="upper left")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def walk(image: np.ndarray, proposals: np.ndarray, boxes: np.ndarray, mask: np.ndarray, pasted: np.ndarray) -> Figure:
    """The four stages: proposals, boxes above the cut, one 28 x 28 mask in its box, all masks pasted.

    Args:
        image: (H, W, 3) uint8.
        proposals: (P, 4) boxes.
        boxes: (N, 4) boxes.
        mask: (28, 28) mask logits of the first box, which is drawn in vermillion.
        pasted: (H, W) int, 0 = free, else the number of the mask that owns the pixel.
    """
    figure, axes = panels(4)
    bare(axes[0], image, f"1. {len(proposals)} proposals")
    for box in proposals:
        frame(axes[0], box, "#0072B2", width=0.8)
    bare(axes[1], image, f"2. {len(boxes)} boxes kept")
    for place, box in enumerate(boxes):
        frame(axes[1], box, "#D55E00" if place == 0 else "black", width=1.6)
    chance = 1 / (1 + np.exp(-mask))
    bare(axes[2], chance, "3. mask of one box, 28 × 28", cmap="viridis", vmin=0, vmax=1)
    axes[2].contour(mask, [0.0], colors="white", linewidths=2.5)
    owned = colormaps["viridis"](pasted / max(1, pasted.max()))[..., :3]
    bare(axes[3], np.where(pasted[..., None] > 0, 0.35 * image / 255 + 0.65 * owned, image / 255), "4. masks pasted")
    axes[3].contour(pasted > 0, [0.5], colors="black", linewidths=0.8)
    return figure


def stories(image: np.ndarray, told: Mapping[str, np.ndarray]) -> Figure:
    """The image, and where the heads of each network contradict each other, with a legend.

    Args:
        image: (H, W, 3) uint8.
        told: (H, W) maps of `Story` by title.
    """
    figure, axes = panels(1 + len(told), 4.2, 5.4)
    bare(axes[0], image, "image")
    grey = image.mean(2, keepdims=True).repeat(3, 2) / 255
    for axis, (title, story) in zip(axes[1:], told.items(), strict=True):
        picture = 0.45 * grey + 0.55
        for kind, (_, color, _) in LOOKS.items():
            here = (story == kind)[..., None]
            picture = np.where(here, 0.3 * grey + 0.7 * np.array(_rgb(color)), picture)
        bare(axis, picture, title)
        for kind, (_, _, hatch) in LOOKS.items():
            if hatch and (story == kind).any():
                axis.contourf(story == kind, [0.5, 1.5], colors="none", hatches=[hatch])
    keys = [Patch(fc=_rgb(color), hatch=hatch, ec="white" if color == "black" else "black", label=words)
            for words, color, hatch in LOOKS.values()]  # fmt: skip
    figure.legend(handles=keys, loc="outside lower center", ncol=2, fontsize=SIZE, frameon=False)
    return figure
