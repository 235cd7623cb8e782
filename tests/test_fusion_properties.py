"""`fuse` and `merge_heuristic` against a slow, obvious full canvas, pixel by pixel, and laws that must hold."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pano_med.fusion import Fused, FusionRules, HeuristicRules, fuse, merge_heuristic
from pano_med.types import Category, Instances, Panoptic, Prediction, Taxonomy

GREY = (9, 9, 9)
THINGS = (Category(20, "p", True, GREY), Category(10, "q", True, GREY))
# Stuff and things are mixed and ids do not rise, so that nobody can take an id for a channel.
MIXED = Taxonomy(
    "mixed",
    (THINGS[0], Category(30, "left", False, GREY), THINGS[1], Category(5, "right", False, GREY)),
    unclassed=Category(40, "thing", True, GREY),
)
NO_STUFF = Taxonomy("no stuff", THINGS)
VOID, INSTANCE = -1, 1000
FEW = settings(max_examples=120, deadline=None, derandomize=True)

# ------------------------------------------------------------------------------------------------ the oracle


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def paste_full(mask: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Mask logits at every pixel of the image, and which pixel centres the box holds."""
    x1, y1, x2, y2 = box
    ys, xs = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    inside = ((y1 <= ys) & (ys < y2))[:, None] & ((x1 <= xs) & (xs < x2))[None]
    if not inside.any():
        return np.zeros(size), inside
    centres = (np.arange(len(mask)) + 0.5) / len(mask)
    wide = np.stack([np.interp(xs, x1 + centres * (x2 - x1), row) for row in mask])
    full = np.stack([np.interp(ys, y1 + centres * (y2 - y1), column) for column in wide.T], axis=1)
    return full, inside


def iou(a: np.ndarray, b: np.ndarray) -> float:
    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inter = max(w, 0) * max(h, 0)
    return inter / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inter) if inter else 0.0


def best_first(p: Prediction, rules: Any) -> list[int]:
    found, kept = p.instances, []
    boxes, classes, scores = (x.tolist() for x in (found.boxes, found.category_ids, found.scores))
    for i in sorted(range(len(found)), key=lambda i: -scores[i]):
        high = scores[i] >= rules.score if isinstance(rules, HeuristicRules) else scores[i] > rules.score
        rivals = [j for j in kept if classes[j] == classes[i]]
        if high and not any(iou(np.array(boxes[i]), np.array(boxes[j])) > rules.nms for j in rivals):
            kept.append(i)
    return kept


