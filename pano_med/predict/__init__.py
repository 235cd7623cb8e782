"""From an image to a panoptic map in one call."""

from pano_med.predict.familiar import strangeness
from pano_med.predict.heads import between_heads
from pano_med.predict.scale import estimate_mpp
from pano_med.predict.segmenter import Segmented, Segmenter, load_segmenter, pick_device

__all__ = [
    "Segmented",
    "Segmenter",
    "between_heads",
    "estimate_mpp",
    "load_segmenter",
    "pick_device",
    "strangeness",
]
