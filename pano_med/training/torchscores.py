"""mAP of things and mIoU of classes through torchmetrics, beside the conventions of `pano_med.metrics`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from scipy.ndimage import find_objects
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.detection import MeanAveragePrecision

from pano_med.metrics.overlap import check_pair, check_taxonomies, overlap
from pano_med.metrics.quality import things_only
from pano_med.types import Panoptic, Segment, Taxonomy

_AP = (
    "torchmetrics MeanAveragePrecision on masks; void is background, crowds are ignored, every detection counts; "
    "undefined if a thing has no score"
)
#: Detections counted per island and class: all of them.
_MANY = 1_000_000
_DEFINITIONS = {
    "mAP": f"Average precision of things, mean over IoU 0.50, 0.55 .. 0.95 and over the classes of the truth ({_AP}).",
    "AP50": f"The same at IoU 0.50 ({_AP}).",
    "mIoU": "Pixels of all images together: intersection / union of each class, mean over the classes that occur; the "
    "truth's void is left out, predicted void costs (torchmetrics MulticlassJaccardIndex).",
}


def torch_scores(pairs: Iterable[tuple[str, Panoptic, Panoptic]]) -> list[tuple[str, float, str]]:
    """(name, value, definition) of mAP, AP50 and mIoU over all images, as `pano_med.metrics.Report.table` has them.

    Average precision ranks detections by score, so it is nan if a predicted thing has none. An image is handed to
    torchmetrics island by island (things that overlap, cropped), which gives the same number as whole images do and
    spares one full-size mask per nucleus.

    Args:
        pairs: (name, truth, prediction) of each image; they are looked at one after the other.

    Raises:
        ValueError: no pairs, or truth and prediction differ in size or taxonomy.
    """
    ap, iou, taxonomy, scored, labelled = _precision(), None, None, True, False
    for name, truth, prediction in pairs:
        taxonomy = taxonomy or truth.taxonomy
        iou = iou or MulticlassJaccardIndex(len(taxonomy.all) + 1, ignore_index=Taxonomy.VOID)
        _check(name, taxonomy, truth, prediction)
        labelled |= bool(truth.segments)
        iou.update(_classes(prediction), _classes(truth))
        scored &= all(s.score is not None for s in prediction.things)
        for detections, objects in islands(truth, prediction) if scored else ():
            ap.update([detections], [objects])
    if iou is None:
        raise ValueError("scores need at least one pair of truth and prediction, got none")
    every, at_half = _average(ap) if scored else (math.nan, math.nan)
    values = {"mAP": every, "AP50": at_half, "mIoU": float(iou.compute()) if labelled else math.nan}
    return [(name, value, _DEFINITIONS[name]) for name, value in values.items()]


def islands(truth: Panoptic, prediction: Panoptic) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """(detections, objects) of each island of overlapping things, in the form that torchmetrics reads.

    Detections need scores. Masks are bool (N, h, w) in the island's own frame.
    """
    truth, prediction = things_only(truth), things_only(prediction)
    num_t, num_p = len(truth.segments), len(prediction.segments)
    if not num_t + num_p:
        return
    pairs = overlap(truth, prediction)
    both = (pairs.t > 0) & (pairs.p > 0)
    t, p = pairs.t[both] - 1, pairs.p[both] - 1 + num_t
    graph = coo_array((np.ones(len(t), np.int8), (t, p)), shape=(num_t + num_p, num_t + num_p))
    island = connected_components(graph, directed=False)[1]
    boxes = [box for panoptic in (truth, prediction) for box in _boxes(panoptic)]
    order = np.argsort(island, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(island[order])) + 1):
        frame = _around([boxes[i] for i in members])
        mine = [truth.segments[i] for i in members if i < num_t]
        theirs = [prediction.segments[i - num_t] for i in members if i >= num_t]
        objects = _item(truth, mine, frame) | {"iscrowd": torch.tensor([int(s.iscrowd) for s in mine])}
        scores = torch.tensor([s.score or 0.0 for s in theirs], dtype=torch.float32)
        yield _item(prediction, theirs, frame) | {"scores": scores}, objects


def _precision() -> MeanAveragePrecision:
    """Masks are what counts. Boxes ride along because torchmetrics drops images without true masks otherwise, and
    with them every false positive that they hold.
    """
    limits = [1, 10, _MANY]
    metric = MeanAveragePrecision(iou_type=("bbox", "segm"), max_detection_thresholds=limits, extended_summary=True)
    metric.warn_on_many_detections = False
    return metric


def _check(name: str, taxonomy: Taxonomy, truth: Panoptic, prediction: Panoptic) -> None:
    try:
        check_taxonomies(taxonomy, truth.taxonomy)
        check_pair(truth, prediction)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _classes(panoptic: Panoptic) -> Tensor:
    """(H * W,) int64: 0 for void, else 1 + the place of the pixel's class in `taxonomy.all`."""
    place = {c.id: i for i, c in enumerate(panoptic.taxonomy.all, 1)}
    return torch.from_numpy(panoptic.lookup({s.id: place[s.category_id] for s in panoptic.segments}).ravel()).long()


def _boxes(panoptic: Panoptic) -> list[tuple[slice, slice]]:
    return find_objects(panoptic.lookup({s.id: i for i, s in enumerate(panoptic.segments, 1)}))


def _around(boxes: list[tuple[slice, slice]]) -> tuple[slice, slice]:
    rows, columns = zip(*boxes, strict=True)
    return _span(rows), _span(columns)


def _span(slices: tuple[slice, ...]) -> slice:
    return slice(min(s.start for s in slices), max(s.stop for s in slices))


def _item(panoptic: Panoptic, segments: list[Segment], frame: tuple[slice, slice]) -> dict[str, Tensor]:
    ids = np.array([s.id for s in segments], np.int32)
    masks = panoptic.ids[frame][None] == ids[:, None, None]  # (N, h, w)
    labels = torch.tensor([s.category_id for s in segments], dtype=torch.long)
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(len(segments), 1)  # see _precision; no box score is read
    return {"masks": torch.from_numpy(masks), "boxes": boxes, "labels": labels}


def _average(metric: MeanAveragePrecision) -> tuple[float, float]:
    """AP over all thresholds and at 0.50. The summary's own "map" is -1 for any limit but 100 detections an image."""
    if not metric.detection_labels:
        return math.nan, math.nan
    precision = metric.compute()["segm_precision"][:, :, :, 0, -1].numpy()  # (thresholds, recalls, classes), all areas
    known = precision >= 0  # -1: the class has no object in any truth
    if not known.any():
        return math.nan, math.nan
    return float(precision[known].mean()), float(precision[0][known[0]].mean())
