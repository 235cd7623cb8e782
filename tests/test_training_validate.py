"""Validation: the resolution of the model, partial labels, and the real network through the loop."""

import math

import numpy as np
import pytest
import torch
from training_fakes import FakeNet, samples

from pano_med.data import card, split
from pano_med.models import EfficientPS
from pano_med.training import Scores, TrainConfig, at_mpp, fit, predict_sample
from pano_med.training.checkpoint import read
from pano_med.training.recipe import HE_CORE_WEIGHTS, SYNTHETIC, he_core, painted_tiles
from pano_med.types import HE_CORE, Instances, Panoptic, Prediction, Sample

ALL = frozenset(c.id for c in HE_CORE.categories)
TUMOUR, OTHER = HE_CORE["tumour"].id, HE_CORE["other tissue"].id
NEOPLASTIC, INFLAMMATORY = (HE_CORE[n].id for n in ("neoplastic nucleus", "inflammatory nucleus"))


def sample(ids: np.ndarray, categories: dict[int, int], known=ALL, **more) -> Sample:
    return Sample(torch.zeros(3, *ids.shape), Panoptic.from_ids(ids, categories, HE_CORE), known=known, **more)


def said(ids: np.ndarray, categories: dict[int, int]) -> Prediction:
    """A sure prediction of exactly this map, each thing a box around its square."""
    logits = torch.full((len(HE_CORE.channels), *ids.shape), -5.0)
    boxes, classes = [], []
    for number, category in categories.items():
        inside = torch.tensor(ids == number)
        logits[HE_CORE.channel(category)][inside] = 5.0
        if HE_CORE[category].isthing:
            rows, columns = torch.nonzero(inside, as_tuple=True)
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            classes.append(category)
    n = len(boxes)
    instances = Instances(torch.tensor(boxes).float().view(-1, 4), torch.tensor(classes), torch.full((n,), 0.9),
                          torch.full((n, 8, 8), 9.0))
    return Prediction(logits, instances, HE_CORE)