def competing(p: Prediction, rules: Any) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(index, full-size mask logits, inside the box) of each instance that survives every cut."""
    occupied, out = np.zeros(p.size, bool), []
    for i in best_first(p, rules):
        logits, inside = paste_full(p.instances.mask_logits[i].double().numpy(), p.instances.boxes[i].numpy(), p.size)
        mask = inside & (logits > 0)
        if mask.any():
            stays = (mask & occupied).sum() / mask.sum() <= rules.overlap
        else:
            stays = inside.any() and getattr(rules, "keep_empty", False)
        if stays:
            occupied |= mask
            out.append((i, logits, inside))
    return out


def fl_full(p: Prediction, rules: FusionRules, i: int, logits: np.ndarray, inside: np.ndarray) -> np.ndarray:
    semantic, category = p.semantic_logits.double().numpy(), int(p.instances.category_ids[i])
    if p.taxonomy.unclassed is not None and category == p.taxonomy.unclassed.id:
        ml_b = semantic[p.taxonomy.num_stuff :].max(0)
    else:
        ml_b = semantic[p.taxonomy.channel(category)]
    if rules.shrink_box:
        x1, y1, x2, y2 = p.instances.boxes[i].tolist()
        smaller = np.zeros(p.size, bool)
        smaller[max(int(y1 + 1), 0) : max(round(y2 - 1) + 1, 0), max(int(x1 + 1), 0) : max(round(x2 - 1) + 1, 0)] = True
        ml_b = np.where(smaller, ml_b, 0)
    ml_a, ml_b = np.where(inside, rules.mask_gain * logits, 0), np.where(inside, ml_b, 0)
    fl = (sigmoid(ml_a) + sigmoid(ml_b)) * (ml_a + ml_b)
    if rules.confine_positive:
        fl = np.where(ml_a + ml_b > 0, fl, -np.inf)
    return fl if rules.outside == "zero" else np.where(inside, fl, -np.inf)


def finish_full(p: Prediction, rules: Any, owner: np.ndarray) -> np.ndarray:
    """Owner map -> what is left after leftovers and small stuff became void."""
    semantic, out, num_stuff = p.semantic_logits.double().numpy(), owner.copy(), p.taxonomy.num_stuff
    if rules.leftovers == "void":
        out[(owner < INSTANCE) & (semantic.argmax(0) >= num_stuff)] = VOID
    limit = rules.min_stuff_fraction * out.size
    if p.pixel_size_um is not None and rules.min_stuff_um2 is not None:
        limit = rules.min_stuff_um2 / p.pixel_size_um**2
    for channel in range(num_stuff):
        if (out == channel).sum() < limit:
            out[out == channel] = VOID
    return out


def oracle(p: Prediction, rules: Any) -> np.ndarray:
    """(H, W): VOID, a stuff channel, or INSTANCE + index of the instance."""
    stuff = p.semantic_logits[: p.taxonomy.num_stuff].double().numpy()
    names, stack = [VOID, *range(len(stuff))], [np.full(p.size, -np.inf), *stuff]
    if isinstance(rules, FusionRules):
        for i, logits, inside in competing(p, rules):
            names.append(INSTANCE + i)
            stack.append(fl_full(p, rules, i, logits, inside))
        return finish_full(p, rules, np.array(names)[np.argmax(stack, axis=0)])
    owner = np.array(names)[np.argmax(stack, axis=0)]
    for i, logits, inside in competing(p, rules):
        owner[inside & (logits > 0) & (owner < INSTANCE)] = INSTANCE + i
    return finish_full(p, rules, owner)


def named(fused: Fused) -> np.ndarray:
    """The map of a merge in the oracle's numbers."""
    table = {segment: INSTANCE + i for i, segment in fused.kept.items()}
    table |= {s.id: fused.panoptic.taxonomy.channel(s.category_id) for s in fused.panoptic.stuff}
    out = np.full(fused.panoptic.size, VOID)
    for segment, name in table.items():
        out[fused.panoptic.ids == segment] = name
    return out


# ------------------------------------------------------------------------------------------------ random cases


def smooth_case(seed: int, size: tuple[int, int], n: int, taxonomy: Taxonomy) -> Prediction:
    """Float boxes of any kind (sticking out, slim, turned inside out) and logits without ties, in float64."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(1, 7))
    centre, half = rng.uniform(-1, 1.1, (n, 2)) * size[::-1], rng.uniform(-0.1, 0.7, (n, 2)) * size[::-1]
    centre = np.where(rng.random((n, 1)) < 0.8, np.abs(centre), centre)
    boxes = np.concatenate([centre - half, centre + half], 1)
    boxes = np.where(rng.random((n, 1)) < 0.2, np.round(boxes * 2) / 2, boxes)
    masks = rng.normal(rng.normal(1, 1, (n, 1, 1)), 1.5, (n, side, side))
    return assemble(rng, size, boxes, masks, taxonomy, rng.normal(-0.5, 1.5, (len(taxonomy.channels), *size)))


def grid_case(seed: int, size: tuple[int, int], n: int, taxonomy: Taxonomy) -> Prediction:
    """Small whole logits and 4 x 4 boxes on whole pixels: ties everywhere, exact in float32."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(-2, np.array(size[::-1]), (n, 2))
    masks, semantic = rng.integers(-2, 3, (n, 4, 4)), rng.integers(-2, 2, (len(taxonomy.channels), *size))
    p = assemble(rng, size, np.concatenate([corner, corner + 4], 1), masks, taxonomy, semantic)
    return replace(p, semantic_logits=p.semantic_logits.float())


