"""Maps for the tests of metrics: small taxonomies, readers of published fixtures, random pairs, a slow oracle."""

from __future__ import annotations

import numpy as np

from pano_med.types import Category, Panoptic, Taxonomy

GREY = (128, 128, 128)


def table(things: dict[int, str], stuff: dict[int, str], unclassed: int | None = None) -> Taxonomy:
    kinds = [(i, name, False) for i, name in stuff.items()] + [(i, name, True) for i, name in things.items()]
    rows = [Category(*kind, GREY) for kind in kinds]
    none = None if unclassed is None else Category(unclassed, "object", True, GREY)
    return Taxonomy("test", tuple(rows), none)


#: Two stuff, two things, and things without a type.
SMALL = table({3: "cell", 4: "lymphocyte"}, {1: "ground", 2: "tumour"}, unclassed=5)


def from_pairs(pairs: np.ndarray, taxonomy: Taxonomy) -> Panoptic:
    """(H, W, 2) of (category, instance) to a map; the instance of stuff is ignored, unknown categories are void."""
    known = {c.id: c.isthing for c in taxonomy.all}
    ids, kinds = np.zeros(pairs.shape[:2], np.int32), {}
    for category, instance in {tuple(p) for p in pairs.reshape(-1, 2).tolist()}:
        if category in known:
            key = category * 1000 + (instance if known[category] else 0)
            kinds[key] = category
            here = pairs[..., 0] == category
            ids[here & (pairs[..., 1] == instance) if known[category] else here] = key
    return Panoptic.from_ids(ids, kinds, taxonomy)


def to_pairs(panoptic: Panoptic) -> np.ndarray:
    """(1, H, W, 2) of (category, segment id): the form that torchmetrics reads."""
    return np.stack([panoptic.semantic(), panoptic.ids], axis=-1)[None].astype(np.int64)


def random_map(rng: np.random.Generator, size=(12, 16), void=True, crowds=True, block=2, unclassed=True) -> Panoptic:
    """A blocky map of about eight segments of any class."""
    coarse = rng.integers(0 if void else 1, 9, (-(-size[0] // block), -(-size[1] // block)))
    return labelled(rng, np.kron(coarse, np.ones((block, block), int))[: size[0], : size[1]], crowds, unclassed)


def labelled(rng: np.random.Generator, ids: np.ndarray, crowds: bool, unclassed: bool = True) -> Panoptic:
    kinds = {i: int(rng.integers(1, 6 if unclassed else 5)) for i in range(1, 30)}
    crowd = [i for i in kinds if kinds[i] > 2 and rng.random() < 0.2] if crowds else ()
    return Panoptic.from_ids(ids * 7, {i * 7: k for i, k in kinds.items()}, SMALL, crowds=[i * 7 for i in crowd])


def random_pair(seed: int, void=True, predicted_void=True, crowds=True) -> tuple[Panoptic, Panoptic]:
    """A truth, and a prediction that agrees with it on most segments, so that matches happen."""
    rng = np.random.default_rng(seed)
    truth = random_map(rng, void=void, crowds=crowds)
    noise = random_map(rng, void=predicted_void, crowds=False)
    ids = np.where(rng.random(truth.size) < rng.choice([0.0, 0.1, 0.3, 0.6]), noise.ids + 1000, truth.ids)
    ids = np.where(ids == 1000, 0, ids)
    if not predicted_void:
        ids = np.where(ids == 0, 1000 + 7, ids)
    kinds = {s.id: s.category_id for s in truth.segments} | {1007: 1}
    kinds |= {s.id + 1000: s.category_id for s in noise.segments}
    for i in kinds:
        if rng.random() < 0.15:
            kinds[i] = int(rng.integers(1, 6))
    return truth, Panoptic.from_ids(ids, kinds, SMALL)


def pixels(panoptic: Panoptic) -> dict[int, set[tuple[int, int]]]:
    """The pixels of each segment id (0 = void), one by one."""
    found: dict[int, set[tuple[int, int]]] = {0: set()}
    for (row, column), i in np.ndenumerate(panoptic.ids):
        found.setdefault(int(i), set()).add((row, column))
    return found


def slow_pq(truth: Panoptic, prediction: Panoptic, void_is_background=False, ignore=None) -> dict[int, list[float]]:
    """[tp, fp, fn, iou] of each category by the COCO rule, with sets of pixels and plain loops."""
    out = {c.id: [0, 0, 0, 0.0] for c in truth.taxonomy.all}
    t, p = pixels(truth), pixels(prediction)
    dark = set() if ignore is None else {(int(r), int(c)) for r, c in np.argwhere(ignore)}
    t = {i: s - dark for i, s in t.items()}
    void = dark | (set() if void_is_background else t[0])
    matched_t, matched_p = set(), set()
    for a in truth.segments:
        for b in prediction.segments:
            if a.category_id == b.category_id and not a.iscrowd:
                union = (t[a.id] | p[b.id]) - (p[b.id] & void)
                iou = len(t[a.id] & p[b.id]) / len(union) if union else 0
                if iou > 0.5:
                    out[a.category_id][0] += 1
                    out[a.category_id][3] += iou
                    matched_t.add(a.id)
                    matched_p.add(b.id)
    for a in truth.segments:
        if a.id not in matched_t and not a.iscrowd and t[a.id]:
            out[a.category_id][2] += 1
    for b in prediction.segments:
        if b.id not in matched_p:
            crowd = {x for a in truth.segments if a.iscrowd and a.category_id == b.category_id for x in t[a.id]}
            if len(p[b.id] & (void | crowd)) <= len(p[b.id]) / 2:
                out[b.category_id][1] += 1
    return out
