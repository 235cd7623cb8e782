"""How good is a map? PQ by the COCO rule, the field's other conventions, and confidence intervals. NumPy, no torch."""

from pano_med.metrics.bootstrap import Interval, bootstrap, paired_bootstrap
from pano_med.metrics.compare import Report, evaluate
from pano_med.metrics.contradictions import Contradictions, Story, contradiction_map
from pano_med.metrics.conventions import CONVENTIONS, Convention
from pano_med.metrics.quality import PQCounts, merge_things, panoptic_quality, things_only, things_quality, total
from pano_med.metrics.record import Record
from pano_med.metrics.separation import Merge, Separation, Split, separation_errors

__all__ = [
    "CONVENTIONS",
    "Contradictions",
    "Convention",
    "Interval",
    "Merge",
    "PQCounts",
    "Record",
    "Report",
    "Separation",
    "Split",
    "Story",
    "bootstrap",
    "contradiction_map",
    "evaluate",
    "merge_things",
    "paired_bootstrap",
    "panoptic_quality",
    "separation_errors",
    "things_only",
    "things_quality",
    "total",
]
