"""The field's conventions in one table: each row says exactly what is measured, how images are pooled, and whose it is.

A row is a function of one image (`measure`, run once) and a function of all images (`pool`, cheap, so that a bootstrap
can repeat it). `CONVENTIONS["AJI"](records)` gives the number for a list of `Record`s.

What the rows share. A match is IoU > 0.5, strictly. Rows of histology know things only: stuff and void are background
there, crowds and ignored pixels are not judged. Scores are 0..1, except R2, which has no lower end. A mean over images
leaves out images whose score is nan. The small constants (1e-6) that some scripts add to denominators are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pano_med.metrics import nuclei
from pano_med.metrics.pooling import (
    NAN,
    by_tissue,
    detection_f1,
    mean,
    pooled,
    r2_of_counts,
    typed_f1,
    typed_of_drawn,
    untyped_of_drawn,
    untyped_or_zero,
)
from pano_med.metrics.record import Record
from pano_med.metrics.rules import dagger_count, torchmetrics_count


@dataclass(frozen=True)
class Convention:
    """One row of the table.

    Attributes:
        measure: what is kept of one image.
        pool: from the list of these to the number; nan where there is nothing to score.
        definition: what the number is.
        source: whose rule it is.
        empty: the value for a single image of things on unlabelled ground: (no truth, no prediction, neither).
    """

    measure: Callable[[Record], Any]
    pool: Callable[[Sequence[Any]], float]
    definition: str
    source: str
    empty: tuple[float, float, float]

    def __call__(self, records: Sequence[Record]) -> float:
        """The number for a list of images; nan for an empty list."""
        return self.pool([self.measure(record) for record in records])


_COCO = "Kirillov et al. 2019, as panopticapi counts"
_CONIC = "CoNIC challenge, Graham et al. 2021"
_PANNUKE = "PanNuke, Gamper et al. 2020"
_HOVER = "HoVer-Net, Graham et al. 2019"

#: Every convention by name, in the order of reports.
CONVENTIONS: dict[str, Convention] = {
    "PQ": Convention(
        attrgetter("coco"),
        pooled("all", 0),
        "TP, FP, FN and IoU summed over images; sum IoU / (TP + FP/2 + FN/2), mean over the classes that occur. "
        "The truth's void is not judged; what the prediction leaves void is missed.",
        _COCO,
        (NAN, 0, NAN),
    ),
    "SQ": Convention(
        attrgetter("coco"),
        pooled("all", 1),
        "Mean IoU of the matches by PQ's counts, 0 without a match; mean over the classes that occur.",
        _COCO,
        (NAN, 0, NAN),
    ),
    "RQ": Convention(
        attrgetter("coco"),
        pooled("all", 2),
        "TP / (TP + FP/2 + FN/2) by PQ's counts; mean over the classes that occur.",
        _COCO,
        (NAN, 0, NAN),
    ),
    "PQ things": Convention(
        attrgetter("coco"), pooled("things", 0), "PQ, mean over the things that occur.", _COCO, (NAN, 0, NAN)
    ),
    "PQ stuff": Convention(
        attrgetter("coco"), pooled("stuff", 0), "PQ, mean over the stuff that occurs.", _COCO, (NAN, NAN, NAN)
    ),
    "PQ things untyped": Convention(
        attrgetter("untyped"),
        pooled("things", 0),
        "All things as one class, counts summed over images; whatever is no thing in the truth is background, so a "
        "thing predicted there is wrong.",
        "the COCO rule for sets that draw every nucleus",
        (0, 0, NAN),
    ),
    "PQ (torchmetrics)": Convention(
        lambda record: torchmetrics_count(record.pairs),
        pooled("all", 0),
        "As PQ, but void of the prediction is left out of the union too, and a true segment more than half void in "
        "the prediction is no miss (a model gains by abstaining); crowds are ordinary; a stuff class is one segment.",
        "torchmetrics 1.9 PanopticQuality",
        (NAN, NAN, NAN),
    ),
    "PQ dagger": Convention(
        lambda record: dagger_count(record.pairs),
        pooled("all", 0),
        "Things as PQ; stuff needs no match: sum of IoU / number of true segments; mean over the classes that occur.",
        "Seamless Scene Segmentation, Porzi et al. 2019",
        (NAN, 0, NAN),
    ),
    "bPQ (PanNuke)": Convention(
        untyped_of_drawn,
        by_tissue,
        "PQ of all nuclei as one class per image; an image without true nuclei is left out, its false positives with "
        "it; mean over the images of a tissue, then over tissues.",
        _PANNUKE,
        (NAN, 0, NAN),
    ),
    "mPQ (PanNuke)": Convention(
        typed_of_drawn,
        by_tissue,
        "Per image the mean PQ over the classes that its truth has, false positives of other classes vanish; mean over "
        "the images of a tissue, then over tissues.",
        _PANNUKE,
        (NAN, 0, NAN),
    ),
    "mPQ+ (CoNIC)": Convention(
        attrgetter("typed"),
        pooled("things", 0),
        "TP, FP, FN and IoU per class summed over all images, PQ per class, mean over the classes that occur (the "
        "challenge's script scores a class that never occurs 0).",
        _CONIC,
        (0, 0, NAN),
    ),
    "PQ (CoNIC)": Convention(
        untyped_or_zero,
        mean,
        "PQ of all nuclei as one class per image, mean over images; an image empty in both maps scores 0.",
        _CONIC,
        (0, 0, 0),
    ),
    "AJI": Convention(
        nuclei.aji,
        mean,
        "Each true nucleus takes its best prediction by IoU, others may take it too: sum of intersections / (sum of "
        "unions + area of predictions that nobody took); mean over images.",
        "Kumar et al. 2017",
        (0, 0, NAN),
    ),
    "AJI+": Convention(
        nuclei.aji_plus,
        mean,
        "AJI with one-to-one pairs, chosen for the greatest sum of IoU; mean over images.",
        _HOVER,
        (0, 0, NAN),
    ),
    "Dice": Convention(
        nuclei.dice,
        mean,
        "2 |T and P| / (|T| + |P|) of all nuclear pixels; mean over images.",
        "Dice 1945",
        (0, 0, NAN),
    ),
    "Dice2": Convention(
        nuclei.dice2,
        mean,
        "Over every pair (t, p) that overlaps: 2 sum |t and p| / sum (|t| + |p|); mean over images.",
        "Vu et al. 2019, as in HoVer-Net's script",
        (0, 0, NAN),
    ),
    "F1 detection": Convention(
        nuclei.detection,
        detection_f1,
        "Centroids matched one-to-one within 3 um (12 px where the pixel size is unknown), as many pairs as possible: "
        "2 TP / (2 TP + FP + FN), summed over images.",
        _HOVER,
        (0, 0, NAN),
    ),
    "F1 typed": Convention(
        nuclei.detection,
        typed_f1,
        "Of the pairs of F1 detection, per class c: 2 TPc / (2 TPc + 2 FPc + 2 FNc + FPd + FNd), with c on the wrong "
        "side of a pair (FPc, FNc) or without a pair (FPd, FNd); mean over the classes that the truth has.",
        _HOVER,
        (NAN, 0, NAN),
    ),
    "R2 of counts": Convention(
        nuclei.thing_counts,
        r2_of_counts,
        "1 - squared error / spread of the number of nuclei per image, mean over the classes that occur; a class "
        "without spread scores 1 if every count is right, else 0; at least two images.",
        _CONIC,
        (NAN, NAN, NAN),
    ),
}
