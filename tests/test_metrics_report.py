"""Bootstrap intervals and the report over many maps."""

import json
import math

import numpy as np
import pytest
from metrics_cases import SMALL, random_map, random_pair

from pano_med.metrics import CONVENTIONS, bootstrap, evaluate, paired_bootstrap, panoptic_quality, total
from pano_med.types import HE_CORE, Panoptic


def mean(values):
    return float(np.mean(values))


def test_interval_of_a_mean_covers_as_it_should():
    """95 % intervals of the mean of 60 normal numbers hold the true mean in about 19 of 20 trials."""
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(100):
        found = bootstrap(list(rng.normal(2, 1, 60)), mean, samples=100, seed=trial)
        held += found.low <= 2 <= found.high
    assert 88 <= held <= 99


def test_same_seed_same_interval_and_the_global_seed_is_left_alone():
    values = list(range(10))
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the point is that nobody touches it
    assert bootstrap(values, mean, seed=1) == bootstrap(values, mean, seed=1)
    assert bootstrap(values, mean, seed=1) != bootstrap(values, mean, seed=2)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_percentiles_by_hand():
    """Two items 0 and 1: a draw's mean is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4."""
    found = bootstrap([0, 1], mean, samples=4000)
    assert (found.value, found.low, found.high, found.units) == (0.5, 0, 1, 2)
    half = bootstrap([0, 1], mean, samples=4000, level=0.4)
    assert (half.low, half.high) == (0.5, 0.5)


def test_groups_are_drawn_whole_and_widen_the_interval():
    values, groups = [0.0] * 10 + [1.0] * 10, ["a"] * 10 + ["b"] * 10
    seen = set()

    def spy(drawn):
        seen.add((drawn.count(0.0), drawn.count(1.0)))
        return mean(drawn)

    found = bootstrap(values, spy, groups=groups)
    assert seen == {(20, 0), (10, 10), (0, 20)}
    assert (found.low, found.high, found.units) == (0, 1, 2)
    alone = bootstrap(values, mean)
    assert alone.high - alone.low < 0.5


def test_draws_without_a_value_are_left_out_and_counted():
    found = bootstrap([math.nan, 1.0], lambda v: mean(v), samples=2000)
    assert (found.low, found.high) == (1, 1)
    assert found.undefined == pytest.approx(0.75, abs=0.05)
    nothing = bootstrap([math.nan], mean, samples=5)
    assert math.isnan(nothing.low)
    assert nothing.undefined == 1


def test_paired_difference_is_sharper_than_two_intervals():
    rng = np.random.default_rng(0)
    hard = rng.normal(0.5, 0.2, 40)  # images differ far more than methods do
    found = paired_bootstrap(list(hard + 0.05 + rng.normal(0, 0.01, 40)), list(hard), mean)
    assert found.value == pytest.approx(0.05, abs=0.01)
    assert 0.04 < found.low < found.value < found.high < 0.06
    assert bootstrap(list(hard), mean).high - bootstrap(list(hard), mean).low > 0.09


def test_paired_bootstrap_of_pq():
    pairs = [random_pair(i) for i in range(12)]
    ours = [panoptic_quality(truth, truth) for truth, _ in pairs]
    theirs = [panoptic_quality(*pair) for pair in pairs]
    found = paired_bootstrap(ours, theirs, lambda counts: total(counts).mean()[0], samples=200)
    assert found.value == pytest.approx(total(ours).mean()[0] - total(theirs).mean()[0])
    assert found.low > 0
    assert str(found) == f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def test_bad_bootstraps():
    with pytest.raises(ValueError, match="at least one image, got none"):
        bootstrap([], mean)
    with pytest.raises(ValueError, match="got 2 images and 1 groups"):
        bootstrap([1, 2], mean, groups=["a"])
    with pytest.raises(ValueError, match=r"level between 0 and 1, got 10 and 95"):
        bootstrap([1], mean, samples=10, level=95)
    with pytest.raises(ValueError, match="samples must be at least 1"):
        bootstrap([1], mean, samples=0)
    with pytest.raises(ValueError, match="same images on both sides, got 2 and 1"):
        paired_bootstrap([1, 2], [1], mean)


