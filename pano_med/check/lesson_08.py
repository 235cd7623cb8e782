"""The exercises of lesson 08: levels and places of a slide, one owner for each nucleus, blended seams, density."""

import numpy as np

from pano_med.check.exercise import Exercise, Mistake

Level = int
Places = np.ndarray
Core = tuple[int, int, int, int]


def _level(mpps: list[float], wanted: float) -> Level:
    return max((i for i, mpp in enumerate(mpps) if mpp <= wanted), default=0)


def _nearest(mpps: list[float], wanted: float) -> Level:
    return int(np.argmin([abs(mpp - wanted) for mpp in mpps]))


def _first_coarser(mpps: list[float], wanted: float) -> Level:
    return next((i for i, mpp in enumerate(mpps) if mpp >= wanted), len(mpps) - 1)


def _finest(mpps: list[float], wanted: float) -> Level:
    return 0


def _coarsest(mpps: list[float], wanted: float) -> Level:
    return len(mpps) - 1


def _strictly_finer(mpps: list[float], wanted: float) -> Level:
    return max((i for i, mpp in enumerate(mpps) if mpp < wanted), default=0)


def _place(row: float, column: float, corner: tuple[int, int], mpp: float, mpp_0: float) -> tuple[float, float]:
    return corner[0] + row * mpp / mpp_0, corner[1] + column * mpp / mpp_0


def _not_scaled(row: float, column: float, corner: tuple[int, int], mpp: float, mpp_0: float) -> tuple[float, float]:
    return corner[0] + row, corner[1] + column


def _inverted(row: float, column: float, corner: tuple[int, int], mpp: float, mpp_0: float) -> tuple[float, float]:
    return corner[0] + row * mpp_0 / mpp, corner[1] + column * mpp_0 / mpp


def _corner_too(row: float, column: float, corner: tuple[int, int], mpp: float, mpp_0: float) -> tuple[float, float]:
    return (corner[0] + row) * mpp / mpp_0, (corner[1] + column) * mpp / mpp_0


def _no_corner(row: float, column: float, corner: tuple[int, int], mpp: float, mpp_0: float) -> tuple[float, float]:
    return row * mpp / mpp_0, column * mpp / mpp_0


def _x_first(row: float, column: float, corner: tuple[int, int], mpp: float, mpp_0: float) -> tuple[float, float]:
    return _place(row, column, corner, mpp, mpp_0)[::-1]


def _inside(values: np.ndarray, low: int, high: int) -> np.ndarray:
    return (values >= low) & (values < high)


def _owned(centres: Places, core: Core) -> np.ndarray:
    return _inside(centres[:, 0], core[0], core[2]) & _inside(centres[:, 1], core[1], core[3])


def _both_edges(centres: Places, core: Core) -> np.ndarray:
    r, c = centres.T
    return (r >= core[0]) & (r <= core[2]) & (c >= core[1]) & (c <= core[3])


def _no_edge(centres: Places, core: Core) -> np.ndarray:
    r, c = centres.T
    return (r > core[0]) & (r < core[2]) & (c > core[1]) & (c < core[3])


def _other_edge(centres: Places, core: Core) -> np.ndarray:
    r, c = centres.T
    return (r > core[0]) & (r <= core[2]) & (c > core[1]) & (c <= core[3])


def _x_y(centres: Places, core: Core) -> np.ndarray:
    return _owned(centres[:, ::-1], core)


def _rows_only(centres: Places, core: Core) -> np.ndarray:
    return _inside(centres[:, 0], core[0], core[2])


def _falling(width: int) -> np.ndarray:
    return np.linspace(1, 0, width)


