"""The exercises of lesson 00: an area in micrometres, and a count of things."""

import numpy as np

from pano_med.check.exercise import Exercise, Mistake

#: 1 is stuff in two parts, 2 and 3 are nuclei, 0 is void; the ids are not without gaps: 7 is a nucleus too.
_IDS = np.array([[0, 1, 1, 1, 1, 1], [0, 2, 2, 1, 3, 1], [0, 2, 2, 1, 3, 1], [1, 1, 1, 1, 1, 7]])
_NO_VOID = np.array([[1, 1, 4, 4], [1, 9, 9, 4], [1, 9, 9, 4]])


def _area_um2(ids: np.ndarray, number: int, mpp: float) -> float:
    return float((ids == number).sum() * mpp**2)


def _pixels(ids: np.ndarray, number: int, mpp: float) -> float:
    return float((ids == number).sum())


def _not_squared(ids: np.ndarray, number: int, mpp: float) -> float:
    return float((ids == number).sum() * mpp)


def _divided(ids: np.ndarray, number: int, mpp: float) -> float:
    return float((ids == number).sum() / mpp**2)


def _sum_of_ids(ids: np.ndarray, number: int, mpp: float) -> float:
    return float(ids[ids == number].sum() * mpp**2)


def _count_things(ids: np.ndarray, isthing: dict[int, bool]) -> int:
    return sum(isthing[i] for i in np.unique(ids).tolist() if i != 0)


def _all_segments(ids: np.ndarray, isthing: dict[int, bool]) -> int:
    return len(set(np.unique(ids).tolist()) - {0})


def _with_void(ids: np.ndarray, isthing: dict[int, bool]) -> int:
    return len(np.unique(ids))


def _largest(ids: np.ndarray, isthing: dict[int, bool]) -> int:
    return int(ids.max())


def _of_the_list(ids: np.ndarray, isthing: dict[int, bool]) -> int:
    return sum(isthing.values())


def _pixels_of_things(ids: np.ndarray, isthing: dict[int, bool]) -> int:
    return int(np.isin(ids, [i for i, thing in isthing.items() if thing]).sum())


EXERCISES = (
    Exercise(
        "0.1",
        _area_um2,
        cases=((_IDS, 2, 0.5), (_IDS, 3, 0.25), (_IDS, 1, 2.0), (_IDS, 99, 0.5)),
        mistakes=(
            Mistake(_pixels, "That is the area in pixels. How many square micrometres does one pixel cover?"),
            Mistake(
                _not_squared,
                "You multiplied by the side of a pixel once. A pixel is a square: a side of 0.5 µm makes 0.25 µm².",
            ),
            Mistake(_divided, "You divided by the area of a pixel. More pixels make more area: multiply."),
            Mistake(
                _sum_of_ids,
                "You summed the ids. `(ids == number)` is True where the segment is; count True, not ids.",
            ),
        ),
        hints=(
            "Count the pixels of the segment first: `(ids == number)` is True at each of them, and True counts as 1.",
            "pixels × (side of a pixel)². In NumPy: `(ids == number).sum()`, times `mpp ** 2`.",
        ),
    ),
    Exercise(
        "0.2",
        _count_things,
        cases=(
            (_IDS, {1: False, 2: True, 3: True, 7: True}),
            (_NO_VOID, {1: False, 4: False, 9: True, 12: True}),
            (np.zeros((2, 2), int), {1: False}),
        ),
        mistakes=(
            Mistake(_all_segments, "You counted the stuff too. Tissue is not counted: ask `isthing` about each id."),
            Mistake(
                _with_void, "You counted every number in the map, void (0) and stuff too. Which of them are things?"
            ),
            Mistake(_largest, "The largest id is a name, not a count: ids may have gaps, and stuff has ids too."),
            Mistake(
                _of_the_list,
                "You counted things in the table `isthing`. Only those that have a pixel in this map are here; "
                "somebody may have cut it out of a larger one.",
            ),
            Mistake(_pixels_of_things, "You counted pixels of things. How many different things do they belong to?"),
        ),
        hints=(
            "`np.unique(ids)` gives each number in the map once. Leave out 0 (void) and the stuff.",
            "Go through `np.unique(ids)`; add 1 for each id that is not 0 and for which `isthing[id]` is True.",
        ),
    ),
)
