"""The heuristic merge of Kirillov et al., "Panoptic Segmentation" (CVPR 2019): things in score order, then stuff."""

from __future__ import annotations

import torch

from pano_med.fusion.candidates import check_prediction, select
from pano_med.fusion.canvas import Canvas
from pano_med.fusion.rules import HeuristicRules
from pano_med.fusion.trace import Fused
from pano_med.types import Prediction

DEFAULT_RULES = HeuristicRules()


@torch.inference_mode()
def merge_heuristic(prediction: Prediction, rules: HeuristicRules = DEFAULT_RULES, trace: bool = False) -> Fused:
    """Merge stuff and things into one panoptic map by the rule of Kirillov et al.

    In score order each instance writes its mask (logit above 0) into the pixels that are still free, unless too much
    of it is taken. What is left goes to the class with the largest semantic logit if that is stuff. The two heads
    never talk to each other, which is what the fusion of EfficientPS changed.

    Args:
        prediction: semantic logits and instances of one image, on any device (the merge runs on the CPU); not edited.
        rules: every number and choice, see `HeuristicRules`.
        trace: also return every intermediate picture; ML_B and FL do not exist here and are None.

    Raises:
        ValueError: as `fuse`.
    """
    check_prediction(prediction)
    canvas = Canvas(prediction, select(prediction.instances, rules), rules, trace)
    for index, window, logits in canvas.candidates():
        mask = (logits > 0).numpy()
        if canvas.admits(index, mask, window):
            canvas.give(mask & ~canvas.occupied[window.slices], window)
            canvas.add(index, mask, window, logits)
    return canvas.finish()