def _blend(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    weight = _falling(left.shape[-1])
    return weight * left + (1 - weight) * right


def _mean(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left + right) / 2


def _switch(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.where(np.arange(left.shape[-1]) < left.shape[-1] / 2, left, right)


def _reversed(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return _blend(right, left)


def _largest(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.maximum(left, right)


def _down_the_rows(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    weight = _falling(left.shape[-2])[:, None]
    return weight * left + (1 - weight) * right


def _sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return left + right


def _density(counts: np.ndarray, tissue_um2: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(tissue_um2 > 0, counts / tissue_um2 * 1e6, np.nan)


def _zero_on_glass(counts: np.ndarray, tissue_um2: np.ndarray) -> np.ndarray:
    return np.nan_to_num(_density(counts, tissue_um2))


def _per_um2(counts: np.ndarray, tissue_um2: np.ndarray) -> np.ndarray:
    return _density(counts, tissue_um2) / 1e6


def _thousand(counts: np.ndarray, tissue_um2: np.ndarray) -> np.ndarray:
    return _density(counts, tissue_um2) / 1e3


def _whole_squares(counts: np.ndarray, tissue_um2: np.ndarray) -> np.ndarray:
    return counts / tissue_um2.max() * 1e6


def _one_number(counts: np.ndarray, tissue_um2: np.ndarray) -> np.ndarray:
    return np.full(counts.shape, counts.sum() / tissue_um2.sum() * 1e6)


_PYRAMID = [0.25, 0.5, 1.0, 4.0]
_CORE = (64, 32, 128, 96)
_CENTRES = np.array([[64, 32], [128, 40], [100.5, 96], [70, 95.9], [127.9, 31], [40, 100], [200, 60], [90, 50.0]])
_LEFT, _RIGHT = np.arange(20.0).reshape(4, 5), 30 - np.arange(20.0).reshape(4, 5) ** 1.5
_COUNTS = np.array([[12, 0, 3], [40, 5, 0]])
_TISSUE = np.array([[1e4, 0.0, 2.5e3], [1e4, 1e4, 5e3]])

EXERCISES = (
    Exercise(
        "8.1",
        _level,
        cases=((_PYRAMID, 0.7), (_PYRAMID, 1.0), (_PYRAMID, 0.2), (_PYRAMID, 3.0), ([0.5, 2.0], 9.0)),
        mistakes=(
            Mistake(
                _nearest,
                "You take the nearest level. It may be coarser than what you want, and what it lacks no enlargement "
                "brings back: take one that is at least as fine.",
            ),
            Mistake(
                _first_coarser,
                "That level is coarser than what you want: the detail is gone. Read a finer one and make it smaller.",
            ),
            Mistake(
                _finest,
                "Level 0 always works and is slow: for an overview of the slide you would read all of its pixels.",
            ),
            Mistake(_coarsest, "The coarsest level is quick to read, but nuclei are a few pixels wide there."),
            Mistake(_strictly_finer, "A level with exactly the wanted pixel size is fine enough: use <=, not <."),
        ),
        hints=(
            "Which levels are fine enough? Of these, which has the fewest pixels?",
            "Fine enough: `mpp <= wanted`. Take the last such index; where none is, level 0 is the best you have.",
        ),
    ),
    Exercise(
        "8.2",
        _place,
        cases=((10.0, 20.0, (4096, 2048), 0.5, 0.25), (3.0, 7.0, (100, 900), 0.25, 0.5), (0.0, 8.0, (7, 5), 1.0, 0.25)),
        mistakes=(
            Mistake(
                _not_scaled, "You add pixels of two sizes. How many level-0 pixels is one pixel of the tile wide?"
            ),
            Mistake(_inverted, "The factor is upside down: a pixel of 0.5 µm is two pixels of 0.25 µm wide, not half."),
            Mistake(_corner_too, "The corner is in level-0 pixels already: only the place in the tile is scaled."),
            Mistake(_no_corner, "That is the place in the tile. The tile's corner on the slide is missing."),
            Mistake(_x_first, "Rows come before columns here: you give (column, row)."),
        ),
        hints=(
            "First turn the place in the tile into level-0 pixels, then add the corner.",
            "One pixel of the tile is `mpp / mpp_0` level-0 pixels wide.",
        ),
    ),
    Exercise(
        "8.3",
        _owned,
        cases=((_CENTRES, _CORE), (_CENTRES, (0, 0, 64, 32)), (np.zeros((0, 2)), _CORE)),
        mistakes=(
            Mistake(
                _both_edges,
                "A centre exactly on the line between two cores is owned by both, so its nucleus is counted twice.",
            ),
            Mistake(
                _no_edge,
                "A centre exactly on the line between two cores is owned by none, so its nucleus is lost.",
            ),
            Mistake(
                _other_edge,
                "That divides the slide without gap as well, but the rule here owns the top and left line of the core, "
                "so that a centre at (0, 0) has an owner too.",
            ),
            Mistake(_x_y, "Centres are (row, column); you read them as (x, y)."),
            Mistake(_rows_only, "The rows are right. The columns must lie in the core too."),
        ),
        hints=(
            "Four comparisons joined by &. On which of them may the centre be equal?",
            "`(row >= top) & (row < bottom)`, and the same for columns: each line belongs to one side only.",
        ),
    ),
    Exercise(
        "8.4",
        _blend,
        cases=((_LEFT, _RIGHT), (np.ones((2, 3)), np.zeros((2, 3))), (_RIGHT[:, :2], _LEFT[:, :2])),
        mistakes=(
            Mistake(
                _mean,
                "A plain mean trusts both tiles alike everywhere, so it jumps at both ends of the strip. Each tile "
                "knows least at its own edge.",
            ),
            Mistake(_switch, "That switches from one tile to the other in the middle: a seam, only moved."),
            Mistake(
                _reversed,
                "The weights run the wrong way: at the left end of the strip the left tile is far from its edge.",
            ),
            Mistake(_largest, "The maximum takes the more confident tile at each pixel, and confidence is no blend."),
            Mistake(_down_the_rows, "Your weights fall from top to bottom. The tiles lie side by side: along columns."),
            Mistake(_sum, "The weights of the two tiles must add up to 1 at each column."),
        ),
        hints=(
            "The left tile's weight is 1 in the first column of the strip and 0 in the last. And the right tile's?",
            "`np.linspace(1, 0, width)` falls along the columns; the right tile has 1 minus that.",
        ),
    ),
    Exercise(
        "8.5",
        _density,
        cases=((_COUNTS, _TISSUE), (_COUNTS[:, :1], _TISSUE[:, :1] / 4)),
        mistakes=(
            Mistake(
                _zero_on_glass,
                "Where there is no tissue the density is not 0 but unknown: give nan, and the map stays empty there.",
            ),
            Mistake(_per_um2, "That is per µm². How many µm² has a mm²?"),
            Mistake(_thousand, "1 mm is 1000 µm, so 1 mm² is 1000 x 1000 µm²."),
            Mistake(
                _whole_squares,
                "You divide by the whole square, also where half of it is glass: the rim of the tissue looks poor.",
            ),
            Mistake(_one_number, "That is one density for the whole slide; asked is one for each square."),
        ),
        hints=(
            "Divide square by square. What should stand where tissue_um2 is 0?",
            "`np.where(tissue_um2 > 0, ..., np.nan)`; a mm² has a million µm².",
        ),
    ),
)
