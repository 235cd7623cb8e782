"""What a merge gives back: the map, who owns it, and on request every picture on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pano_med.types import Panoptic


@dataclass(frozen=True, eq=False)
class TraceLayer:
    """One instance that competed, in the pixels of its window.

    Attributes:
        instance: its index in the prediction.
        window: (y0, x0, y1, x1), whole pixels, far ends excluded.
        mask_logits: (h, w) float, ML_A of the paper: pasted mask logits times `mask_gain`.
        semantic_logits: (h, w) float, ML_B of the paper; None in the heuristic merge, which does not look at it.
        fused_logits: (h, w) float, FL of the paper, -inf where the instance may not compete; None there too.
    """

    instance: int
    window: tuple[int, int, int, int]
    mask_logits: np.ndarray
    semantic_logits: np.ndarray | None = None
    fused_logits: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class FusionTrace:
    """Every intermediate picture of one merge, in the order in which they are made. All arrays are NumPy.

    Attributes:
        after_score: instances after the score cut, best first.
        after_nms: instances after class-wise NMS, best first.
        after_overlap: instances that competed, best first; the order of `layers`.
        semantic: (H, W) int32, category with the largest semantic logit.
        layers: what each competing instance brought.
        intermediate: (H, W) int32, winner of each pixel before any cleaning: 1 + c for stuff channel c,
            1 + num_stuff + k for layer k, 0 where the taxonomy has no stuff and no instance came.
        things: (H, W) int32, canvas after the things: segment ids, 0 elsewhere.
        leftovers: (H, W) bool, pixels where the semantic head sees a thing but no instance took the pixel.
        void: (H, W) bool, pixels without a segment in the end.
        final: (H, W) int32, the finished map, the same array as `Fused.panoptic.ids`.
    """

    after_score: tuple[int, ...]
    after_nms: tuple[int, ...]
    after_overlap: tuple[int, ...]
    semantic: np.ndarray
    layers: tuple[TraceLayer, ...]
    intermediate: np.ndarray
    things: np.ndarray
    leftovers: np.ndarray
    void: np.ndarray
    final: np.ndarray


@dataclass(frozen=True, eq=False)
class Fused:
    """The result of a merge.

    Attributes:
        panoptic: the map. Things have ids 1..T, best score first; then one segment for each stuff class.
        kept: index of an instance in the prediction -> the id of the segment it owns.
        dropped: index of each other instance -> "score", "nms", "empty", "overlap" or "lost every pixel".
        trace: every intermediate picture if asked for, else None.
    """

    panoptic: Panoptic
    kept: Mapping[int, int]
    dropped: Mapping[int, str]
    trace: FusionTrace | None = None
