"""Fusion by hand: 8 x 8 pictures small enough to check by head, every option, bad numbers."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from pano_med.fusion import Fused, FusionRules, HeuristicRules, fuse, fused_logits, merge_heuristic
from pano_med.fusion.paste import paste, pasted, windows
from pano_med.types import Category, Instances, Prediction, Taxonomy

GREY = (9, 9, 9)
TWO_AND_TWO = Taxonomy(
    "two and two",
    (
        Category(1, "left", False, GREY),
        Category(2, "right", False, GREY),
        Category(3, "round", True, GREY),
        Category(4, "slim", True, GREY),
    ),
    unclassed=Category(5, "thing", True, GREY),
)
ALL_AREAS = FusionRules(min_stuff_fraction=0.0)


def scene(*things: dict, left: float = 1.0, right: float = 1.0, rounds: float = 0.0, slim: float = 0.0) -> Prediction:
    """8 x 8: stuff "left" has logit `left` in columns 0-3 and 5 less elsewhere, "right" the other way round.

    Both thing channels are constant. Each thing is a dict of box, category, score and a mask: a number or 4 x 4.
    """
    semantic = torch.tensor([left - 5, right - 5, rounds, slim])[:, None, None].repeat(1, 8, 8)
    semantic[0, :, :4], semantic[1, :, 4:] = left, right
    masks = [torch.as_tensor(t["mask"], dtype=torch.float32).expand(4, 4) for t in things]
    found = Instances(
        torch.tensor([t["box"] for t in things], dtype=torch.float32).reshape(-1, 4),
        torch.tensor([t.get("category", 3) for t in things], dtype=torch.int64),
        torch.tensor([t.get("score", 0.9) for t in things]),
        torch.stack(masks) if masks else torch.zeros(0, 4, 4),
    )
    return Prediction(semantic, found, TWO_AND_TWO)


def picture(fused: Fused) -> list[str]:
    """Rows of the map: l and r for the stuff, A B C for instance 0 1 2, dot for void."""
    names = {segment: "ABC"[i] for i, segment in fused.kept.items()}
    names |= {s.id: {1: "l", 2: "r"}[s.category_id] for s in fused.panoptic.stuff}
    return ["".join(names.get(i, ".") for i in row) for row in fused.panoptic.ids.tolist()]


PLAIN = ["llllrrrr"] * 8
# A sits top left, B bottom right; they share four pixels in the middle.
A = {"box": [1, 1, 5, 5], "category": 3, "score": 0.8, "mask": 3.0}
B = {"box": [3, 3, 7, 7], "category": 4, "score": 0.9, "mask": 3.0}
A_ABOVE_B = [
    "llllrrrr",
    "lAAAArrr",
    "lAAAArrr",
    "lAAAABBr",
    "lAAAABBr",
    "lllBBBBr",
    "lllBBBBr",
    "llllrrrr",
]
B_ABOVE_A = [*A_ABOVE_B[:3], "lAABBBBr", "lAABBBBr", *A_ABOVE_B[5:]]


def rows(**at: str) -> list[str]:
    """PLAIN with some rows replaced: rows(r2="...") replaces row 2."""
    return [at.get(f"r{i}", row) for i, row in enumerate(PLAIN)]


BOX = dict.fromkeys(("r1", "r2", "r3", "r4"), "lAAAArrr")

# ------------------------------------------------------------------------------------------------ the rule


def test_where_both_heads_agree_the_larger_fl_wins_although_the_other_has_the_better_score() -> None:
    # FL(3, 2) = (0.953 + 0.881) * 5 = 9.2 for A, FL(3, 0) = (0.953 + 0.5) * 3 = 4.4 for B.
    fused = fuse(scene(A, B, rounds=2.0), ALL_AREAS)
    assert picture(fused) == A_ABOVE_B
    assert fused.kept == {1: 1, 0: 2}  # ids by score: B, then A, then the two stuff classes
    assert [(s.id, s.category_id, s.area) for s in fused.panoptic.segments] == [
        (1, 4, 12),
        (2, 3, 16),
        (3, 1, 18),
        (4, 2, 18),
    ]
    assert [s.score for s in fused.panoptic.segments] == [pytest.approx(0.9), pytest.approx(0.8), None, None]
    assert fused.panoptic.ids.dtype == np.int32
    assert fused.trace is None


def test_the_heuristic_merge_knows_the_score_only() -> None:
    assert picture(merge_heuristic(scene(A, B, rounds=2.0, left=3, right=3))) == B_ABOVE_A


def test_equal_fl_goes_to_the_better_score_and_equal_scores_to_the_earlier_instance() -> None:
    assert picture(fuse(scene(A, B), ALL_AREAS)) == B_ABOVE_A
    assert picture(fuse(scene(A | {"score": 0.9}, B), ALL_AREAS)) == A_ABOVE_B


def test_stuff_wins_a_tie_with_an_instance() -> None:
    tie = float(fused_logits(torch.tensor(3.0), torch.tensor(0.0)))
    below = float(np.nextafter(np.float32(tie), np.float32(0)))
    assert picture(fuse(scene(A, left=tie, right=tie), ALL_AREAS)) == PLAIN
    assert picture(fuse(scene(A, left=below, right=below), ALL_AREAS)) == rows(**BOX)


def test_fl_is_not_monotone_and_confining_an_instance_helps() -> None:
    assert float(fused_logits(torch.tensor(-10.0), torch.tensor(-10.0))) == pytest.approx(-0.0018, abs=5e-5)
    mask = torch.full((4, 4), -10.0)
    mask[1, 2] = 20.0  # the mask is one pixel, at row 2, column 3
    sure = scene(A | {"mask": mask}, left=-0.5, right=-0.5, rounds=-10.0)
    whole_box = [PLAIN[0], *["lAAAArrr"] * 4, *PLAIN[:3]]
    assert picture(fuse(sure, ALL_AREAS)) == whole_box
    one_pixel = [*PLAIN[:2], "lllArrrr", *PLAIN[:5]]
    assert picture(fuse(sure, replace(ALL_AREAS, confine_positive=True))) == one_pixel


def test_an_untyped_thing_takes_the_largest_thing_logit() -> None:
    untyped = A | {"category": 5, "mask": 1.0}  # FL(1, 3) = 6.7 with the larger channel, FL(1, -3) < 0 with the other
    for channels in ({"rounds": -3.0, "slim": 3.0}, {"rounds": 3.0, "slim": -3.0}):
        fused = fuse(scene(untyped, left=3.0, right=3.0, **channels), ALL_AREAS)
        assert [(s.category_id, s.area) for s in fused.panoptic.things] == [(5, 16)]


def test_without_instances_there_is_stuff_only_and_without_large_stuff_nothing() -> None:
    for merge in (fuse, merge_heuristic):
        fused = merge(scene())
        assert picture(fused) == PLAIN
        assert (fused.kept, fused.dropped) == ({}, {})
    nothing = fuse(scene(), FusionRules(min_stuff_fraction=1.0)).panoptic
    assert nothing.segments == ()
    assert not nothing.ids.any()


@pytest.mark.parametrize("merge", [fuse, merge_heuristic])
def test_one_pixel(merge) -> None:
    found = Instances(torch.tensor([[-3.0, -1, 2, 1]]), torch.tensor([3]), torch.tensor([0.9]), torch.ones(1, 1, 1))
    one = Prediction(torch.zeros(4, 1, 1), found, TWO_AND_TWO)
    assert merge(one).panoptic.ids.tolist() == [[1]]
    assert merge(replace(one, instances=replace(found, scores=torch.tensor([0.1])))).panoptic.stuff[0].category_id == 1


def test_half_precision_autocast_and_gradients_change_nothing() -> None:
    p = scene(A | {"box": [0.7, 0.2, 5.3, 6.1], "mask": torch.arange(16.0).reshape(4, 4) - 7}, B, rounds=1.0)
    plain = fuse(p, ALL_AREAS).panoptic.ids
    half = replace(p, semantic_logits=p.semantic_logits.half())
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(fuse(p, ALL_AREAS).panoptic.ids, plain)
        np.testing.assert_array_equal(fuse(half, ALL_AREAS).panoptic.ids, plain)
    grad = replace(p, semantic_logits=p.semantic_logits.clone().requires_grad_())
    np.testing.assert_array_equal(fuse(grad, ALL_AREAS, trace=True).panoptic.ids, plain)


# ------------------------------------------------------------------------------------------------ reasons and options


def test_every_reason_to_drop_an_instance() -> None:
    cases = {
        "score": [A | {"score": 0.5}],
        "nms": [A, A | {"score": 0.7, "box": [1, 1, 5, 6]}],  # IoU 16 / 20
        "overlap": [A, A | {"score": 0.7, "category": 4}],
        "empty": [A | {"mask": -1.0}],
        "lost every pixel": [A | {"mask": 0.1}],
    }
    for reason, things in cases.items():
        assert fuse(scene(*things), ALL_AREAS).dropped == {len(things) - 1: reason}
    for box in ([2, 2, 2, 6], [5, 5, 3, 3], [2.6, 1, 3.4, 5], [9, 0, 12, 4], [-4, 0, 0.4, 4]):
        for merge in (fuse, merge_heuristic):
            assert merge(scene(A | {"box": box})).dropped == {0: "empty"}
        assert fuse(scene(A | {"box": box}), replace(ALL_AREAS, keep_empty=True)).dropped == {0: "empty"}


def test_boxes_that_stick_out_do_not_suppress_another_class() -> None:
    # NMS tells classes apart by shifting them past the largest coordinate, 3 here: with 4 per class, B's box would
    # land exactly on A's although they are classes and 4 px apart.
    p = scene(B | {"box": [1, 1, 3, 3]}, A | {"box": [-3, -3, -1, -1], "category": 5})
    assert fuse(p, ALL_AREAS).dropped == {1: "empty"}


B_ALONE = rows(**dict.fromkeys(("r3", "r4", "r5", "r6"), "lllBBBBr"))
OPTIONS = [
    # option, scene, picture with the default, picture with the option
    ({"mask_gain": 4.0}, scene(A | {"mask": 1.0}, rounds=-3.0), PLAIN, rows(**BOX)),
    ({"outside": "zero"}, scene(A, right=-0.5), rows(**BOX), [r.replace("r", "A") for r in rows(**BOX)]),
    ({"confine_positive": True}, scene(A | {"mask": 2.0}, left=-3.0, right=-3.0, rounds=-4.0), rows(**BOX), PLAIN),
    ({"shrink_box": True}, scene(A | {"mask": 1.0}, left=2.0, right=2.0, rounds=3.0), rows(**BOX),
     rows(**dict.fromkeys(("r2", "r3", "r4"), "llAAArrr"))),
    ({"keep_empty": True}, scene(A | {"mask": -1.0}, rounds=4.0), PLAIN, rows(**BOX)),
    ({"leftovers": "void"}, scene(A, left=2.0, rounds=1.5), rows(**BOX),
     [r.replace("r", ".") for r in rows(**BOX)]),
    ({"score": 0.8}, scene(A), rows(**BOX), PLAIN),
    ({"score": 0.9}, scene(A), rows(**BOX), PLAIN),
    ({"nms": 0.1}, scene(A, B | {"category": 3}), B_ABOVE_A, B_ALONE),
    ({"overlap": 0.2}, scene(A, B), B_ABOVE_A, B_ALONE),
    ({"min_stuff_fraction": 0.4}, scene(A | {"box": [0, 0, 4, 4]}),
     [*["AAAArrrr"] * 4, *PLAIN[:4]], [*["AAAArrrr"] * 4, *["....rrrr"] * 4]),
]  # fmt: skip


@pytest.mark.parametrize(("option", "p", "before", "after"), OPTIONS, ids=[next(iter(o[0])) for o in OPTIONS])
def test_each_option_shows(option: dict, p: Prediction, before: list[str], after: list[str]) -> None:
    assert picture(fuse(p, ALL_AREAS)) == before
    assert picture(fuse(p, replace(ALL_AREAS, **option))) == after


def test_zero_outside_lets_an_instance_win_far_from_its_box() -> None:
    # Every stuff logit of columns 4-7 is negative; FL = 0 of B, the better of the two, wins outside both boxes.
    p = scene(A, B, left=0.5, right=-0.5, rounds=2.0)
    assert picture(fuse(p, ALL_AREAS)) == A_ABOVE_B
    assert picture(fuse(p, replace(ALL_AREAS, outside="zero"))) == [r.replace("r", "B") for r in A_ABOVE_B]
    assert picture(fuse(p, replace(ALL_AREAS, outside="zero", confine_positive=True))) == A_ABOVE_B


def test_the_area_limit_counts_square_micrometres_where_the_pixel_size_is_known() -> None:
    p = scene(A | {"box": [0, 0, 4, 4]})  # leaves 16 px of "left"
    in_um = replace(p, pixel_size_um=2.0)  # 64 um2
    assert "l" in "".join(picture(fuse(in_um, FusionRules(min_stuff_um2=64.0, min_stuff_fraction=1.0))))
    assert "l" not in "".join(picture(fuse(in_um, FusionRules(min_stuff_um2=64.1, min_stuff_fraction=0.0))))
    assert "l" in "".join(picture(fuse(p, FusionRules(min_stuff_um2=1e9, min_stuff_fraction=0.0))))
    assert "l" in "".join(picture(fuse(in_um, FusionRules(min_stuff_um2=None, min_stuff_fraction=0.25))))
    assert fuse(in_um).panoptic.pixel_size_um == 2.0


def test_the_presets() -> None:
    assert FusionRules().outside == "never"
    assert FusionRules.paper() == FusionRules(outside="zero", min_stuff_um2=None)
    assert FusionRules.paper().stuff_limit_px((1024, 2048), 0.5) == 2048
    assert HeuristicRules(min_stuff_um2=None).stuff_limit_px((480, 640), 0.5) == 4096
    assert FusionRules.official_code().mask_gain == 4
    with pytest.raises(FrozenInstanceError):
        FusionRules().score = 0.1  # type: ignore[misc]


def test_the_heuristic_keeps_an_instance_at_the_cut_and_voids_what_the_semantic_head_calls_a_thing() -> None:
    p = scene(A | {"score": 0.5}, left=2.0, rounds=1.5)
    half = [r.replace("r", ".") for r in rows(**BOX)]
    assert picture(merge_heuristic(p)) == half
    assert picture(merge_heuristic(p, HeuristicRules(leftovers="stuff"))) == rows(**BOX)


# ------------------------------------------------------------------------------------------------ paste


def test_paste_is_torchs_resize_for_boxes_on_whole_pixels_and_the_identity_at_equal_size() -> None:
    mask = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    (window,) = windows(torch.tensor([[2.0, 1.0, 11.0, 8.0]]), (20, 20))
    expected = torch.nn.functional.interpolate(mask[None, None], (7, 9), mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(paste(mask, window), expected)
    (same,) = windows(torch.tensor([[2.0, 1.0, 7.0, 6.0]]), (20, 20))
    torch.testing.assert_close(paste(mask, same), mask, rtol=0, atol=0)
    (out,) = windows(torch.tensor([[-2.0, 15.0, 7.0, 22.0]]), (20, 20))
    expected = torch.nn.functional.interpolate(mask[None, None], (7, 9), mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(paste(mask, out), expected[:5, 2:])


def test_masks_pasted_in_groups_are_those_pasted_alone_in_any_grouping(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    corner, side = torch.rand(20, 2, generator=rng) * 50 - 5, torch.rand(20, 2, generator=rng) * 20 - 1
    masks, spans = torch.randn(20, 7, 7, generator=rng), windows(torch.cat([corner, corner + side], 1), (48, 40))
    order = [i for i in reversed(range(20)) if not spans[i].is_empty]
    assert 10 < len(order) < 20
    alone = [paste(masks[i], spans[i]) for i in order]
    for budget in (1, 300, 1 << 18):
        monkeypatch.setattr("pano_med.fusion.paste.PIXELS_AT_ONCE", budget)
        together = list(pasted(masks, spans, reversed(range(20))))
        assert [i for i, _ in together] == order
        for (i, found), expected in zip(together, alone, strict=True):
            assert found.shape == (spans[i].y1 - spans[i].y0, spans[i].x1 - spans[i].x0)
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_pixel_belongs_to_a_box_when_its_centre_does() -> None:
    (w,) = windows(torch.tensor([[0.5, 1.4, 3.5, 2.6]]), (8, 8))
    assert (w.y0, w.x0, w.y1, w.x1) == (1, 0, 3, 3)
    (huge,) = windows(torch.tensor([[-1e30, -5, 1e30, 3]]), (8, 8))
    assert (huge.y0, huge.x0, huge.y1, huge.x1) == (0, 0, 3, 8)


# ------------------------------------------------------------------------------------------------ trace


def test_the_trace_shows_every_step() -> None:
    p = scene(A, B, A | {"score": 0.1}, A | {"box": [1, 1, 5, 6], "score": 0.7}, left=2.0, right=0.5, rounds=1.0)
    fused = fuse(p, replace(ALL_AREAS, leftovers="void"), trace=True)
    t = fused.trace
    assert t is not None
    assert (t.after_score, t.after_nms, t.after_overlap) == ((1, 0, 3), (1, 0), (1, 0))
    assert [layer.instance for layer in t.layers] == [1, 0]
    assert t.layers[1].window == (1, 1, 5, 5)
    np.testing.assert_array_equal(t.layers[1].mask_logits, np.full((4, 4), 3, np.float32))
    np.testing.assert_array_equal(t.layers[1].semantic_logits, np.full((4, 4), 1, np.float32))
    fl = (1 / (1 + np.exp(-3)) + 1 / (1 + np.exp(-1))) * 4
    np.testing.assert_allclose(t.layers[1].fused_logits, np.full((4, 4), fl), rtol=1e-6)
    assert t.semantic[0].tolist() == [1, 1, 1, 1, 3, 3, 3, 3]  # 2 of "left" and 0.5 of "right" against 1 of "round"
    assert t.intermediate[1].tolist() == [1, 4, 4, 4, 4, 2, 2, 2]  # layer 0 is B, 3; layer 1 is A, 4
    assert t.things[1].tolist() == [0, 2, 2, 2, 2, 0, 0, 0]
    assert t.leftovers[1].tolist() == [False] * 5 + [True] * 3
    assert t.final[1].tolist() == [3, 2, 2, 2, 2, 0, 0, 0]
    np.testing.assert_array_equal(t.void, fused.panoptic.ids == 0)
    np.testing.assert_array_equal(t.final, fused.panoptic.ids)


def test_the_trace_marks_leftovers_whatever_becomes_of_them() -> None:
    p = scene(A, left=2.0, rounds=1.5)
    expected = np.array([[c == "r" for c in row] for row in rows(**BOX)])
    for leftovers in ("stuff", "void"):
        t = fuse(p, replace(ALL_AREAS, leftovers=leftovers), trace=True).trace
        np.testing.assert_array_equal(t.leftovers, expected)
        np.testing.assert_array_equal(t.void, expected & (leftovers == "void"))
    t = merge_heuristic(p, trace=True).trace
    np.testing.assert_array_equal(t.leftovers, expected)
    assert t.layers[0].fused_logits is None


# ------------------------------------------------------------------------------------------------ bad input


def with_nan(tensor: torch.Tensor, *at: int, value: float = float("nan")) -> torch.Tensor:
    out = tensor.clone()
    out[at] = value
    return out


BAD = [
    (lambda p: replace(p, semantic_logits=with_nan(p.semantic_logits, 2, 0, 1)), r"channel 2 \('round'\).* 1 of 64"),
    (lambda p: replace(p, semantic_logits=with_nan(p.semantic_logits, 0, 0, 0, value=-torch.inf)), "channel 0"),
    (lambda p: edited(p, mask_logits=with_nan(p.instances.mask_logits, 1, 0, 0)), "mask logits of instance 1 must"),
    (lambda p: edited(p, boxes=with_nan(p.instances.boxes, 0, 3, value=torch.inf)), "box of instance 0 must be"),
    (lambda p: edited(p, scores=with_nan(p.instances.scores, 1)), "score of instance 1 must be finite"),
    (lambda p: edited(p, scores=with_nan(p.instances.scores, 1, value=1.5)), "instance 1 has 1.5"),
    (lambda p: edited(p, category_ids=torch.tensor([3, 2])), r"ids \[3, 4, 5\]\), instance 1 has category 2"),
]


def edited(p: Prediction, **fields: torch.Tensor) -> Prediction:
    return replace(p, instances=replace(p.instances, **fields))


@pytest.mark.parametrize("merge", [fuse, merge_heuristic])
@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_bad_numbers_are_refused_in_one_sentence(merge, spoil, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        merge(spoil(scene(A, B)))


def test_a_sum_that_overflows_is_not_taken_for_bad_logits() -> None:
    p = scene(A)
    large = replace(p, semantic_logits=torch.full((4, 8, 8), 60000.0).half())
    assert "l" in "".join(picture(fuse(large, ALL_AREAS)))
