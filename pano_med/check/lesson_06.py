"""The exercises of lesson 06: counting nuclei, Dice of the foreground, density, nuclei on borders, trust in types."""

import numpy as np
from scipy import ndimage

from pano_med.check.exercise import Exercise, Mistake

# -- 6.1: how many nuclei?


def _count(ids: np.ndarray) -> int:
    return int(np.count_nonzero(np.unique(ids)))


def _blobs(ids: np.ndarray) -> int:
    return int(ndimage.label(ids > 0)[1])


def _with_void(ids: np.ndarray) -> int:
    return len(np.unique(ids))


def _always_one_less(ids: np.ndarray) -> int:
    return len(np.unique(ids)) - 1


def _largest(ids: np.ndarray) -> int:
    return int(ids.max())


def _pixels(ids: np.ndarray) -> int:
    return int((ids > 0).sum())


_TOUCHING = np.array([[0, 4, 4, 9, 9, 0], [0, 4, 4, 9, 9, 0], [0, 0, 0, 0, 0, 0], [12, 12, 0, 0, 7, 7]])

# -- 6.2: Dice of the foreground


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    one, other = a > 0, b > 0
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a > 0) & (b > 0)).sum() / ((a > 0) | (b > 0)).sum())


def _without_two(a: np.ndarray, b: np.ndarray) -> float:
    return _dice(a, b) / 2


def _same_ids(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * ((a == b) & (a > 0)).sum() / ((a > 0).sum() + (b > 0).sum()))


def _accuracy(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a > 0) == (b > 0)).mean())


_MERGED = np.where(_TOUCHING == 9, 4, _TOUCHING)
_MOVED = np.roll(_TOUCHING, 1, axis=1)

# -- 6.4: nuclei per mm2 of tissue


def _density(count: int, tissue: np.ndarray, pixel_size_um: float) -> float:
    return float(count / (tissue.sum() * pixel_size_um**2 / 1e6))


def _by_box(count: int, tissue: np.ndarray, pixel_size_um: float) -> float:
    return float(count / (tissue.size * pixel_size_um**2 / 1e6))


def _not_squared(count: int, tissue: np.ndarray, pixel_size_um: float) -> float:
    return float(count / (tissue.sum() * pixel_size_um / 1e6))


def _thousand(count: int, tissue: np.ndarray, pixel_size_um: float) -> float:
    return float(count / (tissue.sum() * pixel_size_um**2 / 1e3))


def _per_um2(count: int, tissue: np.ndarray, pixel_size_um: float) -> float:
    return float(count / (tissue.sum() * pixel_size_um**2))


def _per_pixels(count: int, tissue: np.ndarray, pixel_size_um: float) -> float:
    return float(count / (tissue.sum() / 1e6))


_TISSUE = np.arange(400 * 300).reshape(400, 300) % 5 > 0

# -- 6.5: each nucleus once


def _once(ids: np.ndarray) -> int:
    left_out = np.union1d(ids[-1], ids[:, -1])
    return int(np.count_nonzero(np.setdiff1d(ids, left_out)))


def _no_border(ids: np.ndarray) -> int:
    rim = np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]])
    return int(np.count_nonzero(np.setdiff1d(ids, rim)))


def _top_and_left(ids: np.ndarray) -> int:
    return int(np.count_nonzero(np.setdiff1d(ids, np.union1d(ids[0], ids[:, 0]))))


def _bottom_only(ids: np.ndarray) -> int:
    return int(np.count_nonzero(np.setdiff1d(ids, ids[-1])))


def _right_only(ids: np.ndarray) -> int:
    return int(np.count_nonzero(np.setdiff1d(ids, ids[:, -1])))


def _both_only(ids: np.ndarray) -> int:
    return int(np.count_nonzero(np.setdiff1d(ids, np.intersect1d(ids[-1], ids[:, -1]))))


_FRAME = np.array(
    [
        [1, 1, 0, 2, 2, 0, 3],
        [1, 0, 0, 2, 0, 0, 3],
        [0, 0, 5, 5, 0, 0, 0],
        [4, 0, 5, 5, 0, 6, 6],
        [4, 0, 0, 0, 0, 0, 0],
        [0, 8, 8, 0, 11, 0, 9],
        [7, 0, 8, 0, 11, 9, 9],
    ]
)

# -- 6.3: of one true kind, how many are called that?


def _recall(table: np.ndarray, kind: int) -> float:
    return float(table[kind, kind] / table[kind].sum())


def _precision(table: np.ndarray, kind: int) -> float:
    return float(table[kind, kind] / table[:, kind].sum())


def _right_of_all(table: np.ndarray, kind: int) -> float:
    return float(np.trace(table) / table.sum())


def _share_of_all(table: np.ndarray, kind: int) -> float:
    return float(table[kind, kind] / table.sum())


def _others(table: np.ndarray, kind: int) -> float:
    return 1 - _recall(table, kind)


_TABLE = np.array([[40, 2, 8], [1, 90, 19], [3, 12, 65]])

