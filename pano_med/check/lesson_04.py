"""The exercises of lesson 04: who competes, FL, who wins a pixel, and the rest of the canvas."""

from __future__ import annotations

import numpy as np
from scipy.special import expit as sigmoid

from pano_med.check.exercise import Exercise, Mistake

# -- 4.1: the share of a mask that is taken


def _taken_share(mask: np.ndarray, occupied: np.ndarray) -> float:
    return float((mask & occupied).sum() / mask.sum())


def _iou(mask: np.ndarray, occupied: np.ndarray) -> float:
    return float((mask & occupied).sum() / (mask | occupied).sum())


def _share_of_occupied(mask: np.ndarray, occupied: np.ndarray) -> float:
    return float((mask & occupied).sum() / occupied.sum())


def _pixels(mask: np.ndarray, occupied: np.ndarray) -> int:
    return int((mask & occupied).sum())


def _free_share(mask: np.ndarray, occupied: np.ndarray) -> float:
    return float((mask & ~occupied).sum() / mask.sum())


def _box(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((6, 6), bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


_LARGE, _SMALL, _CORNER = _box((0, 4), (0, 4)), _box((2, 5), (3, 5)), _box((4, 6), (4, 6))

# -- 4.2: who competes


def _survivors(
    masks: np.ndarray,
    scores: np.ndarray,
    limit: float,
    order: str = "best first",
    by: str = "share",
    dropped_count: bool = False,
    reading: str = "paper",
) -> list[int]:
    """The rule, and every way of getting it wrong."""
    occupied, kept = np.zeros(masks[0].shape, bool), []
    places = {
        "best first": np.argsort(-scores, kind="stable"),
        "worst first": np.argsort(scores, kind="stable"),
        "as they come": np.arange(len(scores)),
    }[order]
    for i in places.tolist():
        value = _taken_share(masks[i], occupied) if by == "share" else _iou(masks[i], occupied)
        keep = value <= limit if reading == "paper" else value > limit
        if keep:
            kept.append(i)
        if keep or dropped_count:
            occupied |= masks[i]
    return kept


def _chain() -> tuple[np.ndarray, np.ndarray, float]:
    """B lies on A and is dropped; C lies on B only, so it is kept unless dropped masks count."""
    masks = np.stack([_box((0, 2), (3, 6)), _box((0, 2), (0, 4)), _box((0, 2), (1, 5))])
    return masks, np.array([0.6, 0.9, 0.8]), 0.5


def _inside() -> tuple[np.ndarray, np.ndarray, float]:
    """A small mask inside a large one: its share is 1, its IoU small."""
    return np.stack([_box((1, 3), (1, 3)), _box((0, 6), (0, 6))]), np.array([0.7, 0.8]), 0.5


# -- 4.3: FL


def _fused(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((sigmoid(a) + sigmoid(b)) * (a + b))


_A = np.array([[3.0, 3.0, -1.0], [2.0, 0.5, -10.0], [0.0, -2.0, 4.0]])
_B = np.array([[3.0, -3.0, -2.0], [0.0, 0.5, -10.0], [0.0, 5.0, -1.0]])

# -- 4.4: who wins


def _winners(stuff: np.ndarray, things: np.ndarray) -> np.ndarray:
    return np.concatenate([stuff, things]).argmax(0)


def _things_first(stuff: np.ndarray, things: np.ndarray) -> np.ndarray:
    return np.concatenate([things, stuff]).argmax(0)


def _things_only(stuff: np.ndarray, things: np.ndarray) -> np.ndarray:
    return things.argmax(0) + len(stuff)


def _first_positive(stuff: np.ndarray, things: np.ndarray) -> np.ndarray:
    return np.where((things > 0).any(0), (things > 0).argmax(0) + len(stuff), stuff.argmax(0))


def _largest_value(stuff: np.ndarray, things: np.ndarray) -> np.ndarray:
    return np.concatenate([stuff, things]).max(0)


_STUFF = np.array([[[1.0, 1.0, -1.0], [0.5, 2.0, -2.0]], [[-1.0, 3.0, 0.0], [1.5, -1.0, -0.5]]])
_THINGS = np.array([[[4.0, 0.5, -1.0], [2.0, 1.0, -1.5]], [[6.0, 2.0, 0.2], [1.0, 5.0, -0.002]]])

# -- 4.5: the rest of the canvas


def _canvas(winner: np.ndarray, semantic: np.ndarray, num_stuff: int, min_area: int) -> np.ndarray:
    canvas = np.where(winner >= num_stuff, winner, semantic[:num_stuff].argmax(0))
    for c in range(num_stuff):
        if (canvas == c).sum() < min_area:
            canvas[canvas == c] = -1
    return canvas


def _every_channel(winner: np.ndarray, semantic: np.ndarray, num_stuff: int, min_area: int) -> np.ndarray:
    canvas = np.where(winner >= num_stuff, winner, semantic.argmax(0))
    for c in range(num_stuff):
        if (canvas == c).sum() < min_area:
            canvas[canvas == c] = -1
    return canvas


def _area_before(winner: np.ndarray, semantic: np.ndarray, num_stuff: int, min_area: int) -> np.ndarray:
    stuff = semantic[:num_stuff].argmax(0)
    canvas = np.where(winner >= num_stuff, winner, stuff)
    for c in range(num_stuff):
        if (stuff == c).sum() < min_area:
            canvas[canvas == c] = -1
    return canvas


def _small_things_too(winner: np.ndarray, semantic: np.ndarray, num_stuff: int, min_area: int) -> np.ndarray:
    canvas = np.where(winner >= num_stuff, winner, semantic[:num_stuff].argmax(0))
    for c in np.unique(canvas):
        if (canvas == c).sum() < min_area:
            canvas[canvas == c] = -1
    return canvas


def _limit_too(winner: np.ndarray, semantic: np.ndarray, num_stuff: int, min_area: int) -> np.ndarray:
    return _canvas(winner, semantic, num_stuff, min_area + 1)


def _no_limit(winner: np.ndarray, semantic: np.ndarray, num_stuff: int, min_area: int) -> np.ndarray:
    return _canvas(winner, semantic, num_stuff, 0)


def _stuff_over_things(winner: np.ndarray, semantic: np.ndarray, num_stuff: int, min_area: int) -> np.ndarray:
    return _canvas(np.zeros_like(winner), semantic, num_stuff, min_area)


_WINNER = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [3, 2, 0, 0], [0, 0, 0, 1]])
_SEMANTIC = np.array(
    [
        [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]],
        [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]],
        [[0, 0, 0, 3], [0, 2, 2, 0], [2, 2, 0, 0], [0, 0, 2, 0]],
    ],
    float,
)

