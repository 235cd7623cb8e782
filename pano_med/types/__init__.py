"""The doors of the package: every image, prediction and panoptic map passes through one of these.

All of them are frozen dataclasses that check themselves when they are made, so code behind a door never checks
again. This module imports neither torch nor MONAI: `Sample`, `Instances` and `Prediction` *hold* torch tensors but
only look at their shapes.

Conventions everywhere: rows before columns, (H, W); boxes are xyxy in pixels with the far edge exclusive, so a box
that covers one pixel at row 2, column 5 is (5, 2, 6, 3); `pixel_size_um` is the side of a pixel in micrometres.
"""

from pano_med.types.panoptic import Panoptic, Segment, check_pixel_size, count_ids
from pano_med.types.taxonomy import DEMONSTRATION, HE_CORE, OKABE_ITO, Category, Taxonomy
from pano_med.types.tensors import Instances, LazySample, Prediction, Sample

__all__ = [
    "DEMONSTRATION",
    "HE_CORE",
    "OKABE_ITO",
    "Category",
    "Instances",
    "LazySample",
    "Panoptic",
    "Prediction",
    "Sample",
    "Segment",
    "Taxonomy",
    "check_pixel_size",
    "count_ids",
]
