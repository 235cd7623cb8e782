"""Cut an image into tiles and stitch it again: with a perfect predictor the truth comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pano_med.tiles import TaperedStuff, ThingCanvas, crops, grid, taper

SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))
GRIDS = st.sampled_from([(40, 0), (40, 8), (64, 16), (33, 16), (200, 32)])


@settings(deadline=None, derandomize=True, max_examples=150)
@given(SIZES, GRIDS)
def test_cores_divide_the_image(size: tuple[int, int], numbers: tuple[int, int]) -> None:
    tile, overlap = numbers
    owners, weight = np.zeros(size, int), np.zeros(size, np.float32)
    for piece in grid(size, tile, overlap):
        owners[piece.core] += 1
        weight[piece.window] += taper(piece, size, overlap)
        assert piece.rows[0] % (tile - overlap) == 0
        assert max(piece.size) <= tile
        assert np.zeros(piece.size)[piece.core_inside].shape == np.zeros(size)[piece.core].shape
    assert (owners == 1).all()
    assert (weight > 0).all()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.tuples(st.integers(60, 150), st.integers(60, 150)), st.integers(0, 10_000), st.sampled_from([(64, 24), (48, 20)])
)
def test_cut_and_stitch_gives_the_truth_back(size: tuple[int, int], seed: int, numbers: tuple[int, int]) -> None:
    """Objects are smaller than the overlap; each tile sees them cropped at its edge."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(size, np.int32)
    for row in range(0, size[0] - 8, 9):  # on a lattice, so that no two touch
        for column in range(0, size[1] - 8, 9):
            h, w = rng.integers(2, 9, 2)
            if rng.random() < 0.7:
                truth[row : row + h, column : column + w] = truth.max() + 1
    stuff = rng.integers(0, 3, size)
    things, average = ThingCanvas(size), TaperedStuff(size, 3, numbers[1])
    for piece in grid(size, *numbers):
        average.add(piece, (stuff[piece.window] == np.arange(3)[:, None, None]).astype(np.float32))
        for _, mask, corner in crops(np.ascontiguousarray(truth[piece.window])):
            things.place(piece, mask, corner)
        assert average._sum.shape[1] <= numbers[0]  # never more than one row of tiles in memory
    np.testing.assert_array_equal(average.finish(), stuff)
    pairs = set(zip(truth.ravel().tolist(), things.ids.ravel().tolist(), strict=True))
    assert things.count == truth.max()
    assert len(pairs) == len(np.unique(truth))  # the same objects under other numbers


def test_a_second_claim_on_taken_ground_is_dropped() -> None:
    piece = grid((32, 32), 64, 8)[0]
    canvas = ThingCanvas((32, 32))
    assert canvas.place(piece, np.ones((6, 6), bool), (4, 4)) == 1
    assert canvas.place(piece, np.ones((6, 6), bool), (4, 6)) is None  # two thirds taken
    assert canvas.place(piece, np.ones((6, 6), bool), (4, 9)) == 2  # one sixth taken
    assert (canvas.ids == 1).sum() == 36
    assert (canvas.ids == 2).sum() == 30


def test_overlap_must_leave_a_core() -> None:
    with pytest.raises(ValueError, match="overlap must be at least 0 and below half of the tile, got 32 of 64"):
        grid((100, 100), 64, 32)