EXERCISES = (
    Exercise(
        "4.1",
        _taken_share,
        cases=((_SMALL, _LARGE), (_LARGE, _SMALL), (_CORNER, _SMALL), (_CORNER, _LARGE)),
        mistakes=(
            Mistake(
                _iou,
                "That is the IoU, which also divides by pixels outside the mask. A small mask inside a large one would "
                "have a tiny IoU and still be covered completely. Divide by the mask's own area.",
            ),
            Mistake(
                _share_of_occupied,
                "You divided by the occupied pixels. The question is how much of the *new* mask is gone.",
            ),
            Mistake(_pixels, "These are pixels. A share has no unit: divide by the number of pixels of the mask."),
            Mistake(_free_share, "That is the share that is still free. The rule speaks of the share that is taken."),
        ),
        hints=(
            "Which pixels are in the mask and occupied at once? `mask & occupied` says so.",
            "`.sum()` counts the True pixels of a boolean array; divide one count by `mask.sum()`.",
        ),
    ),
    Exercise(
        "4.2",
        _survivors,
        cases=(_chain(), _inside(), (*_chain()[:2], 0.0), (*_inside()[:2], 1.0)),
        mistakes=(
            Mistake(
                lambda masks, scores, limit: _survivors(masks, scores, limit, order="as they come"),
                "You took the masks in the order in which they came. The best score chooses first: sort by score.",
            ),
            Mistake(
                lambda masks, scores, limit: _survivors(masks, scores, limit, order="worst first"),
                "`np.argsort(scores)` puts the lowest score first. Sort the negative scores.",
            ),
            Mistake(
                lambda masks, scores, limit: _survivors(masks, scores, limit, by="iou"),
                "You compared the IoU with the limit. A fragment inside a large nucleus would pass: use its own share.",
            ),
            Mistake(
                lambda masks, scores, limit: _survivors(masks, scores, limit, dropped_count=True),
                "A mask that was dropped takes no room: only kept masks make pixels occupied.",
            ),
            Mistake(
                lambda masks, scores, limit: _survivors(masks, scores, limit, reading="guide"),
                "You kept what lies *above* the limit, as the popular guide says. Look at what is left, and turn it.",
            ),
        ),
        hints=(
            "Start with nothing occupied. Go through `np.argsort(-scores)`; keep a mask if at most `limit` is taken.",
            "After keeping mask i: `kept.append(int(i))` and `occupied |= masks[i]`. A dropped mask changes nothing.",
        ),
    ),
    Exercise(
        "4.3",
        _fused,
        cases=((_A, _B), (np.float64(2.0), np.float64(2.0)), (_B[0], _A[0])),
        mistakes=(
            Mistake(lambda a, b: a + b, "That is the sum of the logits alone. The summed sigmoids are missing."),
            Mistake(
                lambda a, b: (sigmoid(a) * sigmoid(b)) * (a + b),
                "You multiplied the sigmoids with each other. The formula adds them.",
            ),
            Mistake(
                lambda a, b: sigmoid(a + b) * (a + b),
                "You took the sigmoid of the sum. Each head's logit goes through a sigmoid of its own.",
            ),
            Mistake(
                lambda a, b: (sigmoid(a) + sigmoid(b)) * (a * b),
                "The second bracket is a sum, not a product: two logits of -10 would give +100.",
            ),
            Mistake(
                lambda a, b: (sigmoid(a) + sigmoid(b)) @ (a + b) if np.ndim(a) else _fused(a, b),
                "`@` is the matrix product, which mixes pixels. The Hadamard product `*` keeps every pixel to itself.",
            ),
        ),
        hints=(
            "Two brackets: the sum of the two sigmoids, and the sum of the two logits.",
            "`sigmoid` is imported; multiply the brackets with `*`.",
        ),
    ),
    Exercise(
        "4.4",
        _winners,
        cases=((_STUFF, _THINGS), (_STUFF, _THINGS[:1]), (_STUFF[:1], _THINGS - 3)),
        mistakes=(
            Mistake(_things_first, "The instances stand before the stuff channels: number 0 must be stuff channel 0."),
            Mistake(_things_only, "Stuff never wins in your map: stack the stuff logits and the FL before the argmax."),
            Mistake(
                _first_positive,
                "You gave each pixel to the first instance whose FL is positive. The largest value wins, of stuff too.",
            ),
            Mistake(_largest_value, "That is the largest value. Asked is *whose* it is: `argmax` instead of `max`."),
        ),
        hints=(
            "Stack stuff logits and FL along the first axis, stuff first, then ask each pixel which layer is largest.",
            "`np.concatenate([stuff, things])`, then `.argmax(0)`.",
        ),
    ),
    Exercise(
        "4.5",
        _canvas,
        cases=tuple((_WINNER, _SEMANTIC, 2, least) for least in (0, 5, 4, 9)),
        mistakes=(
            Mistake(
                _every_channel,
                "Your fill takes the argmax over all channels. Channel 2 is a thing *class*; number 2 on the canvas is "
                "the first *instance*. Use the stuff channels only: `semantic[:num_stuff]`.",
            ),
            Mistake(
                _area_before,
                "You measured the stuff before the things took their pixels. Count what is left on the canvas.",
            ),
            Mistake(_small_things_too, "Small things were removed too. The least area is for stuff only."),
            Mistake(_limit_too, "Stuff with exactly `min_area` pixels stays: compare with `<`, not with `<=`."),
            Mistake(_no_limit, "Small stuff is still there: a class with fewer than `min_area` pixels becomes -1."),
            Mistake(_stuff_over_things, "The things are gone. They come first; stuff fills the pixels they left."),
        ),
        hints=(
            "`np.where(winner >= num_stuff, winner, ...)` keeps the things; what does the semantic head say elsewhere?",
            "Elsewhere stands `semantic[:num_stuff].argmax(0)`. Then, for each stuff number c, count `canvas == c`.",
        ),
    ),
)