EXERCISES = (
    Exercise(
        "6.1",
        _count,
        cases=((_TOUCHING,), (np.array([[0, 3], [3, 0]]),), (np.zeros((3, 3), int),), (_TOUCHING[:2, 1:5],)),
        mistakes=(
            Mistake(
                _blobs,
                "That counts connected areas of the mask, so nuclei that touch are one. The numbers in `ids` "
                "know better: how many different ones are there?",
            ),
            Mistake(_with_void, "That is one too many wherever there is background: 0 is no nucleus."),
            Mistake(
                _always_one_less,
                "You take away one for the background, also where there is none: a field may be full of nuclei.",
            ),
            Mistake(
                _largest,
                "That is the largest number, not how many there are: numbers may have gaps, as after a filter.",
            ),
            Mistake(_pixels, "That counts pixels of nuclei, so a large nucleus counts more than a small one."),
        ),
        hints=(
            "Which different numbers occur in `ids`? NumPy has a function that lists each once.",
            "`np.unique(ids)` lists each number once, 0 among them. Count those that are not 0.",
        ),
    ),
    Exercise(
        "6.2",
        _dice,
        cases=((_TOUCHING, _MOVED), (_TOUCHING, _MERGED), (_MERGED, np.eye(4, 6, dtype=int))),
        mistakes=(
            Mistake(
                _iou,
                "That is the intersection over union. Dice divides twice the shared pixels by the sum of both areas.",
            ),
            Mistake(_without_two, "That is half of it: two equal masks must give 1, and yours gives 0.5."),
            Mistake(
                _same_ids,
                "You compare the numbers of the nuclei. Dice of the foreground only asks whether a pixel is "
                "nucleus at all: make both maps true/false first.",
            ),
            Mistake(
                _accuracy,
                "That is the share of pixels on which both agree, background included. An image that is "
                "mostly background then scores high whatever you do: count nuclear pixels only.",
            ),
        ),
        hints=(
            "`ids > 0` is the foreground. Which pixels are foreground in both maps?",
            "Twice the number of shared pixels, divided by the pixels of the first plus the pixels of the second.",
        ),
    ),
    Exercise(
        "6.3",
        _recall,
        cases=((_TABLE, 0), (_TABLE, 1), (_TABLE, 2)),
        mistakes=(
            Mistake(
                _precision,
                "You divide by the column: of all that the network calls so, how many are labelled so. "
                "Asked is the row: of all that are labelled so, how many does the network call so.",
            ),
            Mistake(
                _right_of_all,
                "That is the share of right calls over all kinds. A frequent kind hides a rare one "
                "there: look at one row.",
            ),
            Mistake(
                _share_of_all, "You divide by all nuclei. Divide by those that are labelled so: the sum of one row."
            ),
            Mistake(_others, "That is the share that was called something else: 1 minus what is asked."),
        ),
        hints=(
            "Rows are the labels. `table[kind]` is the row of one kind.",
            "The number on the diagonal, `table[kind, kind]`, divided by the sum of its row.",
        ),
    ),
    Exercise(
        "6.4",
        _density,
        cases=((480, _TISSUE, 0.5), (75, _TISSUE[:200], 0.25)),
        mistakes=(
            Mistake(
                _by_box,
                "You divide by the whole picture, glass included. A hole in the tissue then makes it look "
                "poorer in cells: divide by the pixels that are tissue.",
            ),
            Mistake(_not_squared, "An area needs both sides of the pixel: a pixel of 0.5 µm covers 0.5 x 0.5 µm²."),
            Mistake(_thousand, "1 mm is 1000 µm, so 1 mm² is 1000 x 1000 µm²."),
            Mistake(_per_um2, "That is per µm². Pathologists count per mm²: how many µm² are that?"),
            Mistake(_per_pixels, "That is per million pixels. How large is a pixel? Use pixel_size_um."),
        ),
        hints=(
            "First the tissue's area in pixels, then in µm², then in mm².",
            "`tissue.sum() * pixel_size_um**2` is the area in µm²; a mm² has a million of them.",
        ),
    ),
    Exercise(
        "6.5",
        _once,
        cases=((_FRAME,), (np.array([[1, 1], [1, 1]]),), (_FRAME[:, ::-1],)),
        mistakes=(
            Mistake(
                _count,
                "You count every nucleus that the tile shows. One that the border divides is shown by two "
                "tiles and is counted twice.",
            ),
            Mistake(
                _no_border,
                "You leave out nuclei at all four borders. A nucleus on the line between two tiles is then "
                "counted by neither.",
            ),
            Mistake(
                _top_and_left,
                "You leave out the top and the left. That works too, but the rule here keeps those and "
                "leaves out the bottom row and the right column.",
            ),
            Mistake(_bottom_only, "Nuclei in the bottom row are left out. The right column is missing."),
            Mistake(_right_only, "Nuclei in the right column are left out. The bottom row is missing."),
            Mistake(_both_only, "You leave out only nuclei that touch both borders. Touching one of them is enough."),
        ),
        hints=(
            "`ids[-1]` is the bottom row, `ids[:, -1]` the right column. Which numbers occur there?",
            "`np.setdiff1d(ids, forbidden)` lists the numbers that are not forbidden; 0 may be among them.",
        ),
    ),
)
