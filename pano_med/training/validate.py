"""How good is a model on samples with partial labels, at the resolution it works at?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pano_med.fusion import fuse
from pano_med.metrics import PQCounts, panoptic_quality, things_quality
from pano_med.types import Instances, Panoptic, Prediction, Sample, Taxonomy

#: Turns what a network says into a map.
Fuse = Callable[[Prediction], Panoptic]


def fused(prediction: Prediction) -> Panoptic:
    """The map of a prediction by the default rules of `pano_med.fusion`."""
    return fuse(prediction).panoptic


def at_mpp(sample: Sample, mpp: float) -> Sample:
    """The sample resized to `mpp` micrometres per pixel; as it is where its pixel size is unknown or equal.

    The image is area-averaged when it shrinks, the truth and the ignore mask take the nearest pixel.
    """
    if sample.pixel_size_um is None:
        return sample
    size = tuple(max(1, round(n * sample.pixel_size_um / mpp)) for n in sample.size)
    if size == sample.size:
        return sample
    image = F.interpolate(as_float(sample.image)[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    rows, columns = (_nearest(old, new) for old, new in zip(sample.size, size, strict=True))
    ignore = None if sample.ignore is None else sample.ignore[torch.as_tensor(rows)][:, torch.as_tensor(columns)]
    truth = sample.truth
    if truth is not None:
        classes = {s.id: s.category_id for s in truth.segments}
        crowds = [s.id for s in truth.segments if s.iscrowd]
        truth = Panoptic.from_ids(truth.ids[rows][:, columns], classes, truth.taxonomy, mpp, crowds=crowds)
    return replace(sample, image=image, truth=truth, ignore=ignore, pixel_size_um=mpp)


def as_float(image: Tensor) -> Tensor:
    """A uint8 image as float32 0..1; a float image as it is."""
    return image.float() / 255 if image.dtype == torch.uint8 else image


@torch.no_grad()
def predict_sample(model: nn.Module, sample: Sample, mpp: float) -> Prediction:
    """What a model in eval mode says of a sample, at `mpp` micrometres per pixel, on the CPU.

    Args:
        model: with the door of `pano_med.models.EfficientPS`.
        sample: any size.
        mpp: the resolution of the model; the prediction has the size of `at_mpp(sample, mpp)`.
    """
    small = at_mpp(sample, mpp)
    device = next(model.parameters()).device
    said: Prediction = model([as_float(small.image).to(device)])[0]
    i = said.instances
    instances = Instances(
        i.boxes.float().cpu(), i.category_ids.cpu(), i.scores.float().cpu(), i.mask_logits.float().cpu()
    )
    return Prediction(said.semantic_logits.float().cpu(), instances, said.taxonomy, mpp)


class Scores:
    """Sums over samples of what can be judged in each; `row()` gives the columns of the validation table.

    - `objects_*`: things without their types, where every thing was drawn;
    - `things_pq`: mean over thing classes, where the types were given;
    - `stuff_pq`, `stuff_iou`: mean over stuff classes, where tissue was drawn. Where things were not, they are taken
      out of the prediction too, because a region drawn over its nuclei is no mistake of the model.
    """

    def __init__(self, taxonomy: Taxonomy, to_map: Fuse = fused) -> None:
        self.taxonomy, self._to_map = taxonomy, to_map
        self.objects, self.classes = PQCounts.zero(taxonomy), PQCounts.zero(taxonomy)
        self.area = np.zeros((2, taxonomy.num_stuff))  # shared and joined pixels of each stuff class

    def add(self, sample: Sample, prediction: Prediction) -> None:
        """Judge one prediction of the size of its sample."""
        if sample.truth is None:
            raise ValueError(f"a validation sample needs a truth, {sample.name or sample.source} has none")
        ignore = None if sample.ignore is None else sample.ignore.cpu().numpy()
        things = {c.id for c in self.taxonomy.things}
        stuff = sample.known & {c.id for c in self.taxonomy.stuff}
        unclassed = self.taxonomy.unclassed
        all_drawn = things <= sample.known or (unclassed is not None and unclassed.id in sample.known)
        found = self._to_map(prediction if all_drawn or not stuff else without_things(prediction))
        if all_drawn:
            self.objects += things_quality(sample.truth, found, ignore)
        judged = stuff | (things & sample.known)
        if judged:
            self.classes += panoptic_quality(
                sample.truth, found, categories=judged, void_is_background=True, ignore=ignore
            )
            self._add_area(sample.truth.semantic(), found.semantic(), stuff, ignore)

    def row(self) -> dict[str, float]:
        """The table's columns, 0..1; nan where nothing could be judged."""
        pq, sq, rq = self.objects.mean("things")
        row = {"objects_pq": pq, "objects_sq": sq, "objects_rq": rq}
        row |= {"things_pq": self.classes.mean("things")[0], "stuff_pq": self.classes.mean("stuff")[0]}
        shared, joined = self.area
        row["stuff_iou"] = float(np.mean(shared[joined > 0] / joined[joined > 0])) if joined.any() else math.nan
        row["mean_pq"] = _mean(row[k] for k in ("objects_pq", "things_pq", "stuff_pq"))
        return row

    def _add_area(self, truth: np.ndarray, found: np.ndarray, stuff: Iterable[int], ignore: np.ndarray | None) -> None:
        for i, category in enumerate(self.taxonomy.stuff):
            if category.id in stuff:
                a, b = truth == category.id, found == category.id
                if ignore is not None:
                    a, b = a & ~ignore, b & ~ignore
                both = np.count_nonzero(a & b)
                self.area[:, i] += both, np.count_nonzero(a) + np.count_nonzero(b) - both


def without_things(prediction: Prediction) -> Prediction:
    """The same prediction as if the network knew stuff only."""
    logits = prediction.semantic_logits.clone()
    logits[prediction.taxonomy.num_stuff :] = logits.min() - 1  # never the largest
    i = prediction.instances
    none = Instances(i.boxes[:0], i.category_ids[:0], i.scores[:0], i.mask_logits[:0])
    return replace(prediction, semantic_logits=logits, instances=none)


def _nearest(old: int, new: int) -> np.ndarray:
    """For each of `new` pixels the one of `old` pixels whose area holds its centre."""
    return np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)


def _mean(values: Iterable[float]) -> float:
    good = [v for v in values if not math.isnan(v)]
    return sum(good) / len(good) if good else math.nan
