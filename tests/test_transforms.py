"""Transforms: partial labels by hand, targets that give their map back, crops that keep image and truth together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose, RandFlipd, RandRotate90d
from torch.testing import assert_close

from pano_med.transforms import (
    SPATIAL,
    PanopticTargetsd,
    RandScaleCropd,
    ScaleTod,
    allowed_channels,
    collate,
    eval_pipeline,
    panoptic_targets,
    to_dict,
    train_pipeline,
    unit_image,
    window,
)
from pano_med.types import HE_CORE, Panoptic, Sample

BACKGROUND, TUMOUR, OTHER, NEOPLASTIC, INFLAMMATORY, CONNECTIVE = (c.id for c in HE_CORE.channels)
NUCLEUS = HE_CORE.unclassed.id
STUFF, THINGS = frozenset({BACKGROUND, TUMOUR, OTHER}), frozenset({NEOPLASTIC, INFLAMMATORY, CONNECTIVE})
quiet = settings(deadline=None, derandomize=True, max_examples=60)

# A 4 x 4 map that holds every kind of pixel: 1 neoplastic nucleus, 2 nucleus of unknown class, 3 tumour, 4 crowd.
IDS = torch.tensor([[1, 1, 3, 0], [1, 1, 3, 0], [2, 2, 3, 4], [2, 2, 3, 4]], dtype=torch.int32)
CATEGORIES = {1: NEOPLASTIC, 2: NUCLEUS, 3: TUMOUR, 4: HE_CORE.VOID}


def names(allowed: torch.Tensor, row: int, col: int) -> str:
    """The channels that a pixel may have, as letters: b t o (stuff) n i c (things)."""
    return "".join(letter for letter, yes in zip("btonic", allowed[:, row, col].tolist(), strict=True) if yes)


@pytest.mark.parametrize(
    ("known", "classed", "unclassed", "stuff", "void"),
    [
        # things known ...
        ({NUCLEUS}, "n", "nic", "t", "bto"),  # nuclei drawn, not typed
        (THINGS, "n", "nic", "t", "bto"),  # nuclei drawn and typed
        ({NUCLEUS, TUMOUR}, "n", "nic", "t", "bo"),
        ({NUCLEUS} | STUFF, "n", "nic", "t", "bto"),  # all stuff drawn, yet void: truly unknown stuff
        # ... or not
        (set(), "n", "nic", "tnic", "btonic"),  # drawn by chance: void says nothing
        ({TUMOUR}, "n", "nic", "tnic", "bonic"),  # tumour regions only
        (STUFF, "n", "nic", "tnic", "nic"),
        ({NEOPLASTIC}, "n", "nic", "tic", "btoic"),  # one kind of nucleus only
    ],
)
def test_allowed_channels_by_hand(known, classed, unclassed, stuff, void):
    target = panoptic_targets(IDS, CATEGORIES, HE_CORE, frozenset(known), min_pixels=1)
    where = {(0, 0): classed, (2, 0): unclassed, (0, 2): stuff, (0, 3): void, (2, 3): "btonic"}  # the last: a crowd
    assert {p: names(target["allowed"], *p) for p in where} == where
    assert bool(target["things_known"]) == (NUCLEUS in known or known >= THINGS)


def test_targets_by_hand():
    ignore = torch.zeros(4, 4, dtype=torch.bool)
    ignore[0] = True
    target = panoptic_targets(IDS, CATEGORIES, HE_CORE, frozenset({NUCLEUS}), ignore, min_pixels=1)
    assert target["boxes"].tolist() == [[0, 1, 2, 2], [0, 2, 2, 4]]  # the ignored row is cut off the first
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].tolist() == [1, 4]  # neoplastic, and the class after the last
    assert target["masks"].sum((1, 2)).tolist() == [2, 4]
    assert target["ignore"].tolist() == [[True] * 4, [False] * 4, [False] * 3 + [True], [False] * 3 + [True]]
    assert target["allowed"][:, target["ignore"]].all()


def test_small_visible_parts_become_ignored():
    ids = torch.tensor([[5, 0, 6, 6], [0, 0, 6, 6]], dtype=torch.int32)
    target = panoptic_targets(ids, {5: NEOPLASTIC, 6: CONNECTIVE}, HE_CORE, THINGS, min_pixels=2)
    assert target["labels"].tolist() == [3]
    assert target["ignore"].tolist() == [[True, False, False, False], [False] * 4]
    assert names(target["allowed"], 0, 0) == "btonic"


def test_small_stuff_stays():
    target = panoptic_targets(torch.tensor([[1, 0]]), {1: TUMOUR}, HE_CORE, frozenset(), min_pixels=9)
    assert not target["ignore"].any()
    assert names(target["allowed"], 0, 0) == "tnic"


def test_a_thing_in_two_pieces_is_one():
    ids = torch.tensor([[7, 0, 7]])
    target = panoptic_targets(ids, {7: CONNECTIVE}, HE_CORE, THINGS, min_pixels=1)
    assert target["boxes"].tolist() == [[0, 0, 3, 1]]
    assert target["masks"].tolist() == [[[True, False, True]]]


def test_no_things_gives_empty_tensors_of_the_right_shape():
    target = panoptic_targets(torch.zeros(5, 7, dtype=torch.int32), {}, HE_CORE)
    shapes = {k: tuple(v.shape) for k, v in target.items()}
    assert shapes == {"boxes": (0, 4), "labels": (0,), "masks": (0, 5, 7), "allowed": (6, 5, 7), "ignore": (5, 7),
                      "things_known": ()}  # fmt: skip
    assert target["labels"].dtype == torch.int64
    assert target["allowed"].all()


def test_an_id_without_category_is_refused():
    with pytest.raises(ValueError, match="segment 3 has none"):
        panoptic_targets(IDS, {1: NEOPLASTIC, 2: NUCLEUS}, HE_CORE)


def test_targets_need_a_truth():
    with pytest.raises(ValueError, match=r"targets need a truth, a\.png has none"):
        PanopticTargetsd()(to_dict(Sample(torch.zeros(3, 4, 4), name="a.png")))


@st.composite
def samples(draw, low: int = 3, high: int = 40) -> Sample:
    """A random image, its truth made of rectangles (so things touch, overlap and fall apart), and some `known`."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width = draw(st.integers(low, high)), draw(st.integers(low, high))
    ids = np.zeros((height, width), np.int32)
    numbers = rng.choice(10_000, draw(st.integers(0, 9)), replace=False) + 1
    for number in numbers:
        y, x = rng.integers(height), rng.integers(width)
        ids[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = number
    categories = {int(n): int(rng.choice([c.id for c in HE_CORE.all])) for n in numbers}
    truth = Panoptic.from_ids(ids, categories, HE_CORE, 0.5)
    known = frozenset(int(i) for i in rng.choice(8, 4) if i)
    image = torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8))
    ignore = torch.from_numpy(rng.random((height, width)) < 0.1) if draw(st.booleans()) else None
    return Sample(image, truth, 0.5, "random", known=known - {0}, ignore=ignore)


