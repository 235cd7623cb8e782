"""How good is a map? PQ by the COCO rule, the field's other conventions, and confidence intervals. NumPy, no torch."""

from pano_med.metrics.bootstrap import Interval, bootstrap, paired_bootstrap
from pano_med.metrics.compare import Report, evaluate
from pano_med.metrics.conventions import CONVENTIONS, Convention
from pano_med.metrics.quality import PQCounts, merge_things, panoptic_quality, things_only, things_quality, total
from pano_med.metrics.record import Record

__all__ = [
    "CONVENTIONS",
    "Convention",
    "Interval",
    "PQCounts",
    "Record",
    "Report",
    "bootstrap",
    "evaluate",
    "merge_things",
    "paired_bootstrap",
    "panoptic_quality",
    "things_only",
    "things_quality",
    "total",
]
