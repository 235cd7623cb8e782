"""Tiles: where they lie, and that cutting an image up and joining it again changes nothing."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pano_med.tiles import NOBODY, Grid, Joined, Piece, Tile, cut_piece, join, taper
from pano_med.types import Category, Panoptic, Taxonomy

CHECK = settings(deadline=None, derandomize=True, max_examples=40)
SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))
CUTS = st.tuples(st.integers(0, 24), st.integers(4, 40)).map(lambda c: (2 * c[0] + c[1], c[0]))  # (tile, overlap)
ORIGINS = st.tuples(st.integers(0, 90), st.integers(0, 90))
TABLE = Taxonomy("t", (*(Category(i + 1, f"s{i}", False, (0, 0, 0)) for i in range(3)),
                       Category(4, "cell", True, (0, 0, 0))))  # fmt: skip


@CHECK
@given(SIZES, CUTS, ORIGINS)
def test_cores_and_cells_divide_the_image_and_tiles_cover_it(
    size: tuple[int, int], cut: tuple[int, int], origin: tuple[int, int]
) -> None:
    side, overlap = cut
    owners, finished, weight = (np.zeros(size) for _ in range(3))
    grid = Grid(size, side, overlap, origin)
    assert len(grid) == np.prod(grid.shape)
    for tile in grid:
        owners[tile.core] += 1
        finished[tile.cell] += 1
        down, across = taper(tile, size, overlap)
        weight[tile.window] += down * across
        assert max(tile.size) <= side
        for span, start in zip((tile.rows, tile.columns), origin, strict=True):
            assert span[0] == 0 or (span[0] - start) % (side - overlap) == 0
        inside = np.zeros(tile.size, bool)
        inside[tile.inside(tile.core_rows, tile.core_columns)] = True
        inside[tile.inside(tile.cell_rows, tile.cell_columns)] = True
        assert inside.sum() >= owners[tile.core].size  # the core lies in its tile
        assert min(tile.size) >= min(overlap, *size)  # never thinner than the overlap
    assert (owners == 1).all()
    assert (finished == 1).all()
    assert (weight > 0).all()


@settings(CHECK, max_examples=20)
@given(SIZES, st.integers(0, 12), st.integers(20, 40), ORIGINS)
def test_a_tile_shares_pixels_with_its_neighbours_only(
    size: tuple[int, int], overlap: int, more: int, origin: tuple[int, int]
) -> None:
    grid = Grid(size, 2 * overlap + more, overlap, origin)
    for index, tile in enumerate(grid):
        beside = {j for j, other in enumerate(grid) if j != index and _meet(tile, other)}
        assert beside <= {*grid.earlier(index), *grid.later(index)}
        assert all(i < index for i in grid.earlier(index))
        assert all(i > index for i in grid.later(index))


def _meet(a: Tile, b: Tile) -> bool:
    return all(x[0] < y[1] and y[0] < x[1] for x, y in ((a.rows, b.rows), (a.columns, b.columns)))


def test_grid_by_hand() -> None:
    rows = (0, 4), (0, 4), (0, 4)  # tile, core, cell
    assert list(Grid((4, 10), 6, 2)) == [
        Tile(rows[0], (0, 6), rows[1], (0, 5), rows[2], (0, 4)),
        Tile(rows[0], (4, 10), rows[1], (5, 10), rows[2], (4, 10)),
    ]
    assert [t.columns for t in Grid((4, 10), 6, 2, (0, 1))] == [(0, 3), (1, 7), (5, 10)]
    assert len(Grid((6, 6), 6, 2)) == 1


def test_taper_by_hand() -> None:
    left, right = Grid((1, 10), 6, 2)
    thirds = np.array([[1, 1, 1, 1, 2 / 3, 1 / 3]], np.float32)
    np.testing.assert_allclose(taper(left, (1, 10), 2)[1], thirds, rtol=1e-6)
    np.testing.assert_allclose(taper(right, (1, 10), 2)[1], thirds[:, ::-1], rtol=1e-6)


@pytest.mark.parametrize(("side", "overlap"), [(8, 4), (8, -1), (0, 0)])
def test_overlap_out_of_range(side: int, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"below half of the tile, got {overlap} of {side} px"):
        Grid((20, 20), side, overlap)


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


def seen(grid: Grid, index: int, ids: np.ndarray, stuff: np.ndarray, void: np.ndarray | None = None) -> Piece:
    """The piece of a network that sees the truth perfectly, but only inside its tile."""
    part, ground = ids[grid[index].window], stuff[grid[index].window]
    merged = np.where(part > 0, part + 3, ground + 1)
    if void is not None:
        merged[void[grid[index].window] & (part == 0)] = 0
    kinds = {int(i): min(int(i), 4) for i in np.unique(merged) if i}
    logits = np.stack([ground == c for c in range(3)]).astype(np.float32)
    return cut_piece(grid, index, logits, Panoptic.from_ids(merged, kinds, TABLE))


def stitch(grid: Grid, pieces: dict[int, Piece]) -> tuple[np.ndarray, np.ndarray]:
    """The whole image out of its pieces."""
    ids, winner = np.zeros(grid.size, np.int32), np.full(grid.size, NOBODY, np.uint8)
    numbers: dict[int, np.ndarray] = {}
    count = 0
    for index, tile in enumerate(grid):
        near = {i: pieces[i] for i in (*grid.earlier(index), index) if i in pieces}
        joined = join(grid, index, near, numbers, count + 1)
        numbers[index], ids[tile.cell], winner[tile.cell] = joined.numbers, joined.ids, joined.winner
        count += np.count_nonzero(joined.numbers)
    return ids, winner


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
@given(st.integers(0, 10_000), SIZES, st.integers(2, 14), st.integers(10, 40), ORIGINS)
@example(0, (150, 150), 12, 20, (0, 0))
def test_a_perfect_network_gets_its_truth_back(
    seed: int, size: tuple[int, int], overlap: int, more: int, origin: tuple[int, int]
) -> None:
    """Objects smaller than the overlap come back whole and once, whatever the grid."""
    ids, stuff = scene(seed, size, overlap - 1)
    void = np.random.default_rng(seed).random(size) < 0.1
    grid = Grid(size, 2 * overlap + more, overlap, origin)
    found, winner = stitch(grid, {i: seen(grid, i, ids, stuff, void) for i in range(len(grid))})
    np.testing.assert_array_equal(found > 0, ids > 0)
    assert same_things(ids, found)
    np.testing.assert_array_equal(winner[ids == 0], np.where(void, NOBODY, stuff)[ids == 0])


@pytest.mark.parametrize("left", range(20, 60))
def test_an_object_almost_as_wide_as_the_overlap_is_never_cut(left: int) -> None:
    """A tile that sees part of it has its centre wrong by some pixels and must leave it to its neighbour."""
    ids = np.zeros((20, 100), np.int32)
    ids[4:10, left : left + 15] = 1
    grid = Grid((20, 100), 50, 16)
    found, _ = stitch(grid, {i: seen(grid, i, ids, ids.astype(np.uint8) * 0) for i in range(len(grid))})
    np.testing.assert_array_equal(found, ids)


@CHECK
@given(st.tuples(st.integers(0, 99), st.integers(0, 99)), st.tuples(st.integers(1, 100), st.integers(1, 100)))
def test_an_object_of_any_size_is_whole_or_reported(corner: tuple[int, int], size: tuple[int, int]) -> None:
    ids = np.zeros((100, 100), np.int32)
    ids[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = 1
    grid = Grid(ids.shape, 48, 16)
    pieces = {i: seen(grid, i, ids, ids.astype(np.uint8) * 0) for i in range(len(grid))}
    found, winner = stitch(grid, pieces)
    reported = sum(np.count_nonzero(~p.arrays["whole"]) for p in pieces.values())
    if reported:
        assert not found.any()
        assert max(ids.any(1).sum(), ids.any(0).sum()) >= 16
    else:
        np.testing.assert_array_equal(found, ids)
    assert (winner == 0).all()


def test_a_claim_by_two_tiles_is_placed_once() -> None:
    """The left tile sees the object one pixel further left than the right tile does: both claim it."""
    grid = Grid((20, 100), 60, 16)
    truth, moved = np.zeros((20, 100), np.int32), np.zeros((20, 100), np.int32)
    column = grid[0].core_columns[1] - 3
    truth[5:11, column : column + 6] = 1
    moved[5:11, column - 1 : column + 5] = 1
    ground = np.zeros((20, 100), np.uint8)
    pieces = {0: seen(grid, 0, moved, ground), 1: seen(grid, 1, truth, ground)}
    assert [len(p.arrays["boxes"]) for p in pieces.values()] == [1, 1], "the test needs both to claim it"
    found, _ = stitch(grid, pieces)
    np.testing.assert_array_equal(found, moved)


def test_glass_is_not_looked_at_but_an_object_that_reaches_into_it_is_whole() -> None:
    ids = np.zeros((20, 100), np.int32)
    ids[4:10, 45:58] = 1  # its centre is the left tile's; it reaches into the cell of the right one
    grid = Grid((20, 100), 60, 16)
    found, winner = stitch(grid, {0: seen(grid, 0, ids, np.zeros((20, 100), np.uint8))})
    np.testing.assert_array_equal(found, ids)
    assert (winner[:, :60] == 0).all()
    assert (winner[:, 60:] == NOBODY).all()


def test_overlapping_logits_are_averaged_by_weight() -> None:
    grid = Grid((1, 10), 6, 2)  # they share columns 4 and 5; weights 2/3 and 1/3 to the left tile
    nothing = np.zeros((1, 10), np.int32)
    pieces = {i: seen(grid, i, nothing, np.full((1, 10), i, np.uint8)) for i in (0, 1)}
    assert stitch(grid, pieces)[1].tolist() == [[0] * 5 + [1] * 5]


def test_joined_parts_have_the_sizes_they_say() -> None:
    grid = Grid((30, 30), 20, 4)
    ids, _ = scene(1, (30, 30), 4)
    joined = join(grid, 0, {0: seen(grid, 0, ids, np.zeros((30, 30), np.uint8))}, {}, 5)
    assert isinstance(joined, Joined)
    assert (joined.ids.shape, joined.winner.shape, joined.canvas.shape) == ((16, 16), (16, 16), (20, 20))
    placed = joined.numbers[joined.numbers > 0].tolist()
    assert placed == list(range(5, 5 + len(placed)))
