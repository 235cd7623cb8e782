"""The exercises of lesson 01: a semantic map, IoU, matching and PQ."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from pano_med.check.exercise import Exercise, Mistake

_Classes = dict[int, int]
_Pairs = dict[tuple[int, int], float]


# -- 1.1: from segments to classes


def _semantic_map(ids: np.ndarray, class_of: _Classes) -> np.ndarray:
    classes = np.zeros_like(ids)
    for number, category in class_of.items():
        classes[ids == number] = category
    return classes


def _in_place(ids: np.ndarray, class_of: _Classes) -> np.ndarray:
    classes = ids.copy()
    for number, category in class_of.items():
        classes[classes == number] = category
    return classes


def _first_only(ids: np.ndarray, class_of: _Classes) -> np.ndarray:
    number, category = next(iter(class_of.items()))
    return np.where(ids == number, category, 0)


def _last_only(ids: np.ndarray, class_of: _Classes) -> np.ndarray:
    number, category = list(class_of.items())[-1]
    return np.where(ids == number, category, 0)


def _void_filled(ids: np.ndarray, class_of: _Classes) -> np.ndarray:
    classes = np.ones_like(ids)
    for number, category in class_of.items():
        classes[ids == number] = category
    return classes


_MAP = np.array([[0, 1, 1, 2, 2], [0, 1, 3, 3, 2], [4, 4, 3, 3, 2]])


# -- 1.2: IoU


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def _of_the_sum(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a.sum() + b.sum()))


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def _of_the_first(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / a.sum())


def _of_the_second(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / b.sum())


def _of_the_picture(a: np.ndarray, b: np.ndarray) -> float:
    return float((a == b).mean())


def _mask(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


_A, _B = _mask("####..", "####..", "......"), _mask(".####.", ".####.", "......")
_C, _D = _mask("###...", "###...", "###..."), _mask("###...", "###...", "......")
_E = _mask("......", "......", "....##")


# -- 1.3: matching


def _paired(rule: Callable[[bool, float], bool], component: bool = False) -> Callable[..., _Pairs]:
    def matches(truth: np.ndarray, prediction: np.ndarray, class_t: _Classes, class_p: _Classes) -> _Pairs:
        found = {}
        for t in class_t:
            for p in class_p:
                mask = truth == t
                if component:
                    mask = ndimage.label(mask)[0] == 1
                value = _iou(mask, prediction == p)
                if rule(class_t[t] == class_p[p], value):
                    found[t, p] = value
        return found

    return matches


def _matches(truth: np.ndarray, prediction: np.ndarray, class_t: _Classes, class_p: _Classes) -> _Pairs:
    return _paired(lambda same, value: same and value > 0.5)(truth, prediction, class_t, class_p)


#: Stuff 1 lies in two parts; nucleus 4 is found by 7, which says another class; 5 and 6 share 8 half and half.
_T = np.array([[1, 1, 4, 4, 2, 1, 1], [1, 1, 4, 4, 2, 5, 5], [1, 1, 1, 1, 2, 6, 6]])
_P = np.array([[1, 1, 7, 7, 2, 1, 1], [1, 1, 7, 7, 2, 8, 8], [1, 1, 1, 1, 2, 8, 8]])
_TRUE, _SAID = {1: 1, 2: 2, 4: 3, 5: 3, 6: 3}, {1: 1, 2: 2, 7: 4, 8: 3}
_T2 = np.array([[1, 1, 1, 1, 1], [1, 3, 3, 3, 1], [1, 3, 3, 3, 1], [4, 4, 1, 1, 1]])
_P2 = np.array([[1, 1, 1, 1, 1], [1, 5, 5, 1, 1], [1, 5, 5, 1, 6], [1, 6, 6, 6, 6]])


# -- 1.4: SQ, RQ, PQ


def _scores(whole: Callable[[int, int, int], float], mean: Callable[[int, int, int], float]) -> Callable[..., tuple]:
    def quality(ious: list[float], fp: int, fn: int) -> tuple[float, float, float]:
        tp = len(ious)
        if tp == 0:
            return 0.0, 0.0, 0.0
        sq, rq = sum(ious) / mean(tp, fp, fn), tp / whole(tp, fp, fn)
        return sq, rq, sq * rq

    return quality


def _quality(ious: list[float], fp: int, fn: int) -> tuple[float, float, float]:
    return _scores(lambda tp, fp, fn: tp + fp / 2 + fn / 2, lambda tp, fp, fn: tp)(ious, fp, fn)


def _percent(ious: list[float], fp: int, fn: int) -> tuple[float, ...]:
    return tuple(100 * x for x in _quality(ious, fp, fn))


def _pq_first(ious: list[float], fp: int, fn: int) -> tuple[float, float, float]:
    sq, rq, pq = _quality(ious, fp, fn)
    return pq, sq, rq


EXERCISES = (
    Exercise(
        "1.1",
        _semantic_map,
        cases=((_MAP, {1: 2, 2: 1, 3: 3, 4: 3}), (_MAP, {1: 5, 2: 5, 3: 4, 4: 3}), (_MAP[:, :1], {4: 1})),
        mistakes=(
            Mistake(
                _in_place,
                "You changed numbers in the very map you look them up in: a segment that became class 2 is taken for "
                "segment 2 later. Write into a new array and compare with the old one.",
            ),
            Mistake(_first_only, "Only the first segment got its class: does `return` stand inside the loop?"),
            Mistake(_last_only, "Only the last segment kept its class: the new array must be made before the loop."),
            Mistake(_void_filled, "Void got a class. Where no segment is (id 0), the semantic map is 0 too."),
        ),
        hints=(
            "Begin with a map of zeros, which is void everywhere: `np.zeros_like(ids)`. Then go through `class_of`.",
            "`for number, category in class_of.items():` and in it `classes[ids == number] = category`.",
        ),
    ),
    Exercise(
        "1.2",
        _iou,
        cases=((_A, _B), (_C, _D), (_D, _C), (_A, _A), (_A, _E)),
        mistakes=(
            Mistake(
                _of_the_sum,
                "You divided by the sum of both areas: shared pixels count twice in it. The union counts them once; "
                "a mask with itself must give 1.",
            ),
            Mistake(
                _dice,
                "That is the Dice coefficient, a cousin of IoU: it counts the shared pixels twice, above and "
                "below. PQ uses IoU.",
            ),
            Mistake(
                _of_the_first,
                "You divided by the area of the first mask. A prediction of the whole picture "
                "would then be perfect: divide by the union.",
            ),
            Mistake(
                _of_the_second,
                "You divided by the area of the second mask. A prediction of one right pixel "
                "would then be perfect: divide by the union.",
            ),
            Mistake(
                _of_the_picture,
                "You counted the pixels on which the masks agree. Most of those are empty in both, "
                "and they say nothing about the object.",
            ),
        ),
        hints=(
            "Masks are arrays of True and False: `a & b` is True in both, `a | b` in at least one; `.sum()` counts.",
            "Pixels in both, divided by pixels in at least one: `(a & b).sum() / (a | b).sum()`.",
        ),
    ),
    Exercise(
        "1.3",
        _matches,
        cases=((_T, _P, _TRUE, _SAID), (_T2, _P2, {1: 1, 3: 3, 4: 3}, {1: 1, 5: 3, 6: 3})),
        mistakes=(
            Mistake(
                _paired(lambda same, value: same and value >= 0.5),
                "One predicted segment has two matches: it covers two true nuclei with IoU 0.5 each. The rule is "
                "IoU > 0.5, strictly; then no segment can match twice.",
            ),
            Mistake(
                _paired(lambda same, value: value > 0.5),
                "You matched segments of different classes. A nucleus with the right outline and the wrong class is no "
                "match.",
            ),
            Mistake(
                _paired(lambda same, value: same and value > 0),
                "You took every pair that overlaps. Touching is not enough: the IoU must be above 0.5.",
            ),
            Mistake(
                _paired(lambda same, value: same and value > 0.5, component=True),
                "You judged one part of a segment. Stuff in two parts is still one segment: all pixels with its id.",
            ),
        ),
        hints=(
            "Try every true segment with every predicted one: two loops. `truth == t` is the mask of segment t.",
            "Inside the loops: `value = iou(truth == t, prediction == p)`; if `class_t[t] == class_p[p]` and "
            "`value > 0.5`, then `found[t, p] = value`.",
        ),
    ),
    Exercise(
        "1.4",
        _quality,
        cases=(([0.6, 2 / 3], 1, 1), ([0.8] * 10, 2, 3), ([1.0, 1.0], 0, 0), ([0.9], 3, 0), ([], 2, 1)),
        mistakes=(
            Mistake(
                _scores(lambda tp, fp, fn: tp + fp + fn, lambda tp, fp, fn: tp),
                "FP and FN count half each. A prediction slightly beside its nucleus makes one of both: together they "
                "weigh as much as one object.",
            ),
            Mistake(
                _scores(lambda tp, fp, fn: tp + fp / 2 + fn / 2, lambda tp, fp, fn: tp + fn),
                "SQ is the mean IoU of the matches only. You divided by all true segments, so a missed nucleus is "
                "punished in SQ and again in RQ.",
            ),
            Mistake(
                _scores(lambda tp, fp, fn: tp + fp, lambda tp, fp, fn: tp),
                "Your RQ is the precision: it forgives every missed nucleus. FN belong below the line too, half each.",
            ),
            Mistake(
                _scores(lambda tp, fp, fn: tp + fn, lambda tp, fp, fn: tp),
                "Your RQ is the recall: it forgives every invented nucleus. FP belong below the line too, half each.",
            ),
            Mistake(_percent, "These are percent. Here all three lie between 0 and 1."),
            Mistake(_pq_first, "The three values are right and stand in another order: SQ, RQ, PQ is asked for."),
        ),
        hints=(
            "TP is the number of matches, `len(ious)`. SQ looks at matches only; RQ does not look at IoU at all.",
            "SQ = sum(ious) / TP, RQ = TP / (TP + FP / 2 + FN / 2), PQ = SQ · RQ. Without a match all three are 0: "
            "say so before you divide.",
        ),
    ),
)
