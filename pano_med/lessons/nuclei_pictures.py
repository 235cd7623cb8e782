"""Pictures of lesson 06: close-ups, the steps of the watershed, sections, causes, curves, boxes, density maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from pano_med.lessons import classical
from pano_med.lessons.fields import Window, part
from pano_med.lessons.maps import titled
from pano_med.lessons.section import Block, Section
from pano_med.metrics import Separation
from pano_med.pictures import legend, overlay, scale_bar, stack
from pano_med.pictures.overlay import enlarge
from pano_med.types import OKABE_ITO, Panoptic

INK = {name: tuple(c / 255 for c in rgb) for name, rgb in OKABE_ITO.items()}
#: Look of each fate of a true nucleus: colour and hatching.
FATES = {
    "matched": (INK["blue"], ""),
    "merged": (INK["vermillion"], "//"),
    "split": (INK["sky"], "\\\\"),
    "missed": ((1.0, 1.0, 1.0), ""),
    "poor outline": (INK["yellow"], ".."),
}
_SIZE = 13


def labelled(image: np.ndarray, truth: Panoptic) -> np.ndarray:
    """The labels over the image, with a legend that can be read on a projector."""
    return stack([overlay(image, truth), legend(truth, image.shape[1], 30)])


def closeups(image: np.ndarray, places: Mapping[str, tuple[int, int]], pixel_size_um: float, side: int = 64,
             scale: int = 5) -> np.ndarray:
    """Windows around (row, column) places, enlarged, with titles and scale bars."""
    parts = []
    for row, column in places.values():
        top, left = (min(max(p - side // 2, 0), n - side) for p, n in zip((row, column), image.shape[:2], strict=True))
        parts.append(scale_bar(enlarge(image[top : top + side, left : left + side], scale), pixel_size_um / scale))
    return titled(parts, list(places))


def steps(image: np.ndarray, pixel_size_um: float, scale: int = 3) -> np.ndarray:
    """The watershed step by step: stain, mask, distance with its seeds, pieces; the image first."""
    rules, density = classical.Rules(), classical.haematoxylin(image)
    mask = classical.nuclear_mask(density, rules, pixel_size_um)
    peaks, distance = classical.seeds(mask, rules, pixel_size_um)
    grey = [np.clip(x / max(np.quantile(x, 0.998), 1e-9), 0, 1) for x in (density, distance)]
    dye, depth = (enlarge(np.repeat((255 * (1 - g)).astype(np.uint8)[..., None], 3, -1), scale) for g in grey)
    for row, column in peaks:
        r, c = (int((p + 0.5) * scale) for p in (row, column))
        for reach, colour in ((5, 255), (3, 0)):  # a black dot with a white rim
            depth[max(r - reach, 0) : r + reach, max(c - reach, 0) : c + reach] = colour
    pieces = classical.as_panoptic(classical.split_touching(mask, rules, pixel_size_um), pixel_size_um)
    black = enlarge(np.repeat(np.where(mask, 60, 255).astype(np.uint8)[..., None], 3, -1), scale)
    last = overlay(image, pieces, scale=scale, bar=False)
    found = scale_bar(enlarge(image, scale), pixel_size_um / scale)
    first = titled([found, dye, black], ["image", "1. haematoxylin", "2. above Otsu's cut"])
    return stack([first, titled([depth, last], [f"3. distance, {len(peaks)} seeds", "4. watershed"])])


def failures(image: np.ndarray, truth: Panoptic, found: Panoptic, errors: Separation, pixel_size_um: float,
             side: int = 64, scale: int = 4) -> np.ndarray:
    """One error of each kind: labels above, prediction below; the first of the list that lies inside the image."""
    ids = {
        "merged": [(truth, t) for m in errors.merges for t in m.truths[:1]],
        "split": [(truth, s.truth) for s in errors.splits],
        "missed": [(truth, t) for t in errors.missed],
        "invented": [(found, p) for p in errors.invented],
    }
    places = {kind: place for kind, rows in ids.items() if (place := _first_inside(rows, side)) is not None}
    whole = (slice(None), slice(None))
    drawn = [overlay(image, part(p, whole, things=True), bar=False, thickness=1) for p in (truth, found)]
    rows = [closeups(picture, places, pixel_size_um, side, scale) for picture in drawn] if places else [image[:64, :64]]
    return stack(rows)


def _first_inside(rows: Sequence[tuple[Panoptic, int]], side: int) -> tuple[int, int] | None:
    for panoptic, number in rows:
        place = np.argwhere(panoptic.ids == number).mean(0)
        if all(side / 2 <= p < n - side / 2 for p, n in zip(place, panoptic.size, strict=True)):
            return int(place[0]), int(place[1])
    return None


def section_figure(tissue: Block, sections: Mapping[float, Section], side: float = 100) -> Figure:
    """Each section from the side and from above; profiles that overlap have a thick red outline."""
    figure = Figure(figsize=(5.2 * len(sections), 7.4), layout="constrained")
    axes = figure.subplots(2, len(sections), height_ratios=(1, 2.6), squeeze=False)
    for column, (thickness, section) in enumerate(sections.items()):
        _from_side(axes[0, column], tissue, thickness, side)
        above = axes[1, column]
        for place, radius, over in zip(section.places, section.radii, section.overlaps, strict=True):
            edge, width = (INK["vermillion"], 2.5) if over else (INK["blue"], 1)
            above.add_patch(Circle(place[::-1], radius, facecolor=(*INK["blue"], 0.35), edgecolor=edge, lw=width))
        share = section.overlaps.mean() if len(section.overlaps) else 0
        above.set_title(f"from above: {share:.0%} overlap (thick outline)", fontsize=_SIZE)
        _frame(above, side, side)
    return figure


def _from_side(axes: Axes, tissue: Block, thickness: float, side: float) -> None:
    top = (tissue.size[0] - thickness) / 2
    near = np.abs(tissue.centres[:, 1] - side / 2) < 2.5  # a thin slice, or everything hides everything
    for depth, _, column in tissue.centres[near]:
        hit = top - tissue.diameter / 2 < depth < top + thickness + tissue.diameter / 2
        face = (*INK["blue"], 0.45) if hit else (0.85, 0.85, 0.85)
        axes.add_patch(Circle((column, depth), tissue.diameter / 2, facecolor=face, edgecolor="black", lw=0.6))
    axes.add_patch(Rectangle((0, top), side, thickness, facecolor="none", edgecolor="black", lw=2))
    axes.set_title(f"section of {thickness:g} µm, from the side", fontsize=_SIZE)
    _frame(axes, side, tissue.size[0])


def _frame(axes: Axes, width: float, height: float) -> None:
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal", xticks=[0, width / 2, width], yticks=[])
    axes.set_xlabel("µm", fontsize=_SIZE)


def fates_figure(found: Mapping[str, Separation]) -> Figure:
    """What became of the true nuclei by each method: bars of five kinds, told by hatching too."""
    figure = Figure(figsize=(9, 0.85 * len(found) + 1.6), layout="constrained")
    axes = figure.subplots()
    for line, separation in enumerate(found.values()):
        left = 0
        for kind, number in separation.causes().items():
            colour, hatch = FATES[kind]
            bar = axes.barh(line, number, left=left, color=colour, hatch=hatch, edgecolor="black",
                            label=kind if line == 0 else None)
            if number > 0.035 * separation.truths:
                axes.bar_label(bar, [str(number)], label_type="center", fontsize=_SIZE,
                               bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})
            left += number
    axes.set_yticks(range(len(found)), list(found), fontsize=_SIZE)
    axes.invert_yaxis()
    axes.set_xlim(0, max(s.truths for s in found.values()))
    axes.set_xlabel("labelled nuclei", fontsize=_SIZE)
    figure.legend(loc="outside upper center", ncols=5, fontsize=_SIZE - 1, frameon=False)
    return figure


def curves_figure(panels: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]]) -> Figure:
    """PQ against a knob: a line through the means, a dot for each painted field.

    Args:
        panels: label of the knob -> method -> value of the knob -> PQ of each field.
    """
    figure = Figure(figsize=(5.6 * len(panels), 4.4), layout="constrained")
    looks = [("blue", "o", "-"), ("vermillion", "s", "--"), ("black", "^", ":")]
    for axes, (label, methods) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for i, ((name, values), (colour, marker, line)) in enumerate(zip(methods.items(), looks, strict=False)):
            x = sorted(values)
            aside = 0.012 * (i - 1) * (x[-1] - x[0])  # dots of methods stand beside each other
            axes.plot(x, [np.mean(values[v]) for v in x], line, marker=marker, color=INK[colour], lw=2.5, label=name)
            dots = [(v + aside, pq) for v in x for pq in values[v]]
            axes.plot(*np.transpose(dots), marker, color=INK[colour], alpha=0.35, ms=5)
        axes.set(ylim=(0, 1))
        axes.set_xlabel(label, fontsize=_SIZE)
        axes.set_ylabel("PQ of nuclei", fontsize=_SIZE)
        axes.tick_params(labelsize=_SIZE - 1)
        axes.grid(alpha=0.3)
    lines = figure.axes[0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside upper center", ncols=3, fontsize=_SIZE, frameon=False)
    return figure


def boxes_and_masks(image: np.ndarray, panoptic: Panoptic, boxes: np.ndarray, window: Window,
                    scale: int = 4) -> np.ndarray:
    """Masks beside boxes in a window of one image.

    Args:
        image: (H, W, 3) uint8.
        panoptic: its map.
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the image, far edges exclusive.
        window: rows and columns to be shown.
        scale: how many times it is enlarged.
    """
    masks = overlay(image[window], part(panoptic, window), scale=scale, bar=False)
    framed = enlarge(image[window], scale)
    top, left = window[0].start, window[1].start
    for x0, y0, x1, y1 in ((np.asarray(boxes) - [left, top, left, top]) * scale).astype(int):
        for width, colour in ((4, (255, 255, 255)), (2, (0, 0, 0))):
            for edge in (_rows(y0, y0 + width, x0, x1), _rows(y1 - width, y1, x0, x1),
                         _rows(y0, y1, x0, x0 + width), _rows(y0, y1, x1 - width, x1)):
                framed[edge] = colour
    return titled([masks, framed], ["masks: one owner a pixel", "boxes: they overlap"])


def _rows(top: int, bottom: int, left: int, right: int) -> Window:
    """A window; what lies beyond the picture's upper left edge is cut off."""
    return slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))