@quiet
@given(samples())
def test_pasting_the_masks_gives_the_things_back(sample):
    data = to_dict(sample)
    target = panoptic_targets(data["ids"][0], data["categories"], HE_CORE, sample.known, data["ignore"][0], 1)
    things = {s.id: s for s in sample.truth.things}
    truth = np.where(np.isin(sample.truth.ids, list(things)) & ~data["ignore"][0].numpy(), sample.truth.ids, 0)
    pasted = np.zeros_like(truth)
    kept = [i for i in np.unique(truth) if i]
    order = [c.id for c in HE_CORE.things] + [NUCLEUS]
    assert len(kept) == len(target["masks"])
    columns = target["masks"].numpy(), target["boxes"].int().tolist(), target["labels"].tolist()
    for i, mask, box, label in zip(kept, *columns, strict=True):
        pasted[mask] = i
        rows, cols = np.nonzero(truth == i)
        assert box == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
        assert order[label - 1] == things[i].category_id
    np.testing.assert_array_equal(pasted, truth)


@quiet
@given(samples())
def test_allowed_equals_the_rule_pixel_by_pixel(sample):
    data = to_dict(sample)
    target = panoptic_targets(data["ids"][0], data["categories"], HE_CORE, sample.known, data["ignore"][0], 1)
    semantic, ignore = sample.truth.semantic(), data["ignore"][0]
    for row, col in np.ndindex(*sample.size):
        rule = [True] * 6 if ignore[row, col] else allowed_channels(int(semantic[row, col]), HE_CORE, sample.known)
        assert target["allowed"][:, row, col].tolist() == rule
    assert target["allowed"].any(0).all()  # the truth is never impossible
    assert target["allowed"][:, target["ignore"]].all()


