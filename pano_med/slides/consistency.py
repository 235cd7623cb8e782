"""Nuclei that are improbable in the tissue around them: flagged, and re-weighted on demand in a file beside the result.

A flag is a question, not an answer. P(class | tissue) says how often a class is met in a tissue, so a flagged nucleus
is a rare sight there: perhaps a wrong class, perhaps wrong tissue, perhaps the lone tumour cell one is looking for.

P(class | tissue) is counted on the slide itself, each nucleus with its score, on top of `PRIOR`, which weighs as much
as `WEIGHT` nuclei: tissue with few nuclei is judged by the prior, tissue with many by what was found in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import ndimage

from pano_med.formats import replacing
from pano_med.slides.outlines import tissue_map
from pano_med.slides.store import Result
from pano_med.types import Category, Taxonomy

#: Name of the side file in a result folder.
FILE = "consistency.parquet"
#: Radius of the tissue that counts as "around" a nucleus, in micrometres: two to three nuclei to each side.
RADIUS_UM = 25.0
#: A nucleus is flagged where P(class | tissue) is below this.
BELOW = 0.05
#: The prior counts as much as this many nuclei in each tissue.
WEIGHT = 1000.0
#: P(class | tissue) before anything was counted: round figures by judgement, for classes of these names. Classes of
#: other names share their tissue evenly.
PRIOR: Mapping[str, Mapping[str, float]] = {
    "tumour": {"neoplastic nucleus": 0.75, "inflammatory nucleus": 0.15, "connective nucleus": 0.10},
    "other tissue": {"neoplastic nucleus": 0.04, "inflammatory nucleus": 0.38, "connective nucleus": 0.58},
}
#: Tissue without nuclei, and the probability that one is there after all. It is never counted: how many nuclei were
#: found on glass says nothing about how many belong there.
EMPTY: Mapping[str, float] = {"background": 0.01}
#: Scores are kept this far from 0 and 1, so that no nucleus is beyond doubt.
_DOUBT = 0.01


@dataclass(frozen=True)
class Expected:
    """How often each class is met.

    Attributes:
        table: (K, S) P(class | tissue) for the taxonomy's things and stuff, in their order; a column sums to 1, on
            empty tissue to what `EMPTY` says.
        overall: (K,) share of each class on the whole slide; sums to 1.
    """

    table: np.ndarray
    overall: np.ndarray


def _typed(taxonomy: Taxonomy) -> tuple[Category, ...]:
    """The classes that are told apart; where there is but "nucleus", that one."""
    return taxonomy.things or tuple(c for c in taxonomy.all if c.isthing)


def prior(taxonomy: Taxonomy) -> np.ndarray:
    """(K, S) P(class | tissue) before anything was counted, for the taxonomy's things and stuff."""
    things = _typed(taxonomy)
    table = np.full((len(things), taxonomy.num_stuff), 1 / max(len(things), 1))
    for j, tissue in enumerate(taxonomy.stuff):
        known = PRIOR.get(tissue.name, {})
        if tissue.name in EMPTY:
            table[:, j] *= EMPTY[tissue.name]
        elif set(known) == {c.name for c in things}:
            table[:, j] = [known[c.name] for c in things]
    return table


def expected(taxonomy: Taxonomy, kinds: np.ndarray, tissue: np.ndarray, scores: np.ndarray) -> Expected:
    """Count which classes stand in which tissue, on top of the prior.

    Args:
        taxonomy: the table.
        kinds: (N,) place of each nucleus's class among the taxonomy's things; others (type unknown) aren't counted.
        tissue: (N,) place of the tissue around it among the taxonomy's stuff, -1 where there is none.
        scores: (N,) 0..1, the weight of each.
    """
    before = prior(taxonomy)
    found = np.zeros(before.shape)
    typed = kinds < len(before)
    counted = typed & (tissue >= 0)
    np.add.at(found, (kinds[counted], tissue[counted]), scores[counted])
    found[:, [s.name in EMPTY for s in taxonomy.stuff]] = 0
    table = (found + WEIGHT * before) / (found.sum(0) / before.sum(0) + WEIGHT)
    overall = np.bincount(kinds[typed], scores[typed], len(before)) + 1.0  # one of each, so that none is impossible
    return Expected(table, overall / overall.sum())