def assemble(rng: Any, size: Any, boxes: Any, masks: Any, taxonomy: Taxonomy, semantic: np.ndarray) -> Prediction:
    ids = rng.choice([c.id for c in taxonomy.all if c.isthing], len(boxes))
    scores = rng.choice([0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], len(boxes))
    tensors = [torch.from_numpy(np.asarray(a, np.float64).copy()) for a in (boxes, scores, masks, semantic)]
    found = Instances(tensors[0], torch.from_numpy(ids.astype(np.int64)), tensors[1], tensors[2])
    return Prediction(tensors[3], found, taxonomy, pixel_size_um=None if rng.random() < 0.5 else 0.5)


CASES = st.builds(
    lambda make, seed, h, w, n, taxonomy: make(seed, (h, w), n, taxonomy),
    st.sampled_from([smooth_case, grid_case]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 13),
    st.integers(1, 13),
    st.integers(0, 7),
    st.sampled_from([MIXED, MIXED, MIXED, NO_STUFF]),
)
ANY_RULES = st.builds(
    FusionRules,
    score=st.sampled_from([0.0, 0.5, 0.8]),
    nms=st.sampled_from([0.1, 0.5, 1.0]),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    leftovers=st.sampled_from(["stuff", "void"]),
    min_stuff_um2=st.sampled_from([None, 0.0, 5.0]),
    min_stuff_fraction=st.sampled_from([0.0, 0.2]),
    outside=st.sampled_from(["never", "zero"]),
    mask_gain=st.sampled_from([0.5, 1.0, 4.0]),
    shrink_box=st.booleans(),
    keep_empty=st.booleans(),
    confine_positive=st.booleans(),
)
BASE = FusionRules(score=0.1, nms=0.9, min_stuff_um2=None, min_stuff_fraction=0.0)
VARIANTS = {
    "default": FusionRules(),
    "paper": FusionRules.paper(),
    "official code": FusionRules.official_code(),
    "never": BASE,
    "zero": replace(BASE, outside="zero"),
    "gain": replace(BASE, mask_gain=4.0),
    "shrink": replace(BASE, shrink_box=True),
    "keep empty": replace(BASE, keep_empty=True, outside="zero"),
    "confine": replace(BASE, confine_positive=True),
    "leftovers": replace(BASE, leftovers="void"),
    "small stuff": replace(BASE, min_stuff_um2=4.0, min_stuff_fraction=0.2),
    "overlap": replace(BASE, overlap=0.1),
    "nms": replace(BASE, nms=0.2),
    "score": replace(BASE, score=0.7),
}


@pytest.mark.parametrize("name", VARIANTS)
@FEW
@given(p=CASES)
def test_each_option_equals_the_full_canvas_pixel_by_pixel(name: str, p: Prediction) -> None:
    np.testing.assert_array_equal(named(fuse(p, VARIANTS[name])), oracle(p, VARIANTS[name]))


@settings(FEW, max_examples=500)
@given(p=CASES, rules=ANY_RULES)
def test_every_mixture_of_options_equals_the_full_canvas(p: Prediction, rules: FusionRules) -> None:
    np.testing.assert_array_equal(named(fuse(p, rules)), oracle(p, rules))


@settings(FEW, max_examples=300)
@given(
    p=CASES,
    rules=st.builds(
        HeuristicRules,
        score=st.sampled_from([0.0, 0.5, 0.8]),
        nms=st.sampled_from([0.1, 1.0]),
        overlap=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        leftovers=st.sampled_from(["stuff", "void"]),
        min_stuff_um2=st.sampled_from([None, 0.0, 5.0]),
        min_stuff_fraction=st.sampled_from([0.0, 0.2]),
    ),
)
def test_the_heuristic_merge_equals_the_full_canvas(p: Prediction, rules: HeuristicRules) -> None:
    np.testing.assert_array_equal(named(merge_heuristic(p, rules)), oracle(p, rules))


# ------------------------------------------------------------------------------------------------ laws


