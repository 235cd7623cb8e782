"""The exercises of lesson 02: small parts of the FCN, of Mask R-CNN and of the heuristic merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pano_med.check.exercise import Exercise, Mistake

Box = Sequence[float]

# ---- 2.1 ------------------------------------------------------------------------------------------------------------


def _enlarged(coarse: Tensor, fine: Tensor, mode: str = "bilinear", corners: bool = False) -> Tensor:
    options = {"align_corners": corners} if mode == "bilinear" else {}
    return F.interpolate(coarse, size=fine.shape[-2:], mode=mode, **options)


def _add_skip(coarse: Tensor, fine: Tensor) -> Tensor:
    return fine + _enlarged(coarse, fine)


def _nearest(coarse: Tensor, fine: Tensor) -> Tensor:
    return fine + _enlarged(coarse, fine, "nearest")


def _corners(coarse: Tensor, fine: Tensor) -> Tensor:
    return fine + _enlarged(coarse, fine, corners=True)


def _shrunk(coarse: Tensor, fine: Tensor) -> Tensor:
    return coarse + _enlarged(fine, coarse)


def _added_before(coarse: Tensor, fine: Tensor) -> Tensor:
    return _enlarged(coarse + _enlarged(fine, coarse), fine)


def _joined(coarse: Tensor, fine: Tensor) -> Tensor:
    return torch.cat([fine, _enlarged(coarse, fine)], dim=1)


def _mean(coarse: Tensor, fine: Tensor) -> Tensor:
    return _add_skip(coarse, fine) / 2


def _only_enlarged(coarse: Tensor, fine: Tensor) -> Tensor:
    return _enlarged(coarse, fine)


def _scores(seed: int, coarse: tuple[int, int], fine: tuple[int, int]) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(1, 3, *size, generator=draw) for size in (coarse, fine))


# ---- 2.2 ------------------------------------------------------------------------------------------------------------


def _band(truth: np.ndarray, said: np.ndarray, distance: np.ndarray, width: float) -> float:
    return float((truth == said)[distance <= width].mean())


def _band_open(truth: np.ndarray, said: np.ndarray, distance: np.ndarray, width: float) -> float:
    return float((truth == said)[distance < width].mean())


def _of_all(truth: np.ndarray, said: np.ndarray, distance: np.ndarray, width: float) -> float:
    return float(((truth == said) & (distance <= width)).mean())


def _whole(truth: np.ndarray, said: np.ndarray, distance: np.ndarray, width: float) -> float:
    return float((truth == said).mean())


def _outside(truth: np.ndarray, said: np.ndarray, distance: np.ndarray, width: float) -> float:
    return float((truth == said)[distance > width].mean())


def _errors(truth: np.ndarray, said: np.ndarray, distance: np.ndarray, width: float) -> float:
    return 1 - _band(truth, said, distance, width)


def _band_case(seed: int, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, (6, 7))
    said = np.where(draw.random((6, 7)) < 0.4, (truth + 1) % 3, truth)
    return truth, said, draw.integers(0, 5, (6, 7)).astype(float), width


# ---- 2.3 ------------------------------------------------------------------------------------------------------------


def _move(box: Box, offsets: Box, stretch: Callable[[float], float] = np.exp, scaled: bool = True,
          corner: bool = False) -> tuple[float, ...]:
    x1, y1, x2, y2 = box
    dx, dy, dw, dh = offsets
    width, height = x2 - x1, y2 - y1
    step = (width, height) if scaled else (1.0, 1.0)
    x, y = ((x1, y1) if corner else ((x1 + x2) / 2, (y1 + y2) / 2))
    x, y = x + dx * step[0], y + dy * step[1]
    width, height = float(width * stretch(dw)), float(height * stretch(dh))
    return (x, y, x + width, y + height) if corner else (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _offsets(box: Box, offsets: Box) -> tuple[float, ...]:
    return _move(box, offsets)


def _no_exp(box: Box, offsets: Box) -> tuple[float, ...]:
    return _move(box, offsets, lambda v: v)


def _one_plus(box: Box, offsets: Box) -> tuple[float, ...]:
    return _move(box, offsets, lambda v: 1 + v)


def _in_pixels(box: Box, offsets: Box) -> tuple[float, ...]:
    return _move(box, offsets, scaled=False)


def _from_corner(box: Box, offsets: Box) -> tuple[float, ...]:
    return _move(box, offsets, corner=True)


def _full_size(box: Box, offsets: Box) -> tuple[float, ...]:
    x1, y1, x2, y2 = _move(box, offsets)
    x, y, width, height = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    return x - width, y - height, x + width, y + height


def _middle_and_size(box: Box, offsets: Box) -> tuple[float, ...]:
    x1, y1, x2, y2 = _move(box, offsets)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


# ---- 2.4 ------------------------------------------------------------------------------------------------------------


def _iou(a: Box, b: Box) -> float:
    wide = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return wide * high / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high)


def _ranked(scores: Sequence[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: -scores[i])


def _greedy(boxes: Sequence[Box], cut: float, order: Sequence[int], at_cut: bool = False) -> list[int]:
    kept: list[int] = []
    for i in order:
        found = [_iou(boxes[i], boxes[j]) for j in kept]
        if all(v < cut if at_cut else v <= cut for v in found):
            kept.append(i)
    return kept


def _suppress(boxes: Sequence[Box], scores: Sequence[float], cut: float) -> list[int]:
    return _greedy(boxes, cut, _ranked(scores))


def _drop_at_cut(boxes: Sequence[Box], scores: Sequence[float], cut: float) -> list[int]:
    return _greedy(boxes, cut, _ranked(scores), at_cut=True)


def _unsorted(boxes: Sequence[Box], scores: Sequence[float], cut: float) -> list[int]:
    return _greedy(boxes, cut, range(len(boxes)))


def _worst_first(boxes: Sequence[Box], scores: Sequence[float], cut: float) -> list[int]:
    return _greedy(boxes, cut, _ranked(scores)[::-1])


def _dropped_still_drop(boxes: Sequence[Box], scores: Sequence[float], cut: float) -> list[int]:
    order = _ranked(scores)
    return [i for n, i in enumerate(order) if all(_iou(boxes[i], boxes[j]) <= cut for j in order[:n])]


def _by_index(boxes: Sequence[Box], scores: Sequence[float], cut: float) -> list[int]:
    return sorted(_suppress(boxes, scores, cut))


# A row of boxes: each overlaps its neighbours; the third is hit by the second, which the first has dropped already.
_ROW = [(2, 0, 12, 10), (0, 0, 10, 10), (5, 0, 15, 10), (20, 0, 30, 10), (25, 0, 35, 10), (40, 0, 50, 5)]
_SURE = [0.8, 0.9, 0.7, 0.6, 0.95, 0.3]
_HALVES = [(0, 0, 10, 10), (0, 0, 10, 5), (0, 5, 10, 10)]  # IoU exactly 0.5 with the first

# ---- 2.5 ------------------------------------------------------------------------------------------------------------


def _merged(masks: np.ndarray, scores: Sequence[float], score_cut: float, overlap_cut: float, *, at: bool = True,
            order: Sequence[int] | None = None, over: bool = False, how: str = "own", strict: bool = True
            ) -> np.ndarray:
    owner = np.zeros(masks.shape[1:], int)
    for i in np.argsort(-np.asarray(scores), kind="stable") if order is None else order:
        if scores[i] < score_cut or (not at and scores[i] == score_cut):
            continue
        taken = (masks[i] & (owner > 0)).sum()
        size = masks[i].sum() if how == "own" else (masks[i] | (owner > 0)).sum()
        share = taken / size
        if share > overlap_cut or (not strict and share == overlap_cut):
            continue
        owner[masks[i] if over else masks[i] & (owner == 0)] = i + 1
    return owner


def _merge(masks: np.ndarray, scores: Sequence[float], score_cut: float, overlap_cut: float) -> np.ndarray:
    return _merged(masks, scores, score_cut, overlap_cut)


def _above_only(masks: np.ndarray, scores: Sequence[float], score_cut: float, overlap_cut: float) -> np.ndarray:
    return _merged(masks, scores, score_cut, overlap_cut, at=False)


def _writes_over(masks: np.ndarray, scores: Sequence[float], score_cut: float, overlap_cut: float) -> np.ndarray:
    return _merged(masks, scores, score_cut, overlap_cut, over=True)


def _given_order(masks: np.ndarray, scores: Sequence[float], score_cut: float, overlap_cut: float) -> np.ndarray:
    return _merged(masks, scores, score_cut, overlap_cut, order=range(len(scores)))


def _by_iou(masks: np.ndarray, scores: Sequence[float], score_cut: float, overlap_cut: float) -> np.ndarray:
    return _merged(masks, scores, score_cut, overlap_cut, how="union")


def _half_is_much(masks: np.ndarray, scores: Sequence[float], score_cut: float, overlap_cut: float) -> np.ndarray:
    return _merged(masks, scores, score_cut, overlap_cut, strict=False)


def _from_zero(masks: np.ndarray, scores: Sequence[float], score_cut: float, overlap_cut: float) -> np.ndarray:
    owner = _merge(masks, scores, score_cut, overlap_cut)
    return np.maximum(owner - 1, 0)


def _strips(*spans: tuple[int, int]) -> np.ndarray:
    """Masks of two rows and twelve columns, each from a first to a last (excluded) column."""
    masks = np.zeros((len(spans), 2, 12), bool)
    for mask, (start, stop) in zip(masks, spans, strict=True):
        mask[:, start:stop] = True
    return masks


_MERGES = (
    (_strips((0, 5), (3, 8), (8, 12)), [0.9, 0.8, 0.7], 0.5, 0.5),
    (_strips((3, 8), (0, 5), (8, 12)), [0.6, 0.9, 0.5], 0.5, 0.5),  # the last lies exactly at the cut
    (_strips((0, 6), (4, 8), (1, 6)), [0.9, 0.8, 0.7], 0.5, 0.5),  # half of the second is taken: kept
    (_strips((0, 10), (5, 12)), [0.9, 0.8], 0.5, 0.5),  # 5 of 7 columns are taken, though 5 of 12 of the union
)

EXERCISES = (
    Exercise(
        "2.1", _add_skip, cases=(_scores(0, (3, 4), (6, 8)), _scores(1, (2, 2), (5, 7))),
        mistakes=(
            Mistake(_nearest, "The coarse scores were enlarged by nearest neighbour. Bilinear is asked for: the first "
                    "gives steps of whole cells."),
            Mistake(_corners, "align_corners=True puts the corners' middles on each other and stretches the map. Here "
                    "cells cover squares: align_corners=False."),
            Mistake(_shrunk, "The fine scores were shrunk. What a skip brings is detail: enlarge the coarse ones."),
            Mistake(_added_before, "You added before you enlarged; then the detail of the fine scores is gone. Enlarge "
                    "first, then add."),
            Mistake(_joined, "The two were joined as channels. A skip of an FCN adds scores of the same class."),
            Mistake(_mean, "That is the mean. The FCN adds."),
            Mistake(_only_enlarged, "The fine scores are missing: enlarge, then add them."),
        ),
        hints=("F.interpolate enlarges; its `size` is that of the fine scores.",
               'fine + F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)'),
        tolerance=1e-5,
    ),
    Exercise(
        "2.2", _band, cases=(_band_case(0, 1.0), _band_case(1, 2.0)),
        mistakes=(
            Mistake(_band_open, "Pixels exactly `width` away belong to the band: <=, not <."),
            Mistake(_of_all, "You divide by all pixels. Divide by those in the band."),
            Mistake(_whole, "That is the accuracy of the whole image; `distance` is not used yet."),
            Mistake(_outside, "That is the accuracy outside the band."),
            Mistake(_errors, "That is the share of wrong pixels."),
        ),
        hints=("distance <= width is a map of True and False. An array may be indexed with it.",
               "(truth == said)[distance <= width].mean()"),
    ),
    Exercise(
        "2.3", _offsets,
        cases=(((10.0, 20.0, 30.0, 60.0), (0.0, 0.0, 0.5, -0.3)), ((0.0, 0.0, 8.0, 4.0), (0.25, -0.5, 0.1, 0.7))),
        mistakes=(
            Mistake(_no_exp, "dw and dh are logarithms: 0 means that the size stays. What undoes a logarithm?"),
            Mistake(_one_plus, "1 + dw is close to the right factor only where dw is small. dw is its logarithm."),
            Mistake(_in_pixels, "dx and dy count widths and heights of the box, not pixels."),
            Mistake(_from_corner, "You moved and stretched from the corner. The offsets speak of the middle."),
            Mistake(_full_size, "The box is twice as wide and high: half of the size lies on each side of the middle."),
            Mistake(_middle_and_size, "Those are middle and size. The four edges are asked for."),
        ),
        hints=("Work with middle, width and height; turn them into edges at the end.",
               "x = (x1 + x2) / 2 + dx * width, width * np.exp(dw), then x - width / 2 and x + width / 2."),
    ),
    Exercise(
        "2.4", _suppress, cases=((_ROW, _SURE, 0.4), (_ROW, _SURE, 0.2), (_HALVES, [0.7, 0.9, 0.8], 0.5)),
        mistakes=(
            Mistake(_drop_at_cut, "A box whose IoU equals the cut stays: it must be *above* the cut to be dropped."),
            Mistake(_unsorted, "You take the boxes as they come. Begin with the surest."),
            Mistake(_worst_first, "You begin with the least sure box."),
            Mistake(_dropped_still_drop, "A box that was dropped drops others. Compare with the boxes kept only."),
            Mistake(_by_index, "The right boxes, but in the order of their numbers. The surest comes first."),
        ),
        hints=("sorted(range(len(boxes)), key=lambda i: -scores[i]) is the order in which to look at them.",
               "Keep a list `kept`; append i if all(box_iou(boxes[i], boxes[j]) <= cut for j in kept)."),
    ),
    Exercise(
        "2.5", _merge, cases=_MERGES,
        mistakes=(
            Mistake(_above_only, "A score exactly at the cut stays: only those below it are left out."),
            Mistake(_writes_over, "Later masks write over earlier ones. Only free pixels may be written."),
            Mistake(_given_order, "You take the masks as they come. The surest goes first."),
            Mistake(_by_iou, "You divide by the union. The share of the mask's own pixels that is taken counts."),
            Mistake(_half_is_much, "Exactly half is not more than half: such a mask stays."),
            Mistake(_from_zero, "Index 0 cannot be told from free pixels: write index + 1."),
        ),
        hints=("Go through np.argsort(-scores); taken = mask & (owner > 0).",
               "Skip if scores[i] < score_cut or taken.sum() > overlap_cut * masks[i].sum(); else "
               "owner[masks[i] & (owner == 0)] = i + 1."),
    ),
)  # fmt: skip
