"""From files and truths to what a network trains on, and from its predictions to a map: MONAI transforms."""

from pano_med.transforms.fusing import FusePanoptic, FusePanopticd, MergeHeuristic, MergeHeuristicd
from pano_med.transforms.geometry import RandScaleCropd, ScaleTod, unit_image, window
from pano_med.transforms.loading import LoadPanopticd
from pano_med.transforms.macenko import MacenkoNormalized, macenko_normalize, stain_vectors
from pano_med.transforms.pipeline import eval_pipeline, to_pair, train_pipeline
from pano_med.transforms.stain import RUIFROK, RandHEDJitterd, RandPhotometricd, jitter_hed, optical_density
from pano_med.transforms.targets import (
    SPATIAL,
    PanopticTargetsd,
    allowed_channels,
    collate,
    panoptic_targets,
    things_known,
    to_dict,
)

__all__ = [
    "RUIFROK",
    "SPATIAL",
    "FusePanoptic",
    "FusePanopticd",
    "LoadPanopticd",
    "MacenkoNormalized",
    "MergeHeuristic",
    "MergeHeuristicd",
    "PanopticTargetsd",
    "RandHEDJitterd",
    "RandPhotometricd",
    "RandScaleCropd",
    "ScaleTod",
    "allowed_channels",
    "collate",
    "eval_pipeline",
    "jitter_hed",
    "macenko_normalize",
    "optical_density",
    "panoptic_targets",
    "stain_vectors",
    "things_known",
    "to_dict",
    "to_pair",
    "train_pipeline",
    "unit_image",
    "window",
]
