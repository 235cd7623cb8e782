"""The exercises of lesson 03: small parts of EfficientPS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pano_med.check.exercise import Exercise, Mistake

# ---- 3.1 ------------------------------------------------------------------------------------------------------------


def _weights(inputs: int, outputs: int, kernel: int) -> tuple[int, int]:
    return kernel * kernel * inputs * outputs, kernel * kernel * inputs + inputs * outputs


def _with_bias(inputs: int, outputs: int, kernel: int) -> tuple[int, int]:
    plain, separable = _weights(inputs, outputs, kernel)
    return plain + outputs, separable + inputs + outputs


def _with_one_bias(inputs: int, outputs: int, kernel: int) -> tuple[int, int]:
    plain, separable = _weights(inputs, outputs, kernel)
    return plain + outputs, separable + outputs


def _depthwise_on_outputs(inputs: int, outputs: int, kernel: int) -> tuple[int, int]:
    return _weights(inputs, outputs, kernel)[0], kernel * kernel * outputs + inputs * outputs


def _depthwise_only(inputs: int, outputs: int, kernel: int) -> tuple[int, int]:
    return _weights(inputs, outputs, kernel)[0], kernel * kernel * inputs


def _one_side(inputs: int, outputs: int, kernel: int) -> tuple[int, int]:
    return kernel * inputs * outputs, kernel * inputs + inputs * outputs


# ---- 3.2 ------------------------------------------------------------------------------------------------------------


def _separable(x: Tensor, depthwise: Tensor, pointwise: Tensor, dilation: tuple[int, int]) -> Tensor:
    filtered = F.conv2d(x, depthwise, padding=dilation, dilation=dilation, groups=x.shape[1])
    return F.conv2d(filtered, pointwise)


def _padding_one(x: Tensor, depthwise: Tensor, pointwise: Tensor, dilation: tuple[int, int]) -> Tensor:
    return F.conv2d(F.conv2d(x, depthwise, padding=1, dilation=dilation, groups=x.shape[1]), pointwise)


def _no_padding(x: Tensor, depthwise: Tensor, pointwise: Tensor, dilation: tuple[int, int]) -> Tensor:
    return F.conv2d(F.conv2d(x, depthwise, dilation=dilation, groups=x.shape[1]), pointwise)


def _no_dilation(x: Tensor, depthwise: Tensor, pointwise: Tensor, dilation: tuple[int, int]) -> Tensor:
    return _separable(x, depthwise, pointwise, (1, 1))


def _turned(x: Tensor, depthwise: Tensor, pointwise: Tensor, dilation: tuple[int, int]) -> Tensor:
    return _separable(x, depthwise, pointwise, (dilation[1], dilation[0]))


def _not_mixed(x: Tensor, depthwise: Tensor, pointwise: Tensor, dilation: tuple[int, int]) -> Tensor:
    return F.conv2d(x, depthwise, padding=dilation, dilation=dilation, groups=x.shape[1])


def _separable_case(outputs: int, dilation: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
    draw = torch.Generator().manual_seed(outputs)
    shapes = ((1, 3, 9, 10), (3, 1, 3, 3), (outputs, 3, 1, 1))
    x, depthwise, pointwise = (torch.randn(shape, generator=draw) for shape in shapes)
    return x, depthwise, pointwise, dilation


# ---- 3.3 ------------------------------------------------------------------------------------------------------------


def _like(x: Tensor, reference: Tensor, mode: str = "nearest") -> Tensor:
    options = {} if mode == "nearest" else {"align_corners": False}
    return F.interpolate(x, size=reference.shape[-2:], mode=mode, **options)


def _two_way(down: Sequence[Tensor], up: Sequence[Tensor], mode: str = "nearest",
             falling: Sequence[int] = (2, 1, 0), rising: Sequence[int] = (1, 2, 3)) -> list[Tensor]:
    down, up = list(down), list(up)
    for i in falling:
        down[i] = down[i] + _like(down[i + 1], down[i], mode)
    for i in rising:
        up[i] = up[i] + _like(up[i - 1], up[i], mode)
    return [d + u for d, u in zip(down, up, strict=True)]


def _bilinear_pyramid(down: Sequence[Tensor], up: Sequence[Tensor]) -> list[Tensor]:
    return _two_way(down, up, "bilinear")


def _no_way_up(down: Sequence[Tensor], up: Sequence[Tensor]) -> list[Tensor]:
    return _two_way(down, up, rising=())


def _one_step(down: Sequence[Tensor], up: Sequence[Tensor]) -> list[Tensor]:
    return _two_way(down, up, falling=(0, 1, 2), rising=(3, 2, 1))


def _falling_backwards(down: Sequence[Tensor], up: Sequence[Tensor]) -> list[Tensor]:
    return _two_way(down, up, falling=(0, 1, 2))


def _one_list(down: Sequence[Tensor], up: Sequence[Tensor]) -> list[Tensor]:
    joined = [d + u for d, u in zip(down, up, strict=True)]
    nothing = [torch.zeros_like(u) for u in up]
    return _two_way(_two_way(joined, nothing, rising=()), nothing, falling=(), rising=())


def _up_reads_down(down: Sequence[Tensor], up: Sequence[Tensor]) -> list[Tensor]:
    done, up = _two_way(down, [torch.zeros_like(u) for u in up]), list(up)
    for i in (1, 2, 3):
        up[i] = up[i] + _like(done[i - 1], up[i])
    return [d + u for d, u in zip(done, up, strict=True)]


def _pyramid_case(seed: int, side: int) -> tuple[list[Tensor], list[Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    return tuple([torch.randn(1, 2, side >> i, side >> i, generator=draw) for i in range(4)] for _ in range(2))


# ---- 3.4 ------------------------------------------------------------------------------------------------------------


def _span(dilations: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return 1 + 2 * sum(d[0] for d in dilations), 1 + 2 * sum(d[1] for d in dilations)


def _one_sided(dilations: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return 1 + sum(d[0] for d in dilations), 1 + sum(d[1] for d in dilations)


def _swapped(dilations: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return _span([(d[1], d[0]) for d in dilations])


def _middle_twice(dilations: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(2 * d[0] + 1 for d in dilations), sum(2 * d[1] + 1 for d in dilations)


def _no_middle(dilations: Sequence[tuple[int, int]]) -> tuple[int, int]:
    rows, columns = _span(dilations)
    return rows - 1, columns - 1


def _last_only(dilations: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return _span(dilations[-1:])


# ---- 3.5 ------------------------------------------------------------------------------------------------------------


def _read(grid: np.ndarray, y: float, x: float, half: float = 0.5, flip: bool = False) -> float:
    h, w = grid.shape
    y, x = min(max(y - half, 0), h - 1), min(max(x - half, 0), w - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    down, across = y - top, x - left
    if flip:
        down, across = 1 - down, 1 - across
    above = (1 - across) * grid[top, left] + across * grid[top, right]
    below = (1 - across) * grid[bottom, left] + across * grid[bottom, right]
    return float((1 - down) * above + down * below)


def _bilinear(grid: np.ndarray, y: float, x: float) -> float:
    return _read(grid, y, x)


def _no_half(grid: np.ndarray, y: float, x: float) -> float:
    return _read(grid, y, x, half=0.0)


def _wrong_half(grid: np.ndarray, y: float, x: float) -> float:
    return _read(grid, y, x, half=-0.5)


def _nearest(grid: np.ndarray, y: float, x: float) -> float:
    h, w = grid.shape
    return float(grid[min(max(int(y), 0), h - 1), min(max(int(x), 0), w - 1)])


def _x_first(grid: np.ndarray, y: float, x: float) -> float:
    return _read(grid, x, y)


def _shares_swapped(grid: np.ndarray, y: float, x: float) -> float:
    return _read(grid, y, x, flip=True)


def _one_direction(grid: np.ndarray, y: float, x: float) -> float:
    return _read(grid, int(y) + 0.5, x)


_GRID = np.array([[0.0, 1.0, 4.0, 2.0], [3.0, 9.0, -2.0, 5.0], [8.0, 6.0, 7.0, 1.0]])

# ---- 3.6 ------------------------------------------------------------------------------------------------------------


def _hard(loss: np.ndarray, share: float = 0.25) -> float:
    keep = max(1, int(share * loss.size))
    return float(np.sort(loss.ravel())[-keep:].mean())


def _easy(loss: np.ndarray, share: float = 0.25) -> float:
    return float(np.sort(loss.ravel())[: max(1, int(share * loss.size))].mean())


def _all(loss: np.ndarray, share: float = 0.25) -> float:
    return float(loss.mean())


def _over_all(loss: np.ndarray, share: float = 0.25) -> float:
    keep = max(1, int(share * loss.size))
    return float(np.sort(loss.ravel())[-keep:].sum() / loss.size)


def _by_rows(loss: np.ndarray, share: float = 0.25) -> float:
    keep = max(1, int(share * loss.shape[1]))
    return float(np.sort(loss, axis=1)[:, -keep:].mean())


def _by_height(loss: np.ndarray, share: float = 0.25) -> float:
    return float(loss[loss >= (1 - share) * loss.max()].mean())


_LOSS = np.random.default_rng(6).gamma(0.6, 1.0, (8, 10)).round(3)

EXERCISES = (
    Exercise(
        "3.1", _weights, cases=((3, 32, 3), (64, 128, 3), (128, 128, 5)),
        mistakes=(
            Mistake(_with_bias, "You counted biases. Neither half has one here: the batch norm behind would undo it."),
            Mistake(_with_one_bias, "You counted a bias of each output. There is none: the batch norm behind would "
                    "undo it."),
            Mistake(_depthwise_on_outputs, "The depthwise half comes first. On which channels does it work, those "
                    "that come in or those that go out?"),
            Mistake(_depthwise_only, "That is the depthwise half alone. What does mixing the channels cost?"),
            Mistake(_one_side, "A kernel has rows and columns: kernel × kernel taps, not kernel."),
        ),
        hints=("Plain: how many taps has a filter, and how many filters are there, one for each pair of channels?",
               "Separable: kernel * kernel taps for each input channel, plus one number for each pair of channels."),
    ),
    Exercise(
        "3.2", _separable, cases=(_separable_case(4, (1, 1)), _separable_case(5, (2, 3))),
        mistakes=(
            Mistake(_padding_one, "The map shrinks where the dilation is above 1. A tap that stands d cells away "
                    "needs d cells of padding, not 1."),
            Mistake(_no_padding, "The map shrinks: without padding the taps of the outermost cells have nothing to "
                    "stand on. How far do they reach?"),
            Mistake(_no_dilation, "The taps stand next to each other: the dilation is not used."),
            Mistake(_turned, "Rows and columns of the dilation are exchanged. Rows come first."),
            Mistake(_not_mixed, "That is the depthwise half alone: each channel was filtered, none was mixed."),
        ),
        hints=("Two calls of F.conv2d: first depthwise with groups=x.shape[1], then pointwise.",
               "Give the first call padding=dilation and dilation=dilation; the second needs neither."),
        tolerance=1e-4,
    ),
    Exercise(
        "3.3", _two_way, cases=(_pyramid_case(0, 16), _pyramid_case(1, 8)),
        mistakes=(
            Mistake(_bilinear_pyramid, "The sums are those of bilinear resizing. The authors' code, and this exercise, "
                    "take the nearest neighbour."),
            Mistake(_no_way_up, "The path up does nothing yet: each level must also hear the finer one."),
            Mistake(_one_step, "Signals move one level only. A loop must start where nothing has been added yet, so "
                    "that each step passes on the whole sum: down starts at the coarse end, up at the fine end."),
            Mistake(_falling_backwards, "The path down moves one level only. Start at the coarse end, so that each "
                    "step hands on the sum so far."),
            Mistake(_one_list, "Both lists went down one path. The two paths are independent: add them at the end."),
            Mistake(_up_reads_down, "The path up starts from the results of the path down. They are independent: use "
                    "two lists."),
        ),
        hints=("Down: for i in (2, 1, 0), level i gets level i + 1 resized to it. Up is the mirror image.",
               'F.interpolate(down[i + 1], size=down[i].shape[-2:], mode="nearest"), added to down[i]; at the end '
               "d + u for each level."),
        tolerance=1e-5,
    ),
    Exercise(
        "3.4", _span, cases=(([(1, 1)],), ([(1, 6), (6, 21)],), ([(1, 6), (18, 15), (6, 3)],)),
        mistakes=(
            Mistake(_one_sided, "A tap stands on each side of the middle: each convolution adds its dilation twice."),
            Mistake(_swapped, "Rows and columns are exchanged. Rows come first, in the dilations and in the answer."),
            Mistake(_middle_twice, "Each convolution counts its middle again. All of a chain share one middle cell."),
            Mistake(_no_middle, "One short: the middle cell itself counts too."),
            Mistake(_last_only, "That is the reach of the last convolution alone; those before it have widened the "
                    "field already."),
        ),
        hints=("One 3 x 3 convolution with dilation d spans from -d to d: how many cells is that?",
               "Start with 1 cell; each convolution adds 2 * d in its direction."),
    ),
    Exercise(
        "3.5", _bilinear,
        cases=((_GRID, 1.5, 2.5), (_GRID, 1.25, 1.75), (_GRID, 2.1, 1.4), (_GRID, 1.9, 2.2), (_GRID, 0.1, 3.9)),
        mistakes=(
            Mistake(_no_half, "Off by half a cell: the value of cell (0, 0) belongs to the point (0.5, 0.5), not to "
                    "(0, 0)."),
            Mistake(_wrong_half, "Off by one cell: the half must be taken away from y and x, not added."),
            Mistake(_nearest, "That is the nearest cell's value, as rounding gives it. Four cells share a point."),
            Mistake(_x_first, "x and y are exchanged: y chooses the row, grid[row, column]."),
            Mistake(_shares_swapped, "The shares are exchanged: the nearer cell gets the larger one."),
            Mistake(_one_direction, "Between columns you interpolate, between rows not yet."),
        ),
        hints=("Take 0.5 away from y and x, clip them to 0..h - 1 and 0..w - 1; the whole part names the upper left "
               "cell, the rest is the share of its neighbours.",
               "above = (1 - fx) * grid[t, l] + fx * grid[t, r], below likewise with row t + 1 (at most h - 1); the "
               "answer is (1 - fy) * above + fy * below."),
    ),
    Exercise(
        "3.6", _hard, cases=((_LOSS, 0.25), (_LOSS, 0.1), (_LOSS[:2, :3], 0.05)),
        mistakes=(
            Mistake(_all, "That is the mean of all pixels."),
            Mistake(_easy, "That is the mean of the easiest pixels: np.sort puts the smallest first."),
            Mistake(_over_all, "You divide by all pixels. The mean is over those that were kept."),
            Mistake(_by_rows, "You sort each row by itself. The hardest pixels of the whole map are wanted."),
            Mistake(_by_height, "You keep pixels by the height of their loss. Keep a share of their number."),
        ),
        hints=("Flatten, sort, take the last ones.",
               "np.sort(loss.ravel())[-keep:].mean() with keep = max(1, int(share * loss.size))."),
    ),
)  # fmt: skip
