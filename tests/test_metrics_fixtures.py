"""Values that others published, reproduced to their digits, and torchmetrics' own functions run live."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_cases import from_pairs, random_pair, table, to_pairs
from PIL import Image
from torchmetrics.functional.detection import modified_panoptic_quality
from torchmetrics.functional.detection import panoptic_quality as torchmetrics_quality

from pano_med.metrics import CONVENTIONS, PQCounts, Record, panoptic_quality, total
from pano_med.metrics.quality import count
from pano_med.metrics.rules import dagger_count, join_stuff, torchmetrics_count
from pano_med.training.torchscores import torch_scores
from pano_med.types import Category, Panoptic, Taxonomy

live = settings(max_examples=60, deadline=None, derandomize=True)

# Categories 0, 1 (things) and 6, 7 (stuff) of torchmetrics' examples, one higher because 0 is void here.
TM = table({1: "zero", 2: "one"}, {7: "six", 8: "seven"})
FIVE_TRUTH = """60 60 60 60 00 / 01 01 60 00 00 / 01 01 60 10 10 / 01 70 70 10 10 / 01 70 70 70 70"""
FIVE_PREDICTION = """60 00 60 60 01 / 00 00 60 01 01 / 00 00 60 01 10 / 00 70 60 10 10 / 00 70 70 70 70"""
DOC_TRUTH = """60 01 60 01 / 01 01 60 01 / 01 01 60 10 / 01 70 10 10 / 01 70 70 70"""
DOC_PREDICTION = """60 00 60 60 / 00 00 60 01 / 00 00 60 01 / 00 70 60 10 / 00 70 70 70"""


def read(text: str) -> Panoptic:
    """Rows of two-digit cells: category, instance; 90 is a category that nobody knows."""
    rows = [[(int(cell[0]) + 1, int(cell[1])) for cell in row.split()] for row in text.split("/")]
    return from_pairs(np.array(rows), TM)


def by_torchmetrics(truth: Panoptic, prediction: Panoptic) -> tuple[float, float, float]:
    return torchmetrics_count(Record.of(truth, prediction).pairs).mean()


def test_torchmetrics_five_by_five():
    truth, prediction = read(FIVE_TRUTH), read(FIVE_PREDICTION)
    assert panoptic_quality(truth, prediction).mean()[0] == pytest.approx(0.7753, abs=5e-5)
    assert CONVENTIONS["PQ (torchmetrics)"]([Record.of(truth, prediction)]) == pytest.approx(0.7753, abs=5e-5)


def test_torchmetrics_docstring():
    counts = panoptic_quality(read(DOC_TRUTH), read(DOC_PREDICTION))
    assert counts.mean() == pytest.approx((0.5463, 0.6111, 0.6667), abs=5e-5)
    assert counts.pq == pytest.approx({1: 0.5185, 2: 0, 7: 0.6667, 8: 1}, abs=5e-5)
    assert counts.sq == pytest.approx({1: 0.7778, 2: 0, 7: 0.6667, 8: 1}, abs=5e-5)
    assert counts.rq == pytest.approx({1: 0.6667, 2: 0, 7: 1, 8: 1}, abs=5e-5)
    assert by_torchmetrics(read(DOC_TRUTH), read(DOC_PREDICTION)) == pytest.approx(counts.mean())


def test_modified_pq_of_torchmetrics():
    record = Record.of(read("01 00 60 70 60 90"), read("00 01 60 70 02 10"))
    assert CONVENTIONS["PQ dagger"]([record]) == pytest.approx(23 / 30, abs=1e-12)
    five = Record.of(read(FIVE_TRUTH), read(FIVE_PREDICTION))
    assert CONVENTIONS["PQ dagger"]([five]) == pytest.approx(0.7753, abs=5e-5)


def test_abstaining_pays_under_torchmetrics_rule_only():
    truth = from_pairs(np.array([[(1, 1)] * 10]), TM)
    for shown, expected in ((4, 1.0), (0, math.nan)):
        prediction = from_pairs(np.array([[(1, 1)] * shown + [(0, 0)] * (10 - shown)]), TM)
        assert by_torchmetrics(truth, prediction)[0] == pytest.approx(expected, nan_ok=True)
        assert panoptic_quality(truth, prediction).mean()[0] == 0


@live
@given(st.integers(0, 10**6))
def test_equals_torchmetrics_on_random_maps(seed):
    truth, prediction = random_pair(seed, crowds=False)
    things, stuff = {3, 4, 5}, {1, 2}
    theirs = torchmetrics_quality(
        torch.from_numpy(to_pairs(prediction)), torch.from_numpy(to_pairs(truth)), things, stuff,
        allow_unknown_preds_category=True, return_per_class=True, return_sq_and_rq=True,
    )  # fmt: skip
    ours = torchmetrics_count(Record.of(truth, prediction).pairs)
    mine = np.nan_to_num(ours.scores().T)[[2, 3, 4, 0, 1]]  # torchmetrics: things first; 0 where a class is absent
    np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-6)


@live
@given(st.integers(0, 10**6))
def test_coco_rule_equals_torchmetrics_where_nothing_is_void_in_the_prediction(seed):
    truth, prediction = random_pair(seed, predicted_void=False, crowds=False)
    pairs = Record.of(truth, prediction).pairs
    target, preds = torch.from_numpy(to_pairs(truth)), torch.from_numpy(to_pairs(prediction))
    theirs = torchmetrics_quality(preds, target, {3, 4, 5}, {1, 2}, return_sq_and_rq=True).numpy()
    np.testing.assert_allclose(count(join_stuff(pairs)).mean(), theirs, atol=1e-6)
    theirs = modified_panoptic_quality(preds, target, {3, 4, 5}, {1, 2}).item()
    assert dagger_count(pairs).mean()[0] == pytest.approx(theirs, abs=1e-6, nan_ok=True)


# deeplab2's pictures: grey = instance; the class follows from the grey in the truth, from a colour in the prediction.
BIRDS = table({1: "person", 2: "bear", 4: "bird", 6: "cat"}, {3: "tree", 5: "sky"})
COLOURS = {(0, 0, 255): 1, (255, 0, 0): 2, (0, 255, 0): 3, (255, 0, 255): 4, (0, 255, 255): 5, (255, 255, 0): 6}
TEAM = {47: 1, 97: 1, 133: 1, 150: 1, 174: 1, 198: 2, 215: 1, 244: 1, 255: 1}
BIRD, CAT = {92: 5, 176: 3, 255: 4}, {255: 6}
PICTURES = {"bird": ("bird_gt", BIRD), "cat": ("cat_gt", CAT), "team": ("team_gt_instance", TEAM)}


def deeplab_counts(folder, name: str) -> PQCounts:
    file, classes = PICTURES[name]
    grey = np.array(Image.open(folder / f"{file}.png").convert("RGB"))[..., 0].astype(int)
    truth = np.stack([np.array([classes.get(g, 0) for g in range(256)])[grey], grey], axis=-1)
    instance = np.array(Image.open(folder / f"{name}_pred_instance.png").convert("RGB"))[..., 0].astype(int)
    colour = np.array(Image.open(folder / f"{name}_pred_class.png").convert("RGB"))
    kind = sum((colour == c).all(axis=-1) * i for c, i in COLOURS.items())
    return panoptic_quality(from_pairs(truth, BIRDS), from_pairs(np.stack([kind, instance], axis=-1), BIRDS))


@pytest.fixture
def pictures(data_root):
    folder = data_root.parent / "reference" / "pq_fixtures"
    if not folder.is_dir():
        pytest.skip("the PNG pairs with published PQ are not beside the data folder")
    return folder


def test_deeplab_team(pictures):
    assert deeplab_counts(pictures, "team").mean() == pytest.approx((0.62156284, 0.64664984, 0.9666667), abs=1e-6)


def test_deeplab_bird_cat_team(pictures):
    counts = total(deeplab_counts(pictures, name) for name in PICTURES)
    assert counts.mean() == pytest.approx((0.76855499, 0.7769174, 0.98888892), abs=1e-6)


def test_semantic_kitti_five_hundred_points():
    """50 points that nobody knows, 50 grass and 50 sky (ten of each swapped), a dog seen as a person, three persons."""
    taxonomy = table({3: "person", 4: "dog"}, {1: "grass", 2: "sky"})
    runs = [  # points, (class, instance) of the truth, of the prediction
        (50, (0, 0), (0, 0)), (40, (1, 0), (1, 0)), (10, (1, 0), (2, 0)), (40, (2, 0), (2, 0)), (10, (2, 0), (1, 0)),
        (50, (4, 22), (3, 35)), (150, (3, 33), (3, 8)), (50, (3, 42), (3, 8)), (100, (3, 11), (3, 95)),
    ]  # fmt: skip
    points = np.array([[pair for n, *pair in runs for _ in range(n)]])
    truth, prediction = from_pairs(points[:, :, 0], taxonomy), from_pairs(points[:, :, 1], taxonomy)
    counts = panoptic_quality(truth, prediction)
    assert counts.mean() == pytest.approx((0.47916666666666663, 0.5520833333333333, 0.6666666666666666), abs=1e-12)
    assert counts.pq == pytest.approx({1: 2 / 3, 2: 2 / 3, 3: 0.5833333333333333, 4: 0}, abs=1e-12)
    name, mean_iou, _ = torch_scores([("", truth, prediction)])[-1]
    assert (name, mean_iou) == ("mIoU", pytest.approx(0.5476190476, abs=1e-6))


CELLS = table({1: "cell"}, {})


def boxes(*slices) -> Panoptic:
    ids = np.zeros((50, 50), np.int32)
    for i, (rows, columns) in enumerate(slices, 1):
        ids[rows, columns] = i
    return Panoptic.from_ids(ids, dict.fromkeys(range(1, len(slices) + 1), 1), CELLS)


def box(r0: int, r1: int, c0: int, c1: int) -> tuple[slice, slice]:
    return slice(r0, r1), slice(c0, c1)


def test_panoptica_boxes():
    record = Record.of(boxes(box(20, 30, 10, 20), box(30, 40, 10, 20)), boxes(box(20, 35, 10, 20)))
    assert record.untyped.mean() == pytest.approx((4 / 9, 2 / 3, 2 / 3), abs=1e-12)
    assert CONVENTIONS["Dice"]([record]) == pytest.approx(0.8571428571428571, abs=1e-12)


def test_panoptica_golden_instances():
    truth = boxes(box(5, 15, 5, 15), box(20, 30, 20, 30), box(40, 48, 5, 13))
    record = Record.of(truth, boxes(box(5, 15, 5, 15), box(21, 30, 20, 30), box(40, 48, 40, 48)))
    assert record.untyped.mean() == pytest.approx((0.6333333333333333, 0.95, 0.6666666666666666), abs=1e-12)
    assert CONVENTIONS["Dice"]([record]) == pytest.approx(0.7335907335907336, abs=1e-12)


def test_coco_sample_against_itself(data_root):
    """Two annotated photographs of COCO, with crowds: 18 + 32 segments, 3 of them crowds."""
    folder = data_root / "coco_panoptic_sample"
    if not folder.is_dir():
        pytest.skip("the COCO sample is not in the data folder")
    table_ = json.loads((folder / "panoptic_coco_categories.json").read_text())
    rows = tuple(Category(c["id"], c["name"], bool(c["isthing"]), tuple(c["color"])) for c in table_)
    taxonomy, counts, crowds = Taxonomy("coco", rows), [], []
    for entry in json.loads((folder / "panoptic_examples.json").read_text())["annotations"]:
        rgb = np.array(Image.open(folder / "panoptic_examples" / entry["file_name"]).convert("RGB")).astype(np.int64)
        ids = rgb @ np.array([1, 256, 65536])
        kinds = {s["id"]: s["category_id"] for s in entry["segments_info"]}
        crowds += [s["id"] for s in entry["segments_info"] if s["iscrowd"]]
        panoptic = Panoptic.from_ids(ids, kinds, taxonomy, crowds=crowds)
        counts.append(panoptic_quality(panoptic, panoptic))
    assert total(counts).mean() == (1, 1, 1)
    assert [int(c.tp.sum()) for c in counts] == [17, 30]
    assert len(crowds) == 3
    assert not total(counts).fp.any()
    assert not total(counts).fn.any()


def test_live_values_of_the_examples():
    """The arrays above are the ones torchmetrics computes its values from."""
    for truth, prediction in ((FIVE_TRUTH, FIVE_PREDICTION), (DOC_TRUTH, DOC_PREDICTION)):
        pair = torch.from_numpy(to_pairs(read(prediction))), torch.from_numpy(to_pairs(read(truth)))
        theirs = torchmetrics_quality(*pair, {1, 2}, {7, 8}).item()
        assert panoptic_quality(read(truth), read(prediction)).mean()[0] == pytest.approx(theirs, abs=1e-7)
