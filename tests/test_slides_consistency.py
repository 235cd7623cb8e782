"""Nuclei that are improbable in their tissue: flagged, re-weighted in a file beside the result, reversibly."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from slide_results import painted, write_result

from pano_med.slides.consistency import EMPTY, FILE, PRIOR, WEIGHT, consistency, expected, prior, tissue_around
from pano_med.slides.export import export
from pano_med.slides.store import TABLE, Result
from pano_med.types import HE_CORE, OKABE_ITO, Category, Taxonomy

PLAIN = Taxonomy("plain", HE_CORE.stuff, Category(7, "nucleus", True, OKABE_ITO["yellow"]))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return write_result(tmp_path_factory.mktemp("slide"), *painted())


def row_of(result: Result, place: tuple[int, int]) -> int:
    """The row of the nucleus on this pixel of the map."""
    return int(result.ids(0)[place]) - 1


def test_the_lone_tumour_nucleus_and_the_one_on_glass_are_flagged(result):
    judged = consistency(result)
    lone, glass = row_of(result, (232, 72)), row_of(result, (122, 10))
    assert result.instances()["class"][lone].as_py() == "neoplastic nucleus"
    assert {lone, glass} <= set(np.flatnonzero(judged["flag"]))
    assert judged["tissue"][lone].as_py() == "other tissue"
    assert judged["tissue"][glass].as_py() == "background"
    assert judged["flag"].to_pylist().count(True) <= 4  # and those at the border of tumour
    assert judged["id"].to_pylist() == result.instances()["id"].to_pylist()


def test_the_tissue_around_is_what_covers_most(result):
    rows, columns = np.array([20.0, 480.0, 240.0, 100.0]), np.array([400.0, 200.0, 4.0, 505.0])
    names = [None if i < 0 else HE_CORE.stuff[i].name for i in tissue_around(result, rows, columns)]
    assert names[:3] == ["tumour", "other tissue", "background"]
    assert tissue_around(result, np.array([]), np.array([])).tolist() == []


def test_probabilities_are_counts_on_top_of_the_prior():
    kinds, tissue, scores = np.array([0, 0, 1, 2, 2]), np.array([1, 1, 1, 2, 0]), np.array([1.0, 0.5, 0.5, 1.0, 1.0])
    table = expected(HE_CORE, kinds, tissue, scores).table
    tumour = [PRIOR["tumour"][c.name] for c in HE_CORE.things]
    np.testing.assert_allclose(table[:, 1], (np.array([1.5, 0.5, 0]) + WEIGHT * np.array(tumour)) / (2 + WEIGHT))
    np.testing.assert_allclose(table.sum(0), [EMPTY["background"], 1, 1])
    np.testing.assert_allclose(table[:, 0], EMPTY["background"] / 3)  # glass is never counted


def test_reweighting_is_bayes_rule(tmp_path):
    """Oracle: one nucleus at a time, one class at a time; scores from doubtful to sure."""
    result = write_result(tmp_path / "r", *painted())
    table = result.instances()
    scores = pa.array(np.random.default_rng(0).uniform(0.1, 1, table.num_rows), pa.float32())
    pq.write_table(table.set_column(3, "score", scores), tmp_path / "r" / TABLE)
    judged, table = consistency(result), result.instances()
    ids, tissues = [c.id for c in HE_CORE.things], [c.name for c in HE_CORE.stuff]
    kinds = np.array([ids.index(i) for i in table["category_id"].to_pylist()])
    places = np.array([-1 if t is None else tissues.index(t) for t in judged["tissue"].to_pylist()])
    scores = table["score"].to_numpy().astype(float)
    chances = expected(HE_CORE, kinds, places, scores)
    for k, t, s, new in zip(kinds, places, scores, judged["class_reweighted"].to_pylist(), strict=True):
        weights = []
        for c in range(3):
            other = (1 - s) * chances.overall[c] / (1 - chances.overall[k])
            weights.append((min(s, 0.99) if c == k else max(other, 0)) * chances.table[c, t] / chances.overall[c])
        best = k if tissues[t] in EMPTY else int(np.argmax(weights))
        assert new == HE_CORE.things[best].name
    changed = sum(a != b for a, b in zip(judged["class_reweighted"], table["class"], strict=True))
    assert 10 < changed < table.num_rows


def test_it_is_visible_and_reversible(result, tmp_path):
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in Path(result.folder).rglob("*") if p.is_file()}
    qupath, csv = export(result, ["qupath", "csv"], tmp_path, reweight=True)
    assert {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in before} == before
    assert pq.read_table(tmp_path / FILE).equals(consistency(result))
    table = pa_csv.read_csv(csv)
    assert table["class"].to_pylist() == result.instances()["class"].to_pylist()
    assert table["class_reweighted"].to_pylist() == consistency(result)["class_reweighted"].to_pylist()
    text = qupath.read_text()
    changed = sum(a != b for a, b in zip(table["class"], table["class_reweighted"], strict=True))
    assert text.count('"class changed": 1') == changed > 0
    assert text.count('"improbable here": 1') == table["flag"].to_pylist().count(True)


def test_plain_nuclei_are_judged_by_being_there_at_all(tmp_path):
    ids, classes = painted()
    classes = np.where(ids > 0, 7, classes).astype(np.uint8)
    for taxonomy in (PLAIN, HE_CORE):  # the only class there is, or the type that nobody knows
        result = write_result(tmp_path / taxonomy.name, ids, classes, taxonomy)
        judged = consistency(result)
        assert np.flatnonzero(judged["flag"]).tolist() == [row_of(result, (122, 10))]
        assert set(judged["class_reweighted"].to_pylist()) == {"nucleus"}


def test_a_slide_without_nuclei_and_a_strange_taxonomy(tmp_path):
    empty = write_result(tmp_path / "r", np.zeros((64, 64), np.uint32), np.full((64, 64), 3, np.uint8))
    assert consistency(empty).num_rows == 0
    strange = (Category(4, "x", True, (0, 0, 0)), Category(5, "y", True, (0, 0, 0)))
    other = dataclasses.replace(HE_CORE, categories=(*HE_CORE.stuff, *strange))
    np.testing.assert_allclose(prior(other)[:, 1:], 0.5)


def test_the_limit_is_a_probability(result):
    with pytest.raises(ValueError, match="below a probability from 0 to 1, got 5"):
        consistency(result, 5)