@quiet
@given(samples(), st.integers(0, 10_000))
def test_flip_in_flip_out(sample, seed):
    """The targets of a turned dictionary are the turned targets: image, masks, allowed and ignore alike."""
    turn = Compose([RandFlipd(SPATIAL, 0.5, spatial_axis=0), RandRotate90d(SPATIAL, 0.75), PanopticTargetsd(1)])
    data = to_dict(sample)
    turned = turn.set_random_state(seed)(data)
    straight = PanopticTargetsd(1)(data)["target"]
    probe = torch.arange(data["ids"].numel()).view(1, *sample.size)
    again = Compose(turn.transforms[:2]).set_random_state(seed)({"image": probe, "ids": probe, "ignore": probe})
    where = again["image"].as_tensor()[0].long()
    for name in ("masks", "allowed", "ignore"):
        assert_close(turned["target"][name], straight[name].flatten(-2)[..., where])
    assert_close(turned["image"], data["image"].flatten(1)[:, where], rtol=0, atol=0)
    assert turned["target"]["labels"].tolist() == straight["labels"].tolist()
    assert type(turned["image"]) is torch.Tensor


@quiet
@given(samples(), st.integers(1, 60), st.integers(0, 10_000))
def test_a_crop_at_scale_one_is_a_piece_of_the_image(sample, size, seed):
    """Every pixel of the crop is the source's pixel, or padding that is black, void and ignored."""
    data = to_dict(sample)
    crop = RandScaleCropd(size, jitter=(1, 1)).set_random_state(seed)
    top, left, height, width = crop.set_random_state(seed).randomize(data)
    out = crop.set_random_state(seed)(data)
    assert (height, width) == (size, size)
    assert out["image"].shape == (3, size, size)
    for row, col in np.ndindex(size, size):
        y, x = row + top, col + left
        if 0 <= y < sample.size[0] and 0 <= x < sample.size[1]:
            assert_close(out["image"][:, row, col], sample.image[:, y, x] / 255)
            assert out["ids"][0, row, col] == sample.truth.ids[y, x]
            assert out["ignore"][0, row, col] == data["ignore"][0, y, x]
        else:
            assert out["image"][:, row, col].sum() == 0
            assert out["ids"][0, row, col] == 0
            assert out["ignore"][0, row, col]
    # no padding where none is needed
    padding = window({**data, "ignore": torch.zeros_like(data["ignore"])}, (top, left, size, size), (size, size))[
        "ignore"
    ]
    assert (~padding).sum() == min(size, sample.size[0]) * min(size, sample.size[1])


@pytest.mark.parametrize("box", [(-9, -9, 4, 4), (30, 2, 5, 6), (-3, 18, 7, 40)])
def test_a_window_beyond_the_border_is_padding(box):
    data = to_dict(Sample(torch.full((3, 20, 20), 255, dtype=torch.uint8)))
    out = window(data, box, (box[2], box[3]))
    top, left, height, width = box
    inside = torch.zeros(1, height, width, dtype=torch.bool)
    inside[:, max(-top, 0) : max(20 - top, 0), max(-left, 0) : max(20 - left, 0)] = True
    assert_close(out["ignore"], ~inside)
    assert_close(out["image"], inside.float().expand(3, -1, -1))


def disc(size: int, mpp: float) -> Sample:
    """A bright disc, 12 um across, 31 um right and down of the corner: the same object at any pixel size."""
    at = (torch.arange(size) + 0.5) * mpp - 31
    ids = ((at[:, None] ** 2 + at**2) < 6**2).int()
    image = ids.float().expand(3, -1, -1).contiguous()
    return Sample(image, Panoptic.from_ids(ids.numpy(), {1: NEOPLASTIC}, HE_CORE, mpp), mpp, known=THINGS)


@pytest.mark.parametrize("mpp", [0.2, 0.25, 0.5, 0.73])
def test_scale_to_keeps_sizes_in_micrometres(mpp):
    out = ScaleTod(0.5)(to_dict(disc(round(70 / mpp), mpp)))
    area = int((out["ids"] == 1).sum()) * out["pixel_size_um"] ** 2
    assert out["pixel_size_um"] == pytest.approx(0.5, rel=0.01)
    assert area == pytest.approx(np.pi * 36, rel=0.03)
    # image and ids still lie on each other: the image, cut at half height, is the disc
    assert int(((out["image"][:1] > 0.5) != (out["ids"] == 1)).sum()) <= 0.08 * int((out["ids"] == 1).sum())


