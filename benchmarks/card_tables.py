"""The tables of a model card, as Markdown. Every number comes from `card_fields.Field`s."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from card_fields import Field
from card_looks import AXES, GAP_UM, NUCLEUS_UM2, Shapes, bin_names, binned, quarters, shapes_of

from pano_med.data import card
from pano_med.metrics import Interval, PQCounts, Reliability, bootstrap, reliability, total
from pano_med.metrics.quality import Kind
from pano_med.types import HE_CORE, Category, Taxonomy

#: Ends the name of a part without the images whose labels are known to be wrong.
WELL_DRAWN = ", without the misdrawn"
#: Reliability, and the 95 % range of each bin's share.
Calibrated = tuple[Reliability, list[tuple[float, float]]]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int] = (0,)) -> str:
    """A Markdown table; the columns of `words` are text and stand left, the others are numbers and stand right."""
    lines = [heads, ["---" if i in words else "---:" for i in range(len(heads))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float, digits: int = 3) -> str:
    """A number for people; "n/a" where there is none."""
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def with_range(interval: Interval, telling: int | None = None) -> str:
    """Value and 95 % interval, e.g. "0.583 (0.542-0.622)".

    Args:
        interval: of a bootstrap over images.
        telling: images that have a say in it, default all; with fewer than two there is no range.
    """
    if min(interval.units, interval.units if telling is None else telling) < 2 or math.isnan(interval.low):
        return number(interval.value)
    return f"{number(interval.value)} ({number(interval.low)}-{number(interval.high)})"


def objects_name(taxonomy: Taxonomy) -> str:
    """What the things are called together: "nucleus", "gland"."""
    return taxonomy.unclassed.name if taxonomy.unclassed else taxonomy.things[0].name


def core(fields: Sequence[Field]) -> list[Field]:
    """The fields that calibration, sizes and failures rest on: things drawn, and well, on slides never trained on."""
    drawn = [f for f in fields if f.drawn and not f.misdrawn]
    return [f for f in drawn if f.unseen] or drawn


def quality(fields: Sequence[Field], cut: float) -> str:
    """PQ, SQ and RQ by data set and class, with intervals over images and over patients."""
    rows = list[list[str]]()
    for name, chosen in _scopes(fields):
        for what, counts, kind, iou in _judged(chosen, cut):
            if name.endswith(WELL_DRAWN) and iou:
                continue
            groups = [f.sample.group for f, _ in counts]
            items = [c for _, c in counts]
            pq, sq, rq = _intervals(items, kind)
            people = bootstrap(items, lambda c, kind=kind: total(c).mean(kind)[0], groups=groups)
            alone = people.units < 2 or people.units == len(items)
            n, telling = sum(int((c.tp + c.fn).sum()) for c in items), sum(bool(c.present.any()) for c in items)
            rows.append([name, what, f"{len(items)}", f"{people.units}", f"{n:,}", with_range(pq, telling),
                         "-" if alone else f"{number(people.low)}-{number(people.high)}", with_range(sq, telling),
                         with_range(rq, telling), iou])  # fmt: skip
    heads = ("validation part", "what", "images", "groups", "objects", "PQ (95 %)", "PQ, groups drawn", "SQ (95 %)",
             "RQ (95 %)", "IoU")  # fmt: skip
    return table(heads, rows, (0, 1))


def _scopes(fields: Sequence[Field]) -> Iterator[tuple[str, list[Field]]]:
    """Names and fields of the table's parts: unseen patients of all sets together, then each set."""
    sources = sorted({f.sample.source for f in fields})
    together = [f for f in fields if f.drawn and f.unseen]
    if len({f.sample.source for f in together}) > 1:
        yield from _with_and_without("unseen patients, all sets", together)
    for source in sources:
        chosen = [f for f in fields if f.sample.source == source]
        yield from _with_and_without(source if chosen[0].unseen else f"{source} \\*", chosen)


