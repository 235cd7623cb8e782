"""The table of an ablation, with two intervals for each difference because two different things vary.

- **over seeds**: Student's t interval of the paired differences arm - full, one per seed. It answers: would another
  training of the two, on these data, show the same? With two seeds it has one degree of freedom and is 12.7 standard
  errors wide to each side. That is no fault of the formula: two seeds can't tell small effects, run more.
- **over patients**: percentile bootstrap of the same difference, all images of a patient (or field cluster, or slide)
  drawn together, both arms and every seed on the same draw (`pano_med.metrics.paired_bootstrap`). It answers: would
  these very networks differ in the same way on other patients? It knows nothing of the seeds.

Neither contains the other, so a difference is called one (bold in the table) only where both leave 0 out. Seven arms
times three measures are 21 comparisons: about one false alarm of the bootstrap alone is to be expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from pano_med.metrics import Interval, PQCounts, paired_bootstrap
from pano_med.training import Scores
from pano_med.training.arms import ARMS, FULL
from pano_med.types import Taxonomy

#: Column of `Scores.row` -> its name in the table.
MEASURES = {"objects_pq": "PQ of nuclei", "mean_pq": "mean PQ", "stuff_iou": "tissue mIoU"}
LEVEL = 0.95
DRAWS = 1000
Result = Mapping[str, Any]
Counts = npt.NDArray[np.float64]


def flat(scores: Scores) -> list[float]:
    """The sums of some images as one row of numbers that add; `row_of` reads them."""
    parts = [getattr(c, k) for c in (scores.objects, scores.classes) for k in ("tp", "fp", "fn", "iou")]
    return [float(x) for x in np.concatenate([*parts, scores.area.ravel()])]


def row_of(counts: Counts, taxonomy: Taxonomy) -> dict[str, float]:
    """`Scores.row` of sums as `flat` gives them."""
    scores, c = Scores(taxonomy), len(taxonomy.all)
    tables = counts[: 8 * c].reshape(2, 4, c)
    scores.objects, scores.classes = (PQCounts(taxonomy, *t[:3].astype(np.int64), t[3]) for t in tables)
    scores.area = counts[8 * c :].reshape(2, -1)
    return scores.row()


def over_seeds(differences: Sequence[float]) -> Interval:
    """Mean of paired differences and its t interval; nan ends where there are fewer than two."""
    n, values = len(differences), np.array(differences)
    mean = float(values.mean())
    half = math.nan
    if n > 1:
        half = float(student.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, LEVEL, n, 0.0)


def over_patients(ours: Sequence[Result], theirs: Sequence[Result], measure: str) -> Interval:
    """Bootstrap of mean over seeds of ours - theirs; both lists hold one result per seed, in the same order.

    Raises:
        ValueError: two runs were judged on different images.
    """
    runs = (*ours, *theirs)
    names = [[(i["source"], i["name"]) for i in r["images"]] for r in runs]
    if any(n != names[0] for n in names):
        raise ValueError("runs can be compared on the same images only, these were judged on different ones")
    taxonomy = Taxonomy.from_dict(runs[0]["taxonomy"])

    def mean(images: Sequence[Counts]) -> float:  # each (seeds, numbers)
        return float(np.mean([row_of(c, taxonomy)[measure] for c in np.sum(images, axis=0)]))

    # (images, seeds, numbers) each
    sides = [np.array([[i["counts"] for i in r["images"]] for r in side]).swapaxes(0, 1) for side in (ours, theirs)]
    units = [_unit(i) for i in runs[0]["images"]]
    return paired_bootstrap(*map(list, sides), mean, groups=units, samples=DRAWS, level=LEVEL)


def markdown(results: Sequence[Result]) -> str:
    """The page: settings, one row per arm, and how to read it. "full" must be among the results."""
    by_arm = {arm: {r["seed"]: r for r in results if r["arm"] == arm} for arm in ARMS}
    full = by_arm[FULL]
    heads = ["arm", *(h for name in MEASURES.values() for h in (name, "difference")), "parameters", "s / step", "seeds"]
    rows = [_row(arm, by_arm[arm], full) for arm in ARMS if set(by_arm[arm]) & set(full)]
    units = len({_unit(i) for i in results[0]["images"]})
    told = [f"- **{arm}**: {ARMS[arm].question}" for arm in ARMS if by_arm[arm]]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] + ["---:"] * (len(heads) - 1), *rows)]
    return "\n".join(["# Ablations", "", _settings(results), "", *lines, "", _reading(len(full), units), "", *told, ""])


def _row(arm: str, mine: Mapping[int, Result], full: Mapping[int, Result]) -> list[str]:
    seeds = sorted(set(mine) & set(full))  # a difference needs both
    ours, theirs = [mine[s] for s in seeds], [full[s] for s in seeds]
    cells = [arm]
    for measure in MEASURES:
        a, b = ([_number(r["row"][measure]) for r in side] for side in (ours, theirs))
        cells += [f"{np.mean(a):.3f}", "" if arm == FULL else _difference(a, b, over_patients(ours, theirs, measure))]
    pace = np.mean([r["seconds_per_step"] for r in ours])
    return [*cells, f"{ours[0]['parameters']:,}", f"{pace:.2f}", str(len(seeds))]


def _difference(a: Sequence[float], b: Sequence[float], patients: Interval) -> str:
    seeds = over_seeds([x - y for x, y in zip(a, b, strict=True)])
    sure = all(i.low > 0 or i.high < 0 for i in (seeds, patients))
    value = f"{seeds.value:+.3f}"
    return f"{f'**{value}**' if sure else value} {_ends(seeds, '[]')} {_ends(patients, '{}')}"


def _ends(interval: Interval, brackets: str) -> str:
    ends = "one seed" if math.isnan(interval.low) else f"{interval.low:+.3f}, {interval.high:+.3f}"
    return f"{brackets[0]}{ends}{brackets[1]}"


def _settings(results: Sequence[Result]) -> str:
    config, images = results[0]["settings"], results[0]["images"]
    length = f"{config['steps']} steps" if config["steps"] else f"{config['minutes']:g} minutes of training"
    sources = {s: sum(i["source"] == s for i in images) for s in dict.fromkeys(i["source"] for i in images)}
    return (f"{length} a run, {config['batch_size']} crops of {config['crop_size']} px a step at "
            f"{config['model_mpp']:g} um per pixel, from ImageNet's lite0. Judged on {len(images)} images of the "
            f"validation part: {', '.join(f'{k} {n}' for k, n in sources.items())}. "
            f"{'; '.join(dict.fromkeys(r['machine'] for r in results))}.")


def _reading(seeds: int, units: int) -> str:
    few = f" With {seeds} seeds the first is wide: two or three can't tell small effects." if 1 < seeds < 4 else ""
    return (f"Difference from \"full\" with the same seeds: [95 % t interval over seeds] {{95 % bootstrap over {units} "
            f"patients, field clusters and slides}}; bold where both leave 0 out.{few} PQ of nuclei ignores their "
            "class; mean PQ is the mean of it, the PQ of nuclei by class and that of tissue; seconds are medians over "
            "steps, on a machine that may have had other work.")


def _unit(image: Mapping[str, str]) -> tuple[str, str]:
    """What an image belongs to: its patient, or itself where that is not known."""
    return image["source"], image["group"] or image["name"]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