def named(seeds):
    return [(f"tile{i}", *random_pair(i)) for i in seeds]


def test_report_holds_every_convention_and_agrees_with_the_parts():
    report = evaluate(iter(named(range(5))), samples=50)
    assert [row.name for row in report.rows] == list(CONVENTIONS)
    assert (report.images, report.units) == (5, 5)
    counts = sum(panoptic_quality(t, p) for _, t, p in named(range(5)))
    assert report["PQ"] == pytest.approx(counts.mean()[0])
    assert report["PQ stuff"] == pytest.approx(counts.mean("stuff")[0])
    row = report.rows[0]
    assert row.interval.low <= row.value <= row.interval.high
    assert row.interval.low < row.interval.high
    assert report.table()[0] == ("PQ", row.value, CONVENTIONS["PQ"].definition)


def test_report_as_json_and_text():
    report = evaluate(named(range(3)), samples=20)
    data = report.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["rows"][0]["low"] <= data["rows"][0]["value"]
    assert data["level"] == 0.95
    assert data["pq"]["all"]["pq"] == pytest.approx(report["PQ"])
    text = str(report).splitlines()
    assert text[0] == "3 images, 3 units"
    assert text[1].startswith(f"PQ                 {report['PQ']:.3f} [")
    single = evaluate(named([0]))
    assert single.rows[0].interval is None
    assert "R2 of counts       -  " in str(single)
    assert single.to_dict()["rows"][-1]["value"] is None


def test_groups_tissues_and_known_reach_the_rows():
    names = [f"tile{i}" for i in range(4)]
    groups = dict(zip(names, ["p1", "p1", "p2", "p2"], strict=True))
    tissues = dict(zip(names, ["colon", "colon", "colon", "breast"], strict=True))
    report = evaluate(named(range(4)), groups=groups, tissues=tissues, known={3}, samples=20)
    assert report.units == 2
    assert report.rows[0].interval.units == 2
    plain = evaluate(named(range(4)), samples=0)
    assert plain.rows[0].interval is None
    assert report["bPQ (PanNuke)"] != pytest.approx(plain["bPQ (PanNuke)"])
    counts = sum(panoptic_quality(t, p, categories={3}, void_is_background=True) for _, t, p in named(range(4)))
    assert report["PQ"] == pytest.approx(counts.mean()[0])


def test_objects_without_a_type_are_announced():
    truth = Panoptic.from_ids(np.array([[1, 1, 2, 0]]), {1: 5, 2: 3}, SMALL)
    report = evaluate([("a", truth, truth)])
    assert report.notes[0].startswith("1 true objects are 'object', of no known type")
    assert report.notes[0] in str(report)
    typed = random_map(np.random.default_rng(0), unclassed=False)
    assert evaluate([("a", typed, typed)]).notes == ()


def test_bad_reports():
    one, two = (Panoptic.from_ids(np.ones((1, n), int), {1: 1}, SMALL) for n in (1, 2))
    with pytest.raises(ValueError, match="at least one pair of truth and prediction, got none"):
        evaluate([])
    with pytest.raises(ValueError, match=r"^tile7: truth and prediction must be of one size"):
        evaluate([("tile7", one, two)])
    with pytest.raises(KeyError, match="each image needs a group, 'tile7' has none"):
        evaluate([("tile7", one, one)], groups={"tile8": "p1"})
    with pytest.raises(KeyError, match="each image needs a tissue, 'tile7' has none"):
        evaluate([("tile7", one, one)], tissues={})
    other = Panoptic.from_ids(np.ones((1, 1), int), {1: 1}, HE_CORE)
    with pytest.raises(ValueError, match="must have the same categories"):
        evaluate([("a", one, one), ("b", other, other)])
    with pytest.raises(KeyError, match="the report has no row 'F2'; it has PQ"):
        evaluate([("a", one, one)])["F2"]