def _with_and_without(name: str, fields: list[Field]) -> Iterator[tuple[str, list[Field]]]:
    yield name, fields
    good = [f for f in fields if not f.misdrawn]
    if good and len(good) < len(fields):
        yield name + WELL_DRAWN, good


def _judged(fields: Sequence[Field], cut: float
            ) -> Iterator[tuple[str, list[tuple[Field, PQCounts]], Kind, str]]:
    """What can be said of some fields: (name, counts of each field, kind of the mean, IoU of stuff)."""
    taxonomy = fields[0].found.taxonomy
    typed = len(taxonomy.things) > 1
    if drawn := [f for f in fields if f.drawn]:
        suffix = ", type ignored" if typed else ""
        yield objects_name(taxonomy) + suffix, [(f, f.by_cut[cut]) for f in drawn], "things", ""
    if len({f.sample.source for f in fields}) > 1:
        return
    known = frozenset.intersection(*(f.sample.known for f in fields))
    for c in taxonomy.things if typed else ():
        if c.id in known:
            yield c.name, _only(fields, c), "things", ""
    for c in taxonomy.stuff:
        if c.id in known and any(f.stuff[c.id][1] for f in fields):
            shared, joined = np.sum([f.stuff[c.id] for f in fields], axis=0)
            yield c.name, _only(fields, c), "stuff", number(shared / joined)
    if known >= {c.id for c in taxonomy.categories}:
        yield "all classes", [(f, f.classes) for f in fields], "all", ""


def _only(fields: Sequence[Field], category: Category) -> list[tuple[Field, PQCounts]]:
    return [(f, f.classes.only({category.id})) for f in fields]


def _intervals(items: Sequence[PQCounts], kind: Kind) -> list[Interval]:
    """PQ, SQ and RQ with their intervals; all three are read off the same draws, so each is summed once."""
    means = list[tuple[float, float, float]]()

    def first(counts: Sequence[PQCounts]) -> float:
        means.append(total(counts).mean(kind))
        return means[-1][0]

    intervals = [bootstrap(items, first)]
    for k in (1, 2):
        again = iter(means)
        intervals.append(bootstrap(items, lambda _, k=k, again=again: next(again)[k]))
    return intervals


def calibrated(fields: Sequence[Field]) -> Calibrated:
    """Reliability of all scores above the lowest cut, and the 95 % range of each bin's share over images."""
    cut = min(fields[0].tables)
    single = [reliability(f.tables[cut].score, f.tables[cut].found_iou > 0) for f in fields]
    scores, ious = (np.concatenate([getattr(f.tables[cut], k) for f in fields]) for k in ("score", "found_iou"))
    # of each image and bin: how many match, and how many there are
    parts = np.stack([[np.nan_to_num(r.share * r.n), r.n] for r in single])
    ranges = [bootstrap(list(parts[:, :, k]), _share) for k in range(parts.shape[2])]
    return reliability(scores, ious > 0), [(r.low, r.high) for r in ranges]


def calibration(fields: Sequence[Field], measured: Calibrated, cut: float) -> str:
    """The reliability table with the calibration error, and what each cut on the score finds."""
    whole, ranges = measured
    name = objects_name(fields[0].found.taxonomy)
    rows = [[f"{a:.1f} to {b:.1f}", f"{n:,}", number(s), f"{number(share)} ({number(low)}-{number(high)})"]
            for a, b, n, s, share, (low, high) in zip(whole.edges, whole.edges[1:], whole.n, whole.score, whole.share,
                                                     ranges, strict=False) if n]  # fmt: skip
    shown = [f.tables[cut] for f in fields]
    scores, right = np.concatenate([t.score for t in shown]), np.concatenate([t.found_iou > 0 for t in shown])
    said = reliability(scores, right)
    mean = np.mean(scores) if len(scores) else math.nan
    share = np.mean(right) if len(right) else math.nan
    tendency = "low" if share > mean else "high"
    lines = [
        f"Of the things with a score in each bin, how many match a true {name} (IoU above 0.5)? All {whole.n.sum():,} "
        f"that the network gives on {len(fields)} images; the range is 95 % over images.",
        table(("score", "things", "mean score", "matched (95 %)"), rows),
        f"Expected calibration error: **{number(whole.ece)}** over all of them, {number(said.ece)} over the "
        f"{len(scores):,} that are shown (score above {cut:g}). Those have a mean score of {number(mean)} and "
        f"{number(share)} of them match: taken as probabilities the scores are too {tendency}.",
        _cuts(fields, cut),
    ]
    return "\n\n".join(lines)