def square(size: int = 40) -> np.ndarray:
    """Two stuff halves (1, 2) with a nucleus on each (3, 4)."""
    ids = np.ones((size, size), np.int32)
    ids[:, size // 2 :] = 2
    ids[5:15, 5:15], ids[5:15, 25:35] = 3, 4
    return ids


WHOLE = {1: TUMOUR, 2: OTHER, 3: NEOPLASTIC, 4: INFLAMMATORY}


def test_a_perfect_prediction_scores_one_everywhere() -> None:
    scores = Scores(HE_CORE)
    scores.add(sample(square(), WHOLE), said(square(), WHOLE))
    assert set(scores.row().values()) == {1.0}


def test_types_do_not_matter_to_objects() -> None:
    scores, swapped = Scores(HE_CORE), WHOLE | {3: INFLAMMATORY, 4: NEOPLASTIC}
    scores.add(sample(square(), WHOLE), said(square(), swapped))
    row = scores.row()
    assert (row["objects_pq"], row["things_pq"], row["stuff_pq"]) == (1.0, 0.0, 1.0)


def test_nuclei_without_tissue_judge_nuclei_only_and_void_is_no_excuse() -> None:
    ids = np.where(square() >= 3, square(), 0)
    truth = sample(np.where(ids == 3, 3, 0), {3: HE_CORE.unclassed.id}, known={HE_CORE.unclassed.id})
    scores = Scores(HE_CORE)
    scores.add(truth, said(square(), WHOLE))
    row = scores.row()
    assert row["objects_rq"] == pytest.approx(1 / 1.5)  # one found, one that is not there
    assert all(math.isnan(row[k]) for k in ("things_pq", "stuff_pq", "stuff_iou"))
    assert row["mean_pq"] == row["objects_pq"]


def test_tissue_drawn_over_its_nuclei_is_compared_without_nuclei() -> None:
    halves = np.where(np.arange(40) < 20, 1, 2) * np.ones((40, 1), np.int32)
    scores = Scores(HE_CORE)
    prediction = said(square(), WHOLE)
    prediction.semantic_logits[HE_CORE.channel(TUMOUR), 5:15, 5:15] = 0.0  # the second choice under the nuclei
    prediction.semantic_logits[HE_CORE.channel(OTHER), 5:15, 25:35] = 0.0
    scores.add(sample(halves.astype(np.int32), {1: TUMOUR, 2: OTHER}, known={1, 2, 3}), prediction)
    row = scores.row()
    assert (row["stuff_pq"], row["stuff_iou"]) == (1.0, 1.0)
    assert math.isnan(row["objects_pq"])


def test_ignored_pixels_do_not_count() -> None:
    ids = np.ones((40, 40), np.int32)
    ids[:, 20:] = 2
    ignore = torch.zeros(40, 40, dtype=torch.bool)
    ignore[:, 20:] = True
    scores = Scores(HE_CORE)
    scores.add(sample(ids, {1: TUMOUR, 2: OTHER}, ignore=ignore), said(np.ones_like(ids), {1: TUMOUR}))
    assert (scores.row()["stuff_pq"], scores.row()["stuff_iou"]) == (1.0, 1.0)


def test_a_validation_sample_needs_a_truth() -> None:
    with pytest.raises(ValueError, match="a validation sample needs a truth, bare has none"):
        Scores(HE_CORE).add(samples(1, bare=True)[0], said(square(), WHOLE))


def test_samples_come_to_the_models_resolution() -> None:
    ids = np.arange(1, 5, dtype=np.int32).reshape(2, 2).repeat(3, 0).repeat(4, 1)  # (6, 8)
    ignore = torch.tensor(ids == 4)
    big = sample(ids, dict.fromkeys(range(1, 5), TUMOUR), pixel_size_um=0.25, ignore=ignore)
    small = at_mpp(big, 0.5)
    assert (small.size, small.pixel_size_um, small.truth.pixel_size_um) == ((3, 4), 0.5, 0.5)
    np.testing.assert_array_equal(small.truth.ids, [[1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])
    np.testing.assert_array_equal(small.ignore, small.truth.ids == 4)
    assert at_mpp(big, 0.25) is big
    unknown = sample(ids, dict.fromkeys(range(1, 5), TUMOUR))
    assert at_mpp(unknown, 0.5) is unknown


def test_a_sample_is_predicted_at_the_models_resolution() -> None:
    net = FakeNet().eval()
    prediction = predict_sample(net, samples(1)[0], 0.25)
    assert (prediction.size, prediction.pixel_size_um) == ((64, 64), 0.25)
    assert not prediction.semantic_logits.requires_grad


def test_painted_tiles_are_the_same_each_time() -> None:
    one, two = (list(painted_tiles(2, seed=3, size=64)) for _ in range(2))
    assert torch.equal(one[1].image, two[1].image)
    assert not torch.equal(one[0].image, one[1].image)
    assert one[0].known == ALL
    with pytest.raises(ValueError, match="tiles must be at least 0, got -1"):
        he_core("nowhere", tiles=-1)
    painted = he_core("nowhere", tiles=1, weights={SYNTHETIC: 1.0})
    assert (len(painted.train), painted.validation, painted.weights) == (1, [], {SYNTHETIC: 1.0})


def test_the_recipe_trains_on_no_set_that_is_kept_for_tests() -> None:
    real = set(HE_CORE_WEIGHTS) - {SYNTHETIC}
    assert all(card(name).training for name in real)


def test_the_recipe_keeps_patients_apart(data_root) -> None:
    found = he_core(data_root, tiles=0, weights={"tnbc_breast_nuclei": 1.0})
    assert found.weights == {"tnbc_breast_nuclei": 1.0}
    assert {s.group for s in found.train}.isdisjoint({s.group for s in found.validation})
    assert split(found.train).validation == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:more objects than the cap")  # five steps teach it nothing
@pytest.mark.filterwarnings("ignore:more objects than the cap")  # random weights see objects everywhere
def test_the_real_network_resumes_bit_for_bit(tmp_path) -> None:
    """Real losses, RoI sampling, augmentation and fusion; stopped in the middle, resumed in a new network."""
    tiles = list(painted_tiles(3, size=128))
    config = TrainConfig(steps=5, batch_size=2, crop_size=64, val_every=2, warmup=2, accelerator="cpu",
                         precision="bf16-mixed", checkpoint_minutes=0)

    def go(folder: str, resume: bool = False, on_step=None) -> None:
        torch.manual_seed(7)
        net = EfficientPS.small(HE_CORE)
        if resume:
            torch.nn.init.zeros_(next(net.parameters()))  # all must come from the checkpoint
        fit(net, tiles[:2], tiles[2:], config, tmp_path / folder, resume, on_step)

    def stop(row) -> None:
        if row["step"] == 3:
            raise RuntimeError("stop")

    go("whole")
    with pytest.raises(RuntimeError, match="stop"):
        go("cut", on_step=stop)
    go("cut", resume=True)
    whole, cut = (read(tmp_path / folder, "last") for folder in ("whole", "cut"))
    assert whole[0].keys() == cut[0].keys()
    for name, tensor in whole[0].items():
        torch.testing.assert_close(cut[0][name], tensor, rtol=0, atol=0, msg=name)
    assert whole[1]["history"] == cut[1]["history"]
