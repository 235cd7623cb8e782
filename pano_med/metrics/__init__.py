"""How good is a map? PQ by the COCO rule, the field's other conventions, and confidence intervals. NumPy, no torch."""

from pano_med.metrics.bootstrap import Interval, bootstrap, paired_bootstrap
from pano_med.metrics.calibration import Reliability, reliability
from pano_med.metrics.compare import Report, evaluate
from pano_med.metrics.contradictions import Contradictions, Story, contradiction_map
from pano_med.metrics.conventions import CONVENTIONS, Convention
from pano_med.metrics.quality import PQCounts, panoptic_quality, things_only, things_quality, total
from pano_med.metrics.record import Record
from pano_med.metrics.separation import Merge, Separation, Split, separation_errors
from pano_med.metrics.things import ThingTable, things_table

__all__ = [
    "CONVENTIONS",
    "Contradictions",
    "Convention",
    "Interval",
    "Merge",
    "PQCounts",
    "Record",
    "Reliability",
    "Report",
    "Separation",
    "Split",
    "Story",
    "ThingTable",
    "bootstrap",
    "contradiction_map",
    "evaluate",
    "paired_bootstrap",
    "panoptic_quality",
    "reliability",
    "separation_errors",
    "things_only",
    "things_quality",
    "things_table",
    "total",
]