def density_figure(image: np.ndarray, maps: Mapping[str, np.ndarray], pixel_size_um: float,
                   most: float = 4000) -> Figure:
    """The image, and under it a map for each kind of nucleus with one scale of colours up to `most` per mm2."""
    height, width = (n * pixel_size_um for n in image.shape[:2])
    figure = Figure(figsize=(11, 3.6 * (1 + len(maps))), layout="constrained")
    axes = figure.subplots(1 + len(maps), 1, squeeze=False)[:, 0]
    place = (0, width, height, 0)
    axes[0].imshow(image, extent=place)
    axes[0].set_title("H&E", fontsize=_SIZE)
    shown = None
    for ax, (name, values) in zip(axes[1:], maps.items(), strict=True):
        shown = ax.imshow(values, extent=place, cmap="cividis", vmin=0, vmax=most)
        rows, columns = ((np.arange(n) + 0.5) * pixel_size_um for n in values.shape)
        ax.contour(columns, rows, values, levels=[most / 4, most / 2], colors="white", linewidths=(1.2, 2.4))
        ax.set_title(name, fontsize=_SIZE)
    for ax in axes:
        ax.set_ylabel("µm", fontsize=_SIZE)
        ax.tick_params(labelsize=_SIZE - 2)
    if shown is not None:
        bar = figure.colorbar(shown, ax=list(axes[1:]), shrink=0.8)
        bar.set_label("nuclei per mm² of tissue", fontsize=_SIZE)
        bar.ax.tick_params(labelsize=_SIZE - 1)
    return figure