def _cuts(fields: Sequence[Field], shipped: float) -> str:
    rows, quality_of = [], {}
    for cut in sorted(fields[0].by_cut):
        counts = total([f.by_cut[cut] for f in fields])
        tp, fp, fn = (int(n.sum()) for n in (counts.tp, counts.fp, counts.fn))
        quality_of[cut] = counts.mean("things")[0]
        marked = f"**{cut:g}** (shipped)" if cut == shipped else f"{cut:g}"
        rows.append([marked, f"{tp + fp:,}", number(_ratio(tp, tp + fp)), number(_ratio(tp, tp + fn)),
                     number(quality_of[cut])])  # fmt: skip
    best = max(quality_of, key=lambda c: (quality_of[c], -abs(c - shipped)))
    near = [c for c in quality_of if quality_of[best] - quality_of[c] <= 0.01]
    said = (f"The best cut of this table is {best:g} (PQ {number(quality_of[best])}), the shipped one {shipped:g} (PQ "
            f"{number(quality_of[shipped])}); from {min(near):g} to {max(near):g} PQ differs by at most 0.010. **The "
            "cut was chosen on these very images** (unless the text above says otherwise), so PQ at it is a little "
            "too good; the differences between neighbouring rows say by how much at most.")  # fmt: skip
    why = ("A higher cut shows fewer things, more of them right (precision), and misses more (recall); PQ weighs both, "
           "and the outlines.")  # fmt: skip
    return "\n\n".join([why, table(("cut", "things", "precision", "recall", "PQ"), rows), said])


def by_stain(fields: Sequence[Field], cut: float) -> str:
    """PQ by the measured look of the stain."""
    groups: dict[str, list[Field]] = {}
    for f in fields:
        if f.drawn and not f.misdrawn:
            groups.setdefault(f.look.name, []).append(f)
    rows = []
    for name, chosen in sorted(groups.items()):
        items = [f.by_cut[cut] for f in chosen]
        share, density = (np.array([getattr(f.look, k) for f in chosen]) for k in ("haematoxylin", "density"))
        who = Counter(f.sample.group + ("" if f.unseen else " \\*") for f in chosen)
        rows.append([name, f"{share.min():.2f}-{share.max():.2f}", f"{density.min():.2f}-{density.max():.2f}",
                     f"{len(chosen)}", f"{sum(int((c.tp + c.fn).sum()) for c in items):,}",
                     with_range(bootstrap(items, lambda c: total(c).mean("things")[0])),
                     ", ".join(f"{group}: {n}" for group, n in sorted(who.items()))])  # fmt: skip
    heads = ("look", "haematoxylin", "density", "images", "objects", "PQ (95 %)", "groups: images")
    return table(heads, rows, (0, 6))


