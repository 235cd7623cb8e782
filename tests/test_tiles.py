"""Tiles: where they lie, and that cutting an image up and stitching it again changes nothing."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pano_med.tiles import TaperedStuff, ThingCanvas, Tile, crops, grid, taper

CHECK = settings(deadline=None, derandomize=True, max_examples=60)
SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))
CUTS = st.tuples(st.integers(0, 24), st.integers(1, 40)).map(lambda c: (2 * c[0] + c[1], c[0]))  # (tile, overlap)


@CHECK
@given(SIZES, CUTS)
def test_cores_divide_the_image_and_tiles_cover_it(size: tuple[int, int], cut: tuple[int, int]) -> None:
    side, overlap = cut
    owners, weight = np.zeros(size, int), np.zeros(size)
    for tile in grid(size, side, overlap):
        owners[tile.core] += 1
        weight[tile.window] += taper(tile, size, overlap)
        assert max(tile.size) <= side
        assert tile.rows[0] % (side - overlap) == tile.columns[0] % (side - overlap) == 0
        inside = np.zeros(tile.size, bool)
        inside[tile.core_inside] = True
        assert inside.sum() == np.zeros(size)[tile.core].size  # the core lies in its tile
        assert min(tile.size) > min(overlap, *size) - 1  # never thinner than the overlap
    assert (owners == 1).all()
    assert (weight > 0).all()


def test_grid_by_hand() -> None:
    assert grid((4, 10), 6, 2) == [Tile((0, 4), (0, 6), (0, 4), (0, 5)), Tile((0, 4), (4, 10), (0, 4), (5, 10))]
    assert grid((6, 6), 6, 2) == [Tile((0, 6), (0, 6), (0, 6), (0, 6))]


def test_taper_by_hand() -> None:
    left, right = grid((1, 10), 6, 2)
    thirds = np.array([1, 1, 1, 1, 2 / 3, 1 / 3], np.float32)
    np.testing.assert_allclose(taper(left, (1, 10), 2)[0], thirds, rtol=1e-6)
    np.testing.assert_allclose(taper(right, (1, 10), 2)[0], thirds[::-1], rtol=1e-6)


@pytest.mark.parametrize(("side", "overlap"), [(8, 4), (8, -1), (0, 0)])
def test_overlap_out_of_range(side: int, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"below half of the tile, got {overlap} of {side} px"):
        grid((20, 20), side, overlap)


def scene(seed: int, size: tuple[int, int], largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids of disjoint boxes with a bite out of a corner, each at most `largest` px wide, and a random stuff map."""
    rng, ids = np.random.default_rng(seed), np.zeros(size, np.int32)
    for number in range(1, 40):
        h, w = rng.integers(1, largest + 1, 2)
        top, left = rng.integers(0, size[0]), rng.integers(0, size[1])
        place = ids[top : top + h, left : left + w]
        if not place.any():
            place[:] = number
            place[: len(place) // 2, : place.shape[1] // 2] = 0
            ids[top : top + h, left : left + w] = place[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])].copy()
    return ids, rng.integers(0, 3, size).astype(np.uint8)


def stitch(ids: np.ndarray, stuff: np.ndarray, side: int, overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a truth into tiles, hand each tile's part out as if a network had found it, stitch."""
    things, tapered = ThingCanvas(ids.shape), TaperedStuff(ids.shape, 3, overlap)
    for tile in grid(ids.shape, side, overlap):
        tapered.add(tile, np.stack([stuff[tile.window] == c for c in range(3)]).astype(np.float32))
        assert tapered._sum.shape[1] <= side, "more than one row of tiles is held"
        for _, mask, corner in crops(ids[tile.window]):
            things.place(tile, mask, corner)
    return things.ids, tapered.finish()


def same_things(a: np.ndarray, b: np.ndarray) -> bool:
    """The same masks, whatever their numbers."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    one_to_one = all(len(np.unique(row)) == pairs.shape[1] for row in pairs)
    return one_to_one and bool(((pairs[0] == 0) == (pairs[1] == 0)).all())


def test_same_things_can_say_no() -> None:
    a = np.array([[0, 1, 1, 2]])
    assert same_things(a, np.array([[0, 5, 5, 3]]))
    for other in ([[0, 5, 5, 5]], [[0, 5, 4, 3]], [[0, 5, 0, 3]], [[7, 5, 5, 3]]):
        assert not same_things(a, np.array(other))


@CHECK
@given(st.integers(0, 10_000), SIZES, st.integers(1, 14), st.integers(1, 40))
@example(0, (150, 150), 12, 20)
def test_a_perfect_network_gets_its_truth_back(seed: int, size: tuple[int, int], overlap: int, more: int) -> None:
    """Objects up to the overlap come back whole and once, whatever the grid."""
    ids, stuff = scene(seed, size, overlap)
    found, winner = stitch(ids, stuff, 2 * overlap + more, overlap)
    np.testing.assert_array_equal(found > 0, ids > 0)
    assert same_things(ids, found)
    np.testing.assert_array_equal(winner, stuff)


@pytest.mark.parametrize("left", range(20, 60))
def test_an_object_as_wide_as_the_overlap_is_never_cut(left: int) -> None:
    """A tile that sees part of it has its centre wrong by some pixels and must leave it to its neighbour."""
    ids = np.zeros((20, 100), np.int32)
    ids[4:10, left : left + 16] = 1
    found, _ = stitch(ids, np.zeros_like(ids), 50, 16)
    np.testing.assert_array_equal(found, ids)


def test_a_claim_by_two_tiles_is_placed_once() -> None:
    """The left tile sees the object one pixel further left than the right tile does: both claim it."""
    left, right = grid((20, 100), 60, 16)
    canvas, mask = ThingCanvas((20, 100)), np.ones((6, 6), bool)
    column = left.core_columns[1] - 3
    assert canvas.place(left, mask, (5, column - 1)) == 1
    assert canvas.place(right, mask, (5, column - right.columns[0])) is None
    assert canvas.count == 1
    assert canvas.place(left, mask, (12, left.columns[1] - 6)) is None  # its centre is the neighbour's


def test_overlapping_logits_are_averaged_by_weight() -> None:
    left, right = grid((1, 10), 6, 2)  # they share columns 4 and 5; weights 2/3 and 1/3 to the left tile
    stuff = TaperedStuff((1, 10), 2, 2)
    stuff.add(left, np.stack([np.ones((1, 6)), np.zeros((1, 6))]))
    stuff.add(right, np.stack([np.zeros((1, 6)), np.ones((1, 6))]))
    assert stuff.finish().tolist() == [[0] * 5 + [1] * 5]