def test_resizing_white_stays_white():
    """Rounding in the resize must not lift a float image above 1, where the next check would refuse it."""
    data = to_dict(Sample(torch.ones(3, 50, 50)))
    assert all(window(data, (0, 0, n, n), (32, 32))["image"].max() <= 1 for n in range(20, 50))


def test_random_scale_stays_within_its_jitter_and_uses_it():
    crop = RandScaleCropd(64, 0.5, jitter=(0.7, 1.4)).set_random_state(0)
    data = to_dict(disc(350, 0.2))
    sizes = [crop(data)["pixel_size_um"] for _ in range(200)]
    assert min(sizes) >= 0.5 / 1.4 * 0.98
    assert max(sizes) <= 0.5 / 0.7 * 1.02
    assert min(sizes) < 0.38 < 0.68 < max(sizes)


def test_unknown_pixel_size_keeps_its_scale():
    sample = Sample(torch.zeros(3, 90, 80))
    assert ScaleTod(0.5)(to_dict(sample))["image"].shape == (3, 90, 80)
    assert RandScaleCropd(32, 0.5, jitter=(1, 1))(to_dict(sample))["pixel_size_um"] is None


def test_crops_around_things_are_not_empty():
    ids = np.zeros((400, 400), np.int32)
    ids[300:306, 20:26], ids[0:9, 390:400], ids[200:210, 200:210] = 8, 9, 10
    truth = Panoptic.from_ids(ids, {8: NEOPLASTIC, 9: TUMOUR, 10: NUCLEUS}, HE_CORE, crowds=[10])
    data = to_dict(Sample(torch.zeros(3, 400, 400), truth))
    crop = RandScaleCropd(64, jitter=(1, 1), on_thing=1).set_random_state(1)
    outs = [crop(data)["ids"] for _ in range(40)]
    assert all((o == 8).sum() == 36 for o in outs)  # stuff and crowds draw nothing
    assert len({tuple(torch.nonzero(o[0])[0].tolist()) for o in outs}) > 20  # nor is it always in the middle


def test_same_seed_same_crop_and_no_edit():
    sample = disc(200, 0.25)
    kept = sample.image.clone(), sample.truth.ids.copy()
    pipeline = train_pipeline(64, 0.5)
    first = [pipeline.set_random_state(7)(sample) for _ in range(2)]
    other = pipeline.set_random_state(8)(sample)[0]
    assert_close(first[0], first[1], rtol=0, atol=0)
    assert not torch.equal(first[0][0], other)
    assert_close(train_pipeline(64, 0.5, seed=3)(sample), train_pipeline(64, 0.5, seed=3)(sample), rtol=0, atol=0)
    assert_close(sample.image, kept[0], rtol=0, atol=0)
    np.testing.assert_array_equal(sample.truth.ids, kept[1])


@quiet
@given(samples(1, 50), st.integers(0, 100))
def test_any_sample_goes_through_the_training_chain(sample, seed):
    image, target = train_pipeline(32, 0.5, seed)(sample)
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.float32
    assert 0 <= image.min() <= image.max() <= 1
    boxes = target["boxes"]
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.numel() == 0 or boxes.max() <= 32
    assert target["masks"].shape == (len(boxes), 32, 32)


def test_eval_chain_and_collate():
    pairs = [eval_pipeline(0.5)(disc(n, 0.5)) for n in (80, 90)]
    images, targets = collate(pairs)
    assert [tuple(i.shape) for i in images] == [(3, 80, 80), (3, 90, 90)]
    assert [t["labels"].tolist() for t in targets] == [[1], [1]]
    assert_close(images[0], disc(80, 0.5).image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "at least 1 px"),
        ({"size": 8, "jitter": (0, 1)}, "0 < low <= high"),
        ({"size": 8, "jitter": (2, 1)}, "0 < low <= high"),
        ({"size": 8, "on_thing": 1.5}, "probability from 0 to 1"),
        ({"size": 8, "pixel_size_um": -1.0}, "positive number of micrometres"),
    ],
)
def test_bad_settings_of_a_crop(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandScaleCropd(**arguments)


def test_bad_images():
    with pytest.raises(TypeError, match=r"uint8 0\.\.255 or floats 0\.\.1, got torch\.int32"):
        unit_image(torch.zeros(3, 2, 2, dtype=torch.int32))
    for bad in (torch.full((3, 2, 2), 200.0), torch.full((3, 2, 2), float("nan"))):
        with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
            unit_image(bad)