def by_size(fields: Sequence[Field], cut: float) -> str:
    """What is found of things by size, shape and distance to their neighbours."""
    shapes = {id(f): shapes_of(f.sample.truth, f.tables[cut].truth_id, _mpp(f)) for f in fields if f.sample.truth}
    whole = sum(int(s.whole.sum()) for s in shapes.values())
    cut_off = sum(len(s.whole) for s in shapes.values()) - whole
    areas = np.concatenate([s.area_um2[s.whole] for s in shapes.values()])
    edges = NUCLEUS_UM2 if fields[0].found.taxonomy == HE_CORE else quarters(areas)
    parts: Mapping[str, tuple[str, Sequence[float], str]] = {
        "area": ("area_um2", edges, "um2"),
        "length : width": ("axes", AXES, ""),
        "gap to the nearest": ("gap_um", GAP_UM, "um"),
    }
    rows = []
    for title, (column, limits, unit) in parts.items():
        for k, name in enumerate(bin_names(limits, unit)):
            items = [_in_bin(f, cut, shapes[id(f)], binned(getattr(shapes[id(f)], column), limits) == k)
                     for f in fields]  # fmt: skip
            found, n, _ = np.transpose(items)
            if n.any():
                share, outline = bootstrap(items, _share), bootstrap([i[[2, 0]] for i in items], _share)
                rows.append([title, name, f"{n.sum():,.0f}", with_range(share, np.count_nonzero(n)),
                             with_range(outline, np.count_nonzero(found))])  # fmt: skip
    said = f"{whole:,} true things; {cut_off:,} more are cut by the edge of their image and left out."
    return said + "\n\n" + table(("what", "bin", "things", "found (95 %)", "SQ of the found (95 %)"), rows, (0, 1))


def _in_bin(field: Field, cut: float, shapes: Shapes, inside: np.ndarray) -> np.ndarray:
    """(3,) float: how many are found, how many there are, and the IoU of the found together."""
    ious = field.tables[cut].truth_iou[inside & shapes.whole]
    return np.array([np.count_nonzero(ious), len(ious), ious.sum()])


def _share(items: Sequence[np.ndarray]) -> float:
    """The sum of the first numbers over the sum of the second; nan where there is nothing."""
    part, whole = np.sum(items, axis=0)[:2]
    return float(part / whole) if whole else math.nan


def by_type(fields: Sequence[Field]) -> str:
    """Found things by their labelled type and the type they were told: a row per set and type; "" without types.

    A match has an IoU above 0.5, so the map's thing on most pixels of a true one is its match.
    """
    taxonomy = fields[0].found.taxonomy
    told = [c.id for c in taxonomy.things] + ([taxonomy.unclassed.id] if taxonomy.unclassed else [])
    types = {c.id for c in taxonomy.things}
    if len(types) < 2:
        return ""
    counts: Counter[tuple[str, int, int]] = Counter()
    for f in fields:
        if not f.drawn or not types & f.sample.known or f.sample.truth is None:
            continue
        truth, source = f.sample.truth, f.sample.source
        labelled, called = ({s.id: s.category_id for s in p.segments} for p in (truth, f.found))
        for number, iou in zip(f.tables[f.cut].truth_id.tolist(), f.tables[f.cut].truth_iou.tolist(), strict=True):
            most = int(np.bincount(f.found.ids[truth.ids == number]).argmax())
            counts[source, labelled[number], called[most] if iou else -1] += 1
    rows = []
    for source in sorted({s for s, _, _ in counts}):
        for label in told:
            line = [counts[source, label, t] for t in (*told, -1)]
            if sum(line):
                rows.append([source, taxonomy[label].name, *(f"{n:,}" for n in line)])
    names = [f"told as {taxonomy[c].name}" for c in told]
    return table(("set", "labelled as", *names, "missed"), rows, (0, 1)) if rows else ""


def estimated(fields: Sequence[Field]) -> list[str]:
    """The sets whose pixel size is an estimate, by their cards."""
    return sorted({f.sample.source for f in fields if card(f.sample.source).front.get("pixel_size") == "estimated"})


def _mpp(field: Field) -> float:
    if field.sample.pixel_size_um is None:
        raise ValueError(f"sizes in micrometres need a pixel size, {field.sample.name} has none")
    return field.sample.pixel_size_um


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