@FEW
@given(p=CASES, rules=ANY_RULES)
def test_every_instance_is_kept_or_dropped_once_and_no_pixel_is_counted_twice(
    p: Prediction, rules: FusionRules
) -> None:
    for fused in (fuse(p, rules), merge_heuristic(p)):
        assert sorted([*fused.kept, *fused.dropped]) == list(range(len(p.instances)))
        assert sorted(fused.kept.values()) == [s.id for s in fused.panoptic.things]
        void = int((fused.panoptic.ids == 0).sum())
        assert sum(s.area for s in fused.panoptic.segments) + void == p.size[0] * p.size[1]
        Panoptic(fused.panoptic.ids, fused.panoptic.segments, p.taxonomy)  # counts every area again
        assert len({s.category_id for s in fused.panoptic.stuff}) == len(fused.panoptic.stuff)
        for i, segment in fused.kept.items():
            found = next(s for s in fused.panoptic.segments if s.id == segment)
            assert found.category_id == int(p.instances.category_ids[i])
            assert found.score == float(p.instances.scores[i])


@FEW
@given(p=CASES, rules=ANY_RULES, seed=st.integers(0, 999))
def test_the_order_of_instances_with_distinct_scores_changes_nothing_but_their_numbers(p, rules, seed) -> None:
    found, n = p.instances, len(p.instances)
    scores = torch.linspace(0.3, 0.95, n, dtype=found.scores.dtype)
    p = replace(p, instances=replace(found, scores=scores))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    shuffled = Instances(*(x[order] for x in (found.boxes, found.category_ids, scores, found.mask_logits)))
    for merge, r in ((fuse, rules), (merge_heuristic, HeuristicRules())):
        one, two = merge(p, r), merge(replace(p, instances=shuffled), r)
        np.testing.assert_array_equal(one.panoptic.ids, two.panoptic.ids)
        assert one.panoptic.segments == two.panoptic.segments
        assert {int(order[i]): segment for i, segment in two.kept.items()} == one.kept
        assert {int(order[i]): reason for i, reason in two.dropped.items()} == one.dropped


@FEW
@given(p=CASES, rules=ANY_RULES.map(lambda r: replace(r, outside="never")))
def test_the_trace_changes_nothing_and_its_layers_explain_the_winner_of_each_pixel(p, rules) -> None:
    fused = fuse(p, rules, trace=True)
    np.testing.assert_array_equal(fused.panoptic.ids, fuse(p, rules).panoptic.ids)
    stack = [np.full(p.size, -np.inf), *p.semantic_logits[: p.taxonomy.num_stuff].numpy()]
    for layer in fused.trace.layers:
        y0, x0, y1, x1 = layer.window
        stack.append(np.full(p.size, -np.inf))
        stack[-1][y0:y1, x0:x1] = layer.fused_logits
    np.testing.assert_array_equal(fused.trace.intermediate, np.argmax(stack, axis=0))
    assert set(fused.kept) <= {layer.instance for layer in fused.trace.layers}
    np.testing.assert_array_equal(fused.trace.void, fused.trace.final == 0)


@FEW
@given(p=CASES, rules=ANY_RULES, trace=st.booleans())
def test_the_callers_tensors_are_not_edited(p: Prediction, rules: FusionRules, trace: bool) -> None:
    tensors = (p.semantic_logits, p.instances.boxes, p.instances.category_ids, p.instances.scores)
    tensors = (*tensors, p.instances.mask_logits)
    before = [t.clone() for t in tensors]
    fuse(p, rules, trace)
    merge_heuristic(p, trace=trace)
    for old, new in zip(before, tensors, strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=0)


@FEW
@given(p=CASES, rules=ANY_RULES.map(lambda r: replace(r, shrink_box=False)))
def test_flipping_the_input_flips_the_map(p: Prediction, rules: FusionRules) -> None:
    """Holds without the lopsided `shrink_box` and for edges that hit no pixel centre, where the near edge is in."""
    width = p.size[1]
    boxes = p.instances.boxes
    boxes = torch.where((boxes % 1 - 0.5).abs() < 1e-6, boxes + 0.25, boxes)
    flipped = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    one = fuse(replace(p, instances=replace(p.instances, boxes=boxes)), rules)
    mirror = replace(p.instances, boxes=flipped, mask_logits=p.instances.mask_logits.flip(-1))
    two = fuse(replace(p, semantic_logits=p.semantic_logits.flip(-1), instances=mirror), rules)
    np.testing.assert_array_equal(two.panoptic.ids, one.panoptic.ids[:, ::-1])
