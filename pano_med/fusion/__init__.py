"""From the outputs of two heads to one panoptic map, without a single learned parameter.

`fuse` is the two-stage rule of EfficientPS, `merge_heuristic` the older rule of Kirillov et al. Both take a
`Prediction` and give a `Fused`. Knows `pano_med.types` alone.
"""

from pano_med.fusion.heuristic import merge_heuristic
from pano_med.fusion.rules import FusionRules, HeuristicRules, MergeRules
from pano_med.fusion.trace import Fused, FusionTrace, TraceLayer
from pano_med.fusion.two_stage import fuse, fused_logits

__all__ = [
    "Fused",
    "FusionRules",
    "FusionTrace",
    "HeuristicRules",
    "MergeRules",
    "TraceLayer",
    "fuse",
    "fused_logits",
    "merge_heuristic",
]
