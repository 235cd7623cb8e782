"""The table of conventions: each against a slow oracle that follows its definition word by word."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_cases import SMALL, labelled, pixels, random_pair, slow_pq

from pano_med.metrics import CONVENTIONS, Record
from pano_med.metrics.nuclei import assign, detection
from pano_med.types import Panoptic

thorough = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 10**6)
THINGS = {3, 4, 5}


def nuclei(panoptic: Panoptic) -> list[set]:
    """Pixels of each thing, in the order of ids."""
    found = pixels(panoptic)
    return [found[s.id] for s in panoptic.things]


def sparse_pair(seed: int) -> tuple[Panoptic, Panoptic]:
    """Things on stuff and void; the prediction is the truth moved by a pixel, with some things changed."""
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(4, 14)), int(rng.integers(4, 14)))
    coarse = rng.integers(-6, 9, size).clip(0)
    ids = np.kron(coarse, np.ones((2, 2), int))[: size[0], : size[1]]
    truth = labelled(rng, ids, crowds=False)
    moved = np.roll(ids, rng.integers(-1, 2, 2), (0, 1)) * (rng.random(size) > rng.choice([0, 0.2]))
    other = labelled(rng, np.where(rng.random() < 0.1, 0, moved), crowds=False)
    return truth, other


def skip_nan(values: list[float]) -> float:
    found = [v for v in values if not math.isnan(v)]
    return sum(found) / len(found) if found else math.nan


def pq_of(tp: float, fp: float, fn: float, iou: float) -> float:
    return iou / (tp + fp / 2 + fn / 2) if tp + fp + fn else math.nan


def slow_binary(truth: Panoptic, prediction: Panoptic) -> tuple[list[float], bool]:
    """[tp, fp, fn, iou] of all things as one class, and whether the truth has any."""
    t, p = nuclei(truth), nuclei(prediction)
    ious = [len(a & b) / len(a | b) for a in t for b in p]
    hits = [i for i in ious if i > 0.5]
    return [len(hits), len(p) - len(hits), len(t) - len(hits), sum(hits)], bool(t)


def three(seed: int, make) -> tuple[list, list[Record]]:
    pairs = [make(seed + i) for i in range(3)]
    tissues = ["colon", "colon", "breast"]
    return pairs, [Record.of(*pair, tissue=tissue) for pair, tissue in zip(pairs, tissues, strict=True)]


@thorough
@given(seeds)
def test_bpq_of_pannuke(seed):
    pairs, records = three(seed, sparse_pair)
    images = [pq_of(*counts) if drawn else math.nan for counts, drawn in (slow_binary(*pair) for pair in pairs)]
    expected = skip_nan([skip_nan(images[:2]), images[2]])
    assert CONVENTIONS["bPQ (PanNuke)"](records) == pytest.approx(expected, nan_ok=True)


@thorough
@given(seeds)
def test_mpq_of_pannuke(seed):
    pairs, records = three(seed, sparse_pair)
    images = []
    for truth, prediction in pairs:
        found = slow_pq(truth, prediction, void_is_background=True)
        drawn = {s.category_id for s in truth.things}
        images.append(skip_nan([pq_of(*found[c]) for c in drawn]))
    expected = skip_nan([skip_nan(images[:2]), images[2]])
    assert CONVENTIONS["mPQ (PanNuke)"](records) == pytest.approx(expected, nan_ok=True)


@thorough
@given(seeds)
def test_mpq_plus_and_pq_of_conic(seed):
    pairs, records = three(seed, sparse_pair)
    slow = [slow_pq(*pair, void_is_background=True) for pair in pairs]
    expected = skip_nan([pq_of(*(sum(s[c][k] for s in slow) for k in range(4))) for c in THINGS])
    assert CONVENTIONS["mPQ+ (CoNIC)"](records) == pytest.approx(expected, nan_ok=True)
    images = [pq_of(*slow_binary(*pair)[0]) for pair in pairs]
    assert CONVENTIONS["PQ (CoNIC)"](records) == pytest.approx(sum(0 if math.isnan(v) else v for v in images) / 3)
    counts = [slow_binary(*pair)[0] for pair in pairs]
    assert CONVENTIONS["PQ things untyped"](records) == pytest.approx(pq_of(*np.sum(counts, axis=0)), nan_ok=True)


@thorough
@given(seeds)
def test_coco_rows(seed):
    pairs, records = three(seed, random_pair)
    slow = [slow_pq(*pair) for pair in pairs]
    per_class = {c: pq_of(*(sum(s[c][k] for s in slow) for k in range(4))) for c in slow[0]}
    assert CONVENTIONS["PQ"](records) == pytest.approx(skip_nan(list(per_class.values())), nan_ok=True)
    assert CONVENTIONS["PQ things"](records) == pytest.approx(skip_nan([per_class[c] for c in THINGS]), nan_ok=True)
    assert CONVENTIONS["PQ stuff"](records) == pytest.approx(skip_nan([per_class[c] for c in (1, 2)]), nan_ok=True)


def slow_aji(t: list[set], p: list[set], chosen: list[tuple[int, int]]) -> float:
    shared = sum(len(t[i] & p[j]) for i, j in chosen)
    union = sum(len(t[i] | p[j]) for i, j in chosen)
    union += sum(len(a) for i, a in enumerate(t) if i not in {c[0] for c in chosen})
    union += sum(len(b) for j, b in enumerate(p) if j not in {c[1] for c in chosen})
    return shared / union if union else math.nan


@thorough
@given(seeds)
def test_aji(seed):
    truth, prediction = sparse_pair(seed)
    t, p = nuclei(truth), nuclei(prediction)
    chosen = []
    for i, a in enumerate(t):
        ious = [len(a & b) / len(a | b) for b in p]
        if ious and max(ious) > 0:
            chosen.append((i, ious.index(max(ious))))
    found = CONVENTIONS["AJI"]([Record.of(truth, prediction)])
    assert found == pytest.approx(slow_aji(t, p, chosen), nan_ok=True)


@thorough
@given(seeds)
def test_aji_plus(seed):
    """Every one-to-one choice is tried; ties in the sum of IoU may differ in AJI, so any of them will do."""
    truth, prediction = sparse_pair(seed)
    t, p = nuclei(truth)[:4], nuclei(prediction)[:4]
    keep_t, keep_p = (
        Panoptic.from_ids(m.lookup({s.id: s.id for s in m.things[:4]}), {s.id: 3 for s in m.things}, SMALL)
        for m in (truth, prediction)
    )
    best: dict[float, list[float]] = {}
    slots = [*range(len(p)), *[None] * len(t)]
    for order in set(itertools.permutations(slots, len(t))) if t else [()]:
        chosen = [(i, j) for i, j in enumerate(order) if j is not None and t[i] & p[j]]
        value = round(sum(len(t[i] & p[j]) / len(t[i] | p[j]) for i, j in chosen), 9)
        best.setdefault(value, []).append(slow_aji(t, p, chosen))
    found = CONVENTIONS["AJI+"]([Record.of(keep_t, keep_p)])
    assert any(found == pytest.approx(v, nan_ok=True) for v in best[max(best)])


@thorough
@given(seeds)
def test_dice_and_dice2(seed):
    truth, prediction = sparse_pair(seed)
    t, p = nuclei(truth), nuclei(prediction)
    all_t, all_p = set().union(*t), set().union(*p)
    sizes = len(all_t) + len(all_p)
    record = Record.of(truth, prediction)
    expected = 2 * len(all_t & all_p) / sizes if sizes else math.nan
    assert CONVENTIONS["Dice"]([record]) == pytest.approx(expected, nan_ok=True)
    touching = [(a, b) for a in t for b in p if a & b]
    expected = math.nan if not sizes else 0.0
    if touching:
        expected = 2 * sum(len(a & b) for a, b in touching) / sum(len(a) + len(b) for a, b in touching)
    assert CONVENTIONS["Dice2"]([record]) == pytest.approx(expected, nan_ok=True)


def centre(pixels_: set) -> np.ndarray:
    return np.mean(np.array(sorted(pixels_)), axis=0)


def slow_matches(t: list, p: list, radius: float) -> tuple[int, float]:
    """The most pairs within the radius and the smallest total distance with that many, by trying everything."""
    best = (0, 0.0)
    for order in itertools.permutations([*range(len(p)), *[None] * len(t)], len(t)):
        pairs = [np.linalg.norm(t[i] - p[j]) for i, j in enumerate(order) if j is not None]
        pairs = [d for d in pairs if d <= radius] if all(d <= radius for d in pairs) else []
        best = max(best, (len(pairs), -round(sum(pairs), 9)))
    return best


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, st.sampled_from([0.3, 1.0, 3.0]))
def test_detection(seed, radius_um):
    rng = np.random.default_rng(seed)
    maps = []
    for n in rng.integers(0, 5, 2):
        ids = np.zeros((9, 9), int)
        for i, place in enumerate(rng.choice(81, n, replace=False), 1):
            ids.flat[place] = i
        maps.append(Panoptic.from_ids(ids, {i: int(rng.integers(3, 6)) for i in range(1, 9)}, SMALL, 1 / radius_um))
    record = Record.of(*maps)
    assert record.radius == pytest.approx(3 * radius_um)
    t, p = [centre(s) for s in nuclei(maps[0])], [centre(s) for s in nuclei(maps[1])]
    pairs, _ = slow_matches(t, p, record.radius)
    assert detection(record).pairs == pairs
    expected = 2 * pairs / (len(t) + len(p)) if t or p else math.nan
    assert CONVENTIONS["F1 detection"]([record]) == pytest.approx(expected, nan_ok=True)


@thorough
@given(seeds)
def test_assignment_is_the_best_there_is(seed):
    rng = np.random.default_rng(seed)
    cells = np.argwhere(rng.random((4, 5)) < 0.4)
    gain = rng.integers(1, 9, len(cells)).astype(float)
    rows, columns = cells[:, 0], cells[:, 1]
    table = np.zeros((4, 5))
    table[rows, columns] = gain
    best = max(sum(table[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(5), 4))
    chosen = assign(rows, columns, gain)
    assert gain[chosen].sum() == best
    assert len(set(rows[chosen])) == len(set(columns[chosen])) == len(chosen)


def dots(places: dict[tuple[int, int], int], size=(30, 30), mpp=None) -> Panoptic:
    """One-pixel things at (row, column): category."""
    ids = np.zeros(size, int)
    for i, place in enumerate(places, 1):
        ids[place] = i
    return Panoptic.from_ids(ids, dict(enumerate(places.values(), 1)), SMALL, mpp)


def test_detection_reaches_three_micrometres_or_twelve_pixels():
    f1 = CONVENTIONS["F1 detection"]
    assert f1([Record.of(dots({(0, 0): 3}), dots({(12, 0): 3}))]) == 1
    assert f1([Record.of(dots({(0, 0): 3}), dots({(13, 0): 3}))]) == 0
    assert f1([Record.of(dots({(0, 0): 3}, mpp=0.5), dots({(6, 0): 3}))]) == 1
    assert f1([Record.of(dots({(0, 0): 3}), dots({(7, 0): 3}, mpp=0.5))]) == 0


def test_detection_prefers_more_pairs_to_shorter_ones():
    """Two pairs at 11 px each; the least total distance would take 1 px and leave a pair at 16 px, out of reach."""
    record = Record.of(dots({(0, 0): 3, (0, 12): 3}), dots({(11, 0): 3, (0, 1): 3}))
    assert detection(record).pairs == 2


def test_typed_f1_by_hand():
    """Three pairs: cell and cell, cell and lymphocyte, two lymphocytes; then an extra cell and a missed lymphocyte."""
    truth = dots({(0, 0): 3, (0, 10): 3, (0, 20): 4, (25, 25): 4}, mpp=1.0)
    prediction = dots({(0, 0): 3, (0, 10): 4, (0, 20): 4, (25, 0): 3}, mpp=1.0)
    cell, lymphocyte = 2 / (2 + 2 + 1), 2 / (2 + 2 + 1)
    assert CONVENTIONS["F1 typed"]([Record.of(truth, prediction)]) == pytest.approx((cell + lymphocyte) / 2)
    only = dots({(0, 0): 3}), dots({(0, 0): 3, (20, 20): 4})
    assert CONVENTIONS["F1 typed"]([Record.of(*only)]) == 1  # a class that the truth lacks is not averaged


def test_r2_by_hand():
    def image(cells, found):
        return Record.of(dots({(0, i): 3 for i in range(cells)}), dots({(0, i): 3 for i in range(found)}))

    r2 = CONVENTIONS["R2 of counts"]
    assert r2([image(1, 1), image(2, 2), image(3, 3)]) == 1
    assert r2([image(1, 2), image(2, 2), image(3, 2)]) == 0
    assert r2([image(1, 3), image(3, 1)]) == pytest.approx(1 - 8 / 2)
    assert r2([image(2, 2), image(2, 2)]) == 1
    assert r2([image(2, 3), image(2, 2)]) == 0
    assert math.isnan(r2([image(2, 2)]))
    both = [Record.of(dots({(0, 0): 3, (5, 5): 4}), dots({(0, 0): 3})), Record.of(dots({}), dots({}))]
    assert r2(both) == pytest.approx((1 + (1 - 1 / 0.5)) / 2)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_empty_maps_have_the_values_that_the_table_says(name):
    row = CONVENTIONS[name]
    full, none = dots({(3, 3): 3}), dots({})
    found = [row([Record.of(*pair)]) for pair in ((none, full), (full, none), (none, none))]
    assert found == pytest.approx(row.empty, nan_ok=True)
    assert math.isnan(row([]))


@pytest.mark.parametrize("name", [n for n in CONVENTIONS if n != "R2 of counts"])
def test_a_map_against_itself_scores_one(name):
    ids = np.kron([[1, 2, 3], [4, 0, 5]], np.ones((4, 4), int))
    panoptic = Panoptic.from_ids(ids, {1: 1, 2: 3, 3: 4, 4: 2, 5: 3}, SMALL)
    assert CONVENTIONS[name]([Record.of(panoptic, panoptic)] * 2) == 1


def test_crowds_and_ignored_pixels_are_not_judged_by_histology():
    ids = np.array([[1, 1, 0, 2, 2, 0, 3, 3]])
    truth = Panoptic.from_ids(ids, {1: 3, 2: 3, 3: 3}, SMALL, crowds=[2])
    prediction = Panoptic.from_ids(ids, {1: 3, 2: 4, 3: 3}, SMALL)
    ignore = np.array([[False] * 6 + [True] * 2])
    record = Record.of(truth, prediction, ignore=ignore)
    for name in ("AJI", "AJI+", "Dice", "Dice2", "F1 detection", "F1 typed"):
        assert CONVENTIONS[name]([record]) == 1
    assert CONVENTIONS["R2 of counts"]([record] * 2) == 1


def test_known_categories_make_void_background():
    truth = Panoptic.from_ids(np.array([[1, 1, 0, 0, 0]]), {1: 3}, SMALL)
    prediction = Panoptic.from_ids(np.array([[1, 1, 0, 2, 3]]), {1: 3, 2: 3, 3: 1}, SMALL)
    assert CONVENTIONS["PQ"]([Record.of(truth, prediction)]) == 1
    assert CONVENTIONS["PQ"]([Record.of(truth, prediction, known={3, 4})]) == pytest.approx(1 / 1.5)
