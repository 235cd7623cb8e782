"""Pictures of lesson 05: what the network is asked for, what is allowed where, curves, before and after. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pano_med.lessons.insides import SIZE, bare, frame, panels
from pano_med.lessons.maps import titled
from pano_med.pictures import overlay
from pano_med.types import Panoptic, Taxonomy

#: Lines that differ in colour, dashes and sign.
LOOKS = (("#0072B2", "-", "o"), ("#D55E00", "--", "s"), ("#009E73", "-.", "^"), ("#000000", ":", "D"))
#: Fills of sets of several classes, and hatchings of all sets: none is told by colour alone.
_FILLS = ("#F0E442", "#CFCFCF", "#F7D9A0", "#BFE3D6", "#D9CDE6", "#FFFFFF")
_HATCHES = ("", "///", "...", "\\\\\\", "--", "oo", "||", "++")


def targets(image: np.ndarray, boxes: np.ndarray, masks: np.ndarray, allowed: np.ndarray, taxonomy: Taxonomy) -> Figure:
    """One crop and what the network is asked for there: boxes, masks, and the set of classes allowed in each pixel.

    Args:
        image: (H, W, 3) float 0..1.
        boxes: (N, 4) xyxy.
        masks: (N, H, W) bool.
        allowed: (K, H, W) bool, in the order of `taxonomy.channels`.
        taxonomy: of the network.
    """
    figure, axes = panels(4, 3.3, 4.2)
    bare(axes[0], image, "a crop")
    bare(axes[1], image, f"boxes: {len(boxes)} things")
    for box in boxes:
        frame(axes[1], box, "#D55E00")
    bare(axes[2], _masks(image, masks), f"masks: {len(masks)}")
    bare(axes[3], np.ones((*allowed.shape[1:], 3)), "allowed in each pixel")
    _sets(axes[3], allowed, _Looks(taxonomy))
    return figure


def allowed_maps(image: np.ndarray, maps: Mapping[str, np.ndarray], taxonomy: Taxonomy) -> Figure:
    """An image, and the sets of classes that are allowed in each of its pixels, one map for each title.

    Args:
        image: (H, W, 3).
        maps: title -> (K, H, W) bool, in the order of `taxonomy.channels`. A set looks the same in all maps.
        taxonomy: of the network.
    """
    figure, axes = panels(1 + len(maps), 4.4, 5.6)
    bare(axes[0], image, "the image")
    looks = _Looks(taxonomy)
    for axis, (title, allowed) in zip(axes[1:], maps.items(), strict=True):
        bare(axis, np.ones((*allowed.shape[1:], 3)), title)
        _sets(axis, allowed, looks)
    return figure


def _masks(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    picture = 0.35 * np.repeat(image.mean(-1, keepdims=True), 3, -1)
    colors = ("#E69F00", "#56B4E9", "#F0E442", "#009E73", "#D55E00")
    for number, mask in enumerate(masks):
        picture[mask] = to_rgb(colors[number % len(colors)])
    return picture


class _Looks:
    """A colour and a hatching for every set of classes, and its name; handed out when a set is met first."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy, self._met = taxonomy, dict[bytes, int]()

    def __call__(self, kind: np.ndarray) -> tuple[Any, str, str]:
        """(fill, hatching, words) of a set, (K,) bool."""
        place = self._met.setdefault(kind.tobytes(), len(self._met))
        return self._fill(kind, place), _HATCHES[place % len(_HATCHES)], _named(kind, self._taxonomy)

    def _fill(self, kind: np.ndarray, place: int) -> Any:
        """White where all is allowed, the class's own colour where one is (grey for black), else one of a few."""
        if kind.all():
            return "white"
        if kind.sum() == 1:
            color = self._taxonomy.channels[int(kind.argmax())].color
            return tuple(c / 255 for c in color) if any(color) else "#888888"
        return _FILLS[place % len(_FILLS)]


def _sets(axis: Any, allowed: np.ndarray, looks: _Looks) -> None:
    """Each set of channels that occurs, with its name below; the most frequent first."""
    kinds, where = np.unique(allowed.reshape(len(allowed), -1).T, axis=0, return_inverse=True)
    where = where.reshape(allowed.shape[1:])
    patches = []
    for kind in np.argsort(-np.bincount(where.ravel(), minlength=len(kinds))):
        fill, hatch, words = looks(kinds[kind])
        axis.contourf(np.where(where == kind, 1.0, 0.0), [0.5, 1.5], colors=[fill], hatches=[hatch])
        patches.append(Patch(facecolor=fill, edgecolor="black", hatch=hatch, label=words))
    axis.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=SIZE - 1, frameon=False,
                handlelength=2.2, handleheight=1.4)  # fmt: skip


def _named(kind: np.ndarray, taxonomy: Taxonomy) -> str:
    """The set in words: "tumour or any nucleus"."""
    if kind.all():
        return "anything: nothing is learnt here"
    chosen = [c for c, yes in zip(taxonomy.channels, kind, strict=True) if yes]
    names = [c.name for c in chosen]
    if taxonomy.num_things > 1 and set(taxonomy.things) <= set(chosen):
        name = taxonomy.unclassed.name if taxonomy.unclassed else "thing"
        names = [c.name for c in chosen if not c.isthing] + [f"any {name}"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def curves(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], across: str, up: str, log: bool = False,
           marks: Mapping[float, str] | None = None, top: float | None = None) -> Figure:
    """Lines over steps, told apart by colour, dashes and sign.

    Args:
        lines: name -> (steps, values); values that are not finite leave a gap.
        across, up: words at the axes.
        log: logarithmic values.
        marks: step -> words at a vertical line there.
        top: values above it leave the picture.
    """
    figure, axis = plt.subplots(figsize=(9, 4.2), dpi=110, layout="constrained")
    for (name, (xs, ys)), (color, dash, sign) in zip(lines.items(), LOOKS, strict=False):
        every = max(1, len(xs) // 12)
        axis.plot(xs, ys, color=color, ls=dash, marker=sign, markevery=every, ms=7, lw=2.6, label=name)
    for place, words in (marks or {}).items():
        axis.axvline(place, color="#555555", ls=":", lw=2)
        axis.annotate(words, (place, 0.97), xycoords=("data", "axes fraction"), xytext=(5, 0),
                      textcoords="offset points", va="top", fontsize=SIZE - 1)  # fmt: skip
    if top is not None:
        axis.set_ylim(min([v for _, ys in lines.values() for v in ys if np.isfinite(v)]) * 0.9, top)
    if log:
        _plain_log(axis)
    axis.set_xlabel(across, fontsize=SIZE)
    axis.set_ylabel(up, fontsize=SIZE)
    axis.tick_params(labelsize=SIZE - 1)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(fontsize=SIZE, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _plain_log(axis: Any) -> None:
    """A log axis whose ticks are numbers as people write them."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def three(image: np.ndarray, maps: Mapping[str, Panoptic], scale: int = 2) -> np.ndarray:
    """The same image under several maps, each with its title."""
    return titled([overlay(image, found, scale=scale, bar=False) for found in maps.values()], list(maps))
