"""The two-stage panoptic fusion of EfficientPS (Mohan and Valada, IJCV 2021), box by box.

Stage one asks which instances compete: score cut, class-wise NMS, overlap of masks. Stage two asks who gets each
pixel: the stuff logits against FL of every instance, where

    FL = (sigmoid(ML_A) + sigmoid(ML_B)) * (ML_A + ML_B)

joins the instance's mask logit ML_A and the semantic logit ML_B of its class. The largest wins; softmax would change
nothing but make ties in float32. Of equal values stuff wins, then the instance with the better score.

The published description stacks one full image per instance. Here each instance meets the running winner in the
window of its box only, so memory grows with the largest box and time with the sum of box areas.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pano_med.fusion.candidates import check_prediction, select
from pano_med.fusion.canvas import Canvas, outermost
from pano_med.fusion.paste import Window
from pano_med.fusion.rules import FusionRules
from pano_med.fusion.trace import Fused
from pano_med.types import Prediction

DEFAULT_RULES = FusionRules()


@torch.inference_mode()
def fuse(prediction: Prediction, rules: FusionRules = DEFAULT_RULES, trace: bool = False) -> Fused:
    """Merge stuff and things into one panoptic map by the EfficientPS rule.

    An instance of the taxonomy's `unclassed` category has no semantic channel of its own; its ML_B is the largest
    thing logit of each pixel ("some thing, type unknown").

    Args:
        prediction: semantic logits and instances of one image, on any device (the merge runs on the CPU); not edited.
        rules: every number and choice, see `FusionRules`.
        trace: also return every intermediate picture (slower, needs memory for each box).

    Raises:
        ValueError: a logit, box or score that is NaN or infinite (the message names the channel or instance), a score
            outside 0..1, or a category that is no thing of the taxonomy.
    """
    check_prediction(prediction)
    canvas = Canvas(prediction, select(prediction.instances, rules), rules, trace)
    categories = prediction.instances.category_ids.tolist()
    spans = []
    for index, window, ml_a in canvas.candidates(rules.mask_gain):
        mask = (ml_a > 0).numpy()
        if canvas.admits(index, mask, window, rules.keep_empty):
            _compete(canvas, index, categories[index], mask, ml_a, window, rules)
            spans.append(window)
    if rules.outside == "zero" and not rules.confine_positive:
        _compete_outside(canvas, spans)
    return canvas.finish()


def fused_logits(mask_logits: Tensor, semantic_logits: Tensor) -> Tensor:
    """FL of the paper for two arrays of logits of one shape.

    Where both agree that a pixel is inside, FL is about twice their sum; where they disagree, it is damped. It is
    *not* monotone: for ever more negative logits it returns to 0 from below, FL(-10, -10) = -0.0018.
    """
    return (mask_logits.sigmoid() + semantic_logits.sigmoid()) * (mask_logits + semantic_logits)


def _compete(
    canvas: Canvas, index: int, category: int, mask: np.ndarray, ml_a: Tensor, window: Window, rules: FusionRules
) -> None:
    """Let one instance take the pixels of its window in which its FL is larger than everything before it."""
    ml_b = torch.from_numpy(_semantic_in_box(canvas, category, window))
    if rules.shrink_box:
        ml_b = _zero_rim(ml_b, window)
    fl = fused_logits(ml_a, ml_b)
    if rules.confine_positive:
        fl = fl.masked_fill(ml_a + ml_b <= 0, -torch.inf)
    best, mine = canvas.best[window.slices], fl.numpy()
    canvas.give(mine > best, window)
    np.maximum(best, mine, out=best)
    canvas.add(index, mask, window, ml_a, ml_b, fl)


def _semantic_in_box(canvas: Canvas, category: int, window: Window) -> np.ndarray:
    taxonomy, (rows, columns) = canvas.prediction.taxonomy, window.slices
    if taxonomy.unclassed is not None and category == taxonomy.unclassed.id:
        ml_b: np.ndarray = canvas.logits[taxonomy.num_stuff :, rows, columns].max(0)
        return ml_b
    return canvas.logits[canvas.channels[category], rows, columns]


def _zero_rim(ml_b: Tensor, window: Window) -> Tensor:
    """Zero the rows and columns that the official code's smaller box leaves out (see `FusionRules.shrink_box`)."""
    inner = ml_b.clone()
    inner[: max(int(window.box[1] + 1) - window.y0, 0)] = 0
    inner[:, : max(int(window.box[0] + 1) - window.x0, 0)] = 0
    return inner


def _compete_outside(canvas: Canvas, spans: list[Window]) -> None:
    """Give FL = 0 outside the box its due: of all layers absent from a pixel, the first takes part with value 0."""
    first = canvas.num_stuff + 1
    absent = np.zeros_like(canvas.label)
    for rows, columns, k in outermost(spans, canvas.prediction.size):
        absent[rows, columns] = first + k
    wins = (canvas.best < 0) | ((canvas.best == 0) & (absent < canvas.label))
    wins &= absent < canvas.next_label
    np.copyto(canvas.label, absent, where=wins)
