"""The full-size maps that a merge paints on, box by box; no instance is ever blown up to the image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pano_med.fusion.candidates import Candidates
from pano_med.fusion.paste import Window, pasted, windows
from pano_med.fusion.rules import MergeRules
from pano_med.fusion.trace import Fused, FusionTrace, TraceLayer
from pano_med.types import Panoptic, Prediction

#: Pixels that are compared plane by plane in one go; a few such strips fit into a processor's cache.
STRIP = 1 << 15


class Canvas:
    """The running state of one merge. It lives in NumPy on the CPU, where a thousand small steps cost least.

    Attributes:
        logits: (K, H, W) semantic logits, float32 or float64, never written to.
        channels: category id -> channel of `logits`.
        best: (H, W) float, largest logit so far; starts as the best stuff logit.
        label: (H, W) int32, who holds it: 0 nobody, 1 + c stuff channel c, 1 + num_stuff + k layer k.
        occupied: (H, W) bool, union of the masks of all layers.
        leftover: (H, W) bool, where a thing channel beats all stuff; None unless somebody needs it.
        layers: indices of the instances that compete, best score first.
        dropped: reasons of the others.
    """

    def __init__(self, prediction: Prediction, chosen: Candidates, rules: MergeRules, trace: bool) -> None:
        self.prediction, self.chosen, self.rules, self.trace = prediction, chosen, rules, trace
        self.num_stuff, semantic = prediction.taxonomy.num_stuff, prediction.semantic_logits.detach()
        self.dtype = torch.float64 if semantic.dtype == torch.float64 else torch.float32
        self.logits: np.ndarray = semantic.to("cpu", self.dtype).numpy()  # no copy of float32 on the CPU
        self.channels = {c.id: k for k, c in enumerate(prediction.taxonomy.channels)}
        self.best, self.label = best_of(self.logits[: self.num_stuff])
        self.occupied = np.zeros(prediction.size, bool)
        self.leftover: np.ndarray | None = None
        if trace or rules.leftovers == "void":
            self.leftover = np.zeros(prediction.size, bool)
            for plane in self.logits[self.num_stuff :]:
                self.leftover |= plane > self.best
        self.layers: list[int] = []
        self.dropped = dict(chosen.dropped)
        self.pictures: list[TraceLayer] = []

    @property
    def next_label(self) -> int:
        """The label of the layer that is painted next."""
        return 1 + self.num_stuff + len(self.layers)

    def candidates(self, gain: float = 1.0) -> Iterator[tuple[int, Window, Tensor]]:
        """(index, window, (h, w) mask logits times `gain`) of each chosen instance, best score first.

        Those whose window holds no pixel are dropped.
        """
        found = self.prediction.instances
        spans = windows(found.boxes, self.prediction.size)
        self.dropped |= {i: "empty" for i in self.chosen.after_nms if spans[i].is_empty}
        masks = found.mask_logits.detach().to("cpu", self.dtype) * gain
        for index, logits in pasted(masks, spans, self.chosen.after_nms):
            yield index, spans[index], logits

    def admits(self, index: int, mask: np.ndarray, window: Window, keep_empty: bool = False) -> bool:
        """Whether instance `index` competes, by the share of its (h, w) bool mask that is taken; remembers a no."""
        taken = self.occupied[window.slices]
        area = np.count_nonzero(mask)
        if area == 0 and not keep_empty:
            self.dropped[index] = "empty"
        elif area and np.count_nonzero(mask & taken) / area > self.rules.overlap:
            self.dropped[index] = "overlap"
        return index not in self.dropped

    def give(self, wins: np.ndarray, window: Window) -> None:
        """Write the next label into the (h, w) bool pixels `wins` of a window."""
        label = self.label[window.slices]
        np.maximum(label, wins * np.int32(self.next_label), out=label)  # labels only rise, so the largest is the latest

    def add(self, index: int, mask: np.ndarray, window: Window, *logits: Tensor) -> None:
        """Count an instance as a layer: its mask is occupied from now on, its `logits` go into the trace."""
        self.occupied[window.slices] |= mask
        self.layers.append(index)
        if self.trace:
            corners = (window.y0, window.x0, window.y1, window.x1)
            self.pictures.append(TraceLayer(index, corners, *(a.numpy().copy() for a in logits)))

    def finish(self) -> Fused:
        """Number the winners, let small stuff become void, and hand over."""
        label = self.label
        painted = self._without_leftovers(label)
        counts = torch.from_numpy(painted).view(-1).bincount(minlength=self.next_label).numpy()
        ids = self._ids(counts)
        kept = {i: int(ids[1 + self.num_stuff + k]) for k, i in enumerate(self.layers) if ids[1 + self.num_stuff + k]}
        lost = dict.fromkeys([i for i in self.layers if i not in kept], "lost every pixel")
        final = torch.from_numpy(ids).index_select(0, torch.from_numpy(painted).view(-1)).numpy()
        panoptic = self._panoptic(final.reshape(label.shape), ids, counts, kept)
        dropped = dict(sorted((self.dropped | lost).items()))
        return Fused(panoptic, kept, dropped, self._trace(label, ids, panoptic) if self.trace else None)

    def _without_leftovers(self, label: np.ndarray) -> np.ndarray:
        if self.rules.leftovers == "stuff" or self.leftover is None:
            return label
        return np.where(self.leftover & (label <= self.num_stuff), 0, label)

    def _ids(self, areas: np.ndarray) -> np.ndarray:
        """Label -> segment id: things first, best score first, then stuff; 0 for the lost and the small."""
        alive, first = areas > 0, 1 + self.num_stuff
        limit = self.rules.stuff_limit_px(self.prediction.size, self.prediction.pixel_size_um)
        alive[1:first] &= areas[1:first] >= limit
        alive[0] = False
        ids = np.zeros(len(areas), np.int32)
        in_order = [*range(first, len(areas)), *range(1, first)]
        winners = [v for v in in_order if alive[v]]
        ids[winners] = np.arange(1, len(winners) + 1)
        return ids

    def _panoptic(self, final: np.ndarray, ids: np.ndarray, counts: np.ndarray, kept: dict[int, int]) -> Panoptic:
        found, taxonomy = self.prediction.instances, self.prediction.taxonomy
        categories, scores = found.category_ids.tolist(), found.scores.tolist()
        table = {int(ids[1 + c]): category.id for c, category in enumerate(taxonomy.stuff) if ids[1 + c]}
        table |= {segment: categories[i] for i, segment in kept.items()}
        confidence = {segment: scores[i] for i, segment in kept.items()}
        areas = {int(i): int(n) for i, n in zip(ids, counts, strict=True) if i}
        return Panoptic._of_areas(final, areas, table, taxonomy, self.prediction.pixel_size_um, confidence)

    def _trace(self, label: np.ndarray, ids: np.ndarray, panoptic: Panoptic) -> FusionTrace:
        channels = np.array([c.id for c in self.prediction.taxonomy.channels], np.int32)
        assert self.leftover is not None  # made at the start whenever a trace is asked for
        return FusionTrace(
            self.chosen.after_score,
            self.chosen.after_nms,
            tuple(self.layers),
            channels[self.logits.argmax(0)],
            tuple(self.pictures),
            label.copy(),
            np.where(label > self.num_stuff, ids[label], 0).astype(np.int32),
            self.leftover & (label <= self.num_stuff),
            panoptic.ids == 0,
            panoptic.ids,
        )


def best_of(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest of K planes in each pixel, and 1 + the plane that holds it (the first of equals).

    Args:
        planes: (K, H, W) float; K may be 0.

    Returns:
        (H, W) float, -inf where there is no plane, and (H, W) int32, 0 there.
    """
    size = planes.shape[1:]
    if not len(planes):
        return np.full(size, -np.inf, planes.dtype), np.zeros(size, np.int32)
    best, label = planes[0].copy(), np.ones(size, np.int32)
    step = max(1, STRIP // max(1, size[1]))
    for top in range(0, size[0], step):  # strip by strip, all planes while it is in the cache
        rows = slice(top, top + step)
        for number, plane in enumerate(planes[1:, rows], start=2):
            np.maximum(label[rows], (plane > best[rows]) * np.int32(number), out=label[rows])  # numbers only rise
            np.maximum(best[rows], plane, out=best[rows])
    return best, label


def outermost(windows: list[Window], size: tuple[int, int]) -> list[tuple[slice, slice, int]]:
    """Rectangles that tell which layer is the first whose window does not hold a pixel.

    A pixel has first absentee k when it lies in windows 0..k-1 and not in k. Windows 0..k-1 meet in one rectangle,
    so painting k into the rectangles in this order answers the question for every pixel.
    """
    y0, x0, y1, x1 = 0, 0, *size
    corners = [(y0, x0, y1, x1)]
    for w in windows:
        y0, x0, y1, x1 = max(y0, w.y0), max(x0, w.x0), min(y1, w.y1), min(x1, w.x1)
        if y1 <= y0 or x1 <= x0:
            break
        corners.append((y0, x0, y1, x1))
    return [(slice(a, c), slice(b, d), k) for k, (a, b, c, d) in enumerate(corners)]
