"""mAP and mIoU through torchmetrics: islands give what whole images give; values by hand; bad input."""

import math

import numpy as np
import pytest
import torch
from metrics_cases import SMALL, random_pair
from torchmetrics.detection import MeanAveragePrecision

from pano_med.training.torchscores import islands, torch_scores
from pano_med.types import HE_CORE, Panoptic


def scored(panoptic: Panoptic, rng: np.random.Generator) -> Panoptic:
    kinds = {s.id: s.category_id for s in panoptic.segments}
    return Panoptic.from_ids(panoptic.ids, kinds, panoptic.taxonomy, scores={i: float(rng.random()) for i in kinds})


def pairs_of(seeds):
    for seed in seeds:
        truth, prediction = random_pair(seed)
        yield str(seed), truth, scored(prediction, np.random.default_rng(seed))


def values(pairs) -> dict[str, float]:
    return {name: value for name, value, _ in torch_scores(pairs)}


def whole(panoptic: Panoptic, crowds: bool) -> dict[str, torch.Tensor]:
    things = panoptic.things
    item = {
        "masks": torch.from_numpy(np.array([panoptic.ids == s.id for s in things]).reshape(-1, *panoptic.size)),
        "labels": torch.tensor([s.category_id for s in things], dtype=torch.long),
    }
    extra = [int(s.iscrowd) for s in things] if crowds else [s.score for s in things]
    return item | {"iscrowd" if crowds else "scores": torch.tensor(extra)}


def test_islands_score_like_whole_images():
    metric = MeanAveragePrecision(iou_type="segm")
    for _, truth, prediction in pairs_of(range(6)):
        metric.update([whole(prediction, False)], [whole(truth, True)])
    theirs, ours = metric.compute(), values(pairs_of(range(6)))
    assert 0.05 < ours["AP50"] < 1
    assert ours["mAP"] == pytest.approx(float(theirs["map"]), abs=1e-6)
    assert ours["AP50"] == pytest.approx(float(theirs["map_50"]), abs=1e-6)


def test_islands_hold_every_thing_once_in_a_small_frame():
    _, truth, prediction = next(pairs_of([4]))
    found = list(islands(truth, prediction))
    assert sum(int(d["masks"].sum()) for d, _ in found) == sum(s.area for s in prediction.things)
    assert sum(len(o["labels"]) for _, o in found) == len(truth.things)
    lonely = Panoptic.from_ids(np.eye(40, dtype=int) * np.arange(1, 41), dict.fromkeys(range(1, 41), 3), SMALL)
    frames = [d["masks"].shape for d, _ in islands(lonely, lonely)]
    assert frames == [(1, 1, 1)] * 40


def test_mean_iou_equals_sets_of_pixels():
    shared, union = np.zeros(6), np.zeros(6)
    for _, truth, prediction in pairs_of(range(6)):
        t, p = truth.semantic(), prediction.semantic()
        for c in range(1, 6):
            shared[c] += ((t == c) & (p == c)).sum()
            union[c] += ((t == c) | ((p == c) & (t != 0))).sum()
    expected = np.mean(shared[1:][union[1:] > 0] / union[1:][union[1:] > 0])
    assert values(pairs_of(range(6)))["mIoU"] == pytest.approx(expected, abs=1e-6)


def test_empty_maps_and_missing_scores():
    full = Panoptic.from_ids(np.array([[1, 1, 0]]), {1: 3}, SMALL, scores={1: 0.9})
    bare = Panoptic.from_ids(np.array([[1, 1, 0]]), {1: 3}, SMALL)
    none = Panoptic.from_ids(np.zeros((1, 3), int), {}, SMALL)
    assert values([("", full, full)]) == pytest.approx({"mAP": 1, "AP50": 1, "mIoU": 1})
    assert values([("", full, none)]) == pytest.approx({"mAP": 0, "AP50": 0, "mIoU": 0})
    undefined = {"mAP": math.nan, "AP50": math.nan, "mIoU": math.nan}
    assert values([("", none, full)]) == pytest.approx(undefined, nan_ok=True)
    assert values([("", none, none)]) == pytest.approx(undefined, nan_ok=True)
    assert values([("", full, bare)]) == pytest.approx(undefined | {"mIoU": 1}, nan_ok=True)


def test_more_than_a_hundred_detections_count():
    ids = np.arange(1, 226).reshape(15, 15)
    panoptic = Panoptic.from_ids(ids, dict.fromkeys(range(1, 226), 3), SMALL, scores=dict.fromkeys(range(1, 226), 0.5))
    assert values([("", panoptic, panoptic)])["mAP"] == pytest.approx(1)


def test_bad_input():
    one, two = (Panoptic.from_ids(np.ones((1, n), int), {1: 1}, SMALL) for n in (1, 2))
    with pytest.raises(ValueError, match="at least one pair of truth and prediction, got none"):
        torch_scores([])
    with pytest.raises(ValueError, match="^tile7: truth and prediction must be of one size"):
        torch_scores([("tile7", one, two)])
    other = Panoptic.from_ids(np.ones((1, 1), int), {1: 1}, HE_CORE)
    with pytest.raises(ValueError, match="^b: both sides must have the same categories"):
        torch_scores([("a", one, one), ("b", other, other)])