def consistency(result: Result, below: float = BELOW) -> pa.Table:
    """Judge every nucleus by the tissue around it; nothing of the result is changed.

    The tissue around a nucleus is the stuff that covers most of a square of side 2 `RADIUS_UM` around its centre.
    Re-weighting takes the class c that maximises P(seen | c) P(c | tissue) / P(c). There the score s of a nucleus
    counts as the probability of the class it has, and the rest is shared by the others as they are frequent: Bayes'
    rule, with looks and tissue taken as independent. On empty tissue, and on none, classes stay.

    Args:
        result: an opened folder.
        below: P(class | tissue) under which a nucleus is flagged, 0..1. A nucleus of unknown type has the
            probability of any nucleus.

    Returns:
        One row for each nucleus, by id: id, tissue (name or null), probability (P(class | tissue) or null), flag
        (bool), class_reweighted (name), class_reweighted_id.

    Raises:
        ValueError: `below` is not a probability.
    """
    if not 0 <= below <= 1:
        raise ValueError(f"a nucleus is flagged below a probability from 0 to 1, got {below:g}")
    taxonomy, found = result.taxonomy, result.instances(["id", "category_id", "score", "row", "column"])
    things = [*_typed(taxonomy), *(c for c in taxonomy.all if c == taxonomy.unclassed)]
    place = np.zeros(256, np.int64)
    place[[c.id for c in things]] = np.arange(len(things))
    kinds, scores = place[found["category_id"].to_numpy()], found["score"].fill_null(1.0).to_numpy().astype(float)
    tissue = tissue_around(result, found["row"].to_numpy(), found["column"].to_numpy())
    chances = expected(taxonomy, kinds, tissue, scores)
    given = np.vstack([chances.table, chances.table.sum(0)])  # the last row is any nucleus
    probability = given[kinds, tissue]
    new = _reweighted(taxonomy, chances, kinds, tissue, scores)
    names, stuff = np.array([c.name for c in things] or [""]), np.array([c.name for c in taxonomy.stuff] or [""])
    around = pa.array(stuff[tissue], pa.string(), mask=tissue < 0) if len(tissue) else pa.array([], pa.string())
    return pa.table(
        {
            "id": found["id"],
            "tissue": around,
            "probability": pa.array(probability.astype(np.float32), mask=tissue < 0),
            "flag": pa.array((tissue >= 0) & (probability < below)),
            "class_reweighted": pa.array(names[new], pa.string()),
            "class_reweighted_id": pa.array(np.array([c.id for c in things] or [0], np.uint8)[new]),
        }
    )


def tissue_around(result: Result, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(N,) place among the taxonomy's stuff of the tissue around each place in level-0 pixels, -1 where none is."""
    tissue = tissue_map(result)
    height, width = tissue.classes.shape
    y = np.clip(rows / tissue.step, 0, height - 1).astype(int)
    x = np.clip(columns / tissue.step, 0, width - 1).astype(int)
    side = 1 + 2 * round(RADIUS_UM / (result.mpp * tissue.step))
    best, found = np.zeros(len(y)), np.full(len(y), -1)
    for j, category in enumerate(result.taxonomy.stuff):
        share = ndimage.uniform_filter((tissue.classes == category.id).astype(np.float32), side, mode="constant")[y, x]
        more = share > best + 1e-6  # sums of the filter are off by that much
        best[more], found[more] = share[more], j
    return found


def _reweighted(
    taxonomy: Taxonomy, chances: Expected, kinds: np.ndarray, tissue: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """(N,) place of the most probable class among things."""
    empty = np.array([s.name in EMPTY for s in taxonomy.stuff] + [True])  # the last stands for no tissue
    out, typed = kinds.copy(), len(chances.overall)
    moving = np.flatnonzero((kinds < typed) & ~empty[tissue] & (typed > 1))
    k, t, s = kinds[moving], tissue[moving], np.clip(scores[moving], _DOUBT, 1 - _DOUBT)
    odds = chances.table.T[t] / chances.overall  # (n, K)
    seen = (1 - s)[:, None] * chances.overall / (1 - chances.overall[k])[:, None]
    seen[np.arange(len(k)), k] = s
    if len(moving):
        out[moving] = (odds * seen).argmax(1)
    return out


def write_consistency(result: Result, folder: str | Path, below: float = BELOW) -> pa.Table:
    """Write `consistency` to `FILE` in the folder; delete the file and nothing was re-weighted.

    Raises:
        ValueError: `below` is not a probability.
        OSError: the file cannot be written.
    """
    table = consistency(result, below)
    with replacing(Path(folder) / FILE) as file:
        pq.write_table(table, file)
    return table
