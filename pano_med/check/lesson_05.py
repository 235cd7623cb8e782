"""The exercises of lesson 05: learning rates over steps, when to stop, which rate, partial labels, an interval."""

import math
from collections.abc import Sequence

import numpy as np

from pano_med.check.exercise import Exercise, Mistake

Curve = Sequence[float]
Names = set[str]


def _lr_at(step: int, total: int, peak: float, warmup: int) -> float:
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (total - 1 - warmup))) / 2


def _starts_at_zero(step: int, total: int, peak: float, warmup: int) -> float:
    return peak * step / warmup if step < warmup else _lr_at(step, total, peak, warmup)


def _no_warmup(step: int, total: int, peak: float, warmup: int) -> float:
    return _lr_at(step, total, peak, 0)


def _straight_down(step: int, total: int, peak: float, warmup: int) -> float:
    return _lr_at(step, total, peak, warmup) if step < warmup else peak * (total - 1 - step) / (total - 1 - warmup)


def _never_zero(step: int, total: int, peak: float, warmup: int) -> float:
    return _lr_at(step, total + 1, peak, warmup)


def _cosine_from_zero(step: int, total: int, peak: float, warmup: int) -> float:
    if step < warmup:
        return _lr_at(step, total, peak, warmup)
    return peak * (1 + math.cos(math.pi * step / (total - 1))) / 2


def _not_halved(step: int, total: int, peak: float, warmup: int) -> float:
    value = _lr_at(step, total, peak, warmup)
    return value if step < warmup else 2 * value


def _stop_at(steps: Sequence[int], validation: Curve, patience: int) -> int:
    best, at, bad = math.inf, 0, 0
    for step, value in zip(steps, validation, strict=True):
        if value < best:
            best, at, bad = value, step, 0
        else:
            bad += 1
        if bad == patience:
            break
    return at


def _prophet(steps: Sequence[int], validation: Curve, patience: int) -> int:
    return steps[int(np.argmin(validation))]


def _where_it_stopped(steps: Sequence[int], validation: Curve, patience: int) -> int:
    best, bad = math.inf, 0
    for step, value in zip(steps, validation, strict=True):
        best, bad = (value, 0) if value < best else (best, bad + 1)
        if bad == patience:
            return step
    return steps[-1]


def _first_rise(steps: Sequence[int], validation: Curve, patience: int) -> int:
    return _stop_at(steps, validation, 1)


def _place_not_step(steps: Sequence[int], validation: Curve, patience: int) -> int:
    return list(steps).index(_stop_at(steps, validation, patience))


def _never_forgives(steps: Sequence[int], validation: Curve, patience: int) -> int:
    best, at, bad = math.inf, 0, 0
    for step, value in zip(steps, validation, strict=True):
        if value < best:
            best, at = value, step
        else:
            bad += 1
        if bad == patience:
            break
    return at


def _best(curves: dict[float, Curve]) -> float:
    def end(losses: Curve) -> float:
        last = np.asarray(losses[-5:], float)
        return float(last.mean()) if np.isfinite(last).all() else math.inf

    return min(curves, key=lambda lr: end(curves[lr]))


def _lowest_single(curves: dict[float, Curve]) -> float:
    return min(curves, key=lambda lr: float(np.nanmin(curves[lr])))


def _last_only(curves: dict[float, Curve]) -> float:
    return min(curves, key=lambda lr: curves[lr][-1] if math.isfinite(curves[lr][-1]) else math.inf)


def _nan_wins(curves: dict[float, Curve]) -> float:
    rates = list(curves)
    return rates[int(np.argmin([np.mean(curves[lr][-5:]) for lr in rates]))]


def _steepest(curves: dict[float, Curve]) -> float:
    return max(curves, key=lambda lr: curves[lr][0] - curves[lr][1])


def _whole_mean(curves: dict[float, Curve]) -> float:
    return min(curves, key=lambda lr: x if math.isfinite(x := float(np.mean(curves[lr]))) else math.inf)


def _loss_not_rate(curves: dict[float, Curve]) -> float:
    return float(np.mean(curves[_best(curves)][-5:]))


def _allowed(drawn: str | None, stuff: Names, things: Names, known: Names) -> Names:
    if drawn is None:
        return (stuff | things) - known
    return {drawn} if drawn in things else {drawn} | (things - known)


def _exactly(drawn: str | None, stuff: Names, things: Names, known: Names) -> Names:
    return (stuff | things) - known if drawn is None else {drawn}


def _no_idea(drawn: str | None, stuff: Names, things: Names, known: Names) -> Names:
    return stuff | things if drawn is None else _allowed(drawn, stuff, things, known)


def _void_is_stuff(drawn: str | None, stuff: Names, things: Names, known: Names) -> Names:
    return set(stuff) if drawn is None else _allowed(drawn, stuff, things, known)


def _any_unknown(drawn: str | None, stuff: Names, things: Names, known: Names) -> Names:
    rest = (stuff | things) - known
    return rest if drawn is None else {drawn} | rest


def _known_instead(drawn: str | None, stuff: Names, things: Names, known: Names) -> Names:
    return known & (stuff | things) if drawn is None else _allowed(drawn, stuff, things, known)


def _all_things(drawn: str | None, stuff: Names, things: Names, known: Names) -> Names:
    return {drawn} | things if drawn in stuff else _allowed(drawn, stuff, things, known)


def _parts(arm: Curve, base: Curve, ddof: int = 1) -> tuple[float, float]:
    a, b = np.asarray(arm, float), np.asarray(base, float)
    return float(a.mean() - b.mean()), float(a.var(ddof=ddof) / len(a) + b.var(ddof=ddof) / len(b))


def _interval(arm: Curve, base: Curve, t: float) -> tuple[float, float]:
    difference, square = _parts(arm, base)
    return difference - t * math.sqrt(square), difference + t * math.sqrt(square)


def _spread(arm: Curve, base: Curve, t: float) -> tuple[float, float]:
    difference, wide = _parts(arm, base)[0], t * math.sqrt(float(np.var(arm, ddof=1) + np.var(base, ddof=1)))
    return difference - wide, difference + wide


def _divided_by_n(arm: Curve, base: Curve, t: float) -> tuple[float, float]:
    difference, square = _parts(arm, base, 0)
    return difference - t * math.sqrt(square), difference + t * math.sqrt(square)


def _errors_added(arm: Curve, base: Curve, t: float) -> tuple[float, float]:
    difference = _parts(arm, base)[0]
    wide = t * sum(float(np.std(v, ddof=1)) / math.sqrt(len(v)) for v in (arm, base))
    return difference - wide, difference + wide


def _turned(arm: Curve, base: Curve, t: float) -> tuple[float, float]:
    return _interval(base, arm, t)


def _of_the_arm(arm: Curve, base: Curve, t: float) -> tuple[float, float]:
    difference, wide = _parts(arm, base)[0], t * float(np.std(arm, ddof=1)) / math.sqrt(len(arm))
    return difference - wide, difference + wide


def _no_t(arm: Curve, base: Curve, t: float) -> tuple[float, float]:
    return _interval(arm, base, 1.0)


_STUFF, _THINGS = {"tumour", "stroma"}, {"nucleus", "mitosis"}
_SLOW = [5.0, 4.9, 4.9, 4.8, 4.8, 4.7, 4.7, 4.6]
_GOOD = [5.0, 3.5, 2.6, 1.9, 1.4, 1.2, 1.0, 1.05]
_WILD = [5.0, 2.0, 0.7, 9.0, 4.0, 7.0, 3.0, 0.9]
_GONE = [5.0, 1.5, 1.0, 0.9, 0.8, 0.9, math.nan, math.nan]
_LUCKY = [5.0, 4.0, 3.0, 2.5, 2.4, 2.2, 2.3, 0.6]
_FAST_START = [5.0, 1.2, 1.2, 1.5, 1.6, 1.6, 1.7, 1.6]
_FULL, _ARM = [0.41, 0.44, 0.40, 0.43], [0.36, 0.40, 0.33]

EXERCISES = (
    Exercise(
        "5.1",
        _lr_at,
        cases=(*((step, 40, 1e-3, 10) for step in (0, 4, 9, 10, 25, 39)), (30, 101, 0.5, 1), (3, 20, 2.0, 8)),
        tolerance=1e-9,
        mistakes=(
            Mistake(_starts_at_zero, "Your first step, step 0, has rate 0: it costs time and moves nothing. The "
                    "warm-up reaches the peak with its last step, so its first one has peak / warmup."),
            Mistake(_no_warmup, "The warm-up is missing: while `step < warmup` the rate climbs along a line."),
            Mistake(_straight_down, "After the warm-up you go down along a line. Half a cosine stays high for longer "
                    "and lands softly."),
            Mistake(_never_zero, "Your last step, step total - 1, does not come down to 0: count how many steps lie "
                    "between the first one after the warm-up and the last."),
            Mistake(_cosine_from_zero, "Your cosine counts from step 0, so the rate jumps where the warm-up ends. It "
                    "begins at step `warmup`."),
            Mistake(_not_halved, "1 + cos runs from 2 down to 0; the rate would begin at twice the peak."),
        ),
        hints=(
            "Two cases: in the warm-up and after it. In the first, step 0 is the first of `warmup` equal parts.",
            "After it: `way` runs from 0 at step `warmup` to 1 at step `total - 1`, and the rate is "
            "`peak * (1 + math.cos(math.pi * way)) / 2`.",
        ),
    ),
    Exercise(
        "5.2",
        _stop_at,
        cases=(
            ([10, 20, 30, 40, 50, 60], [3.0, 2.5, 2.7, 2.4, 2.6, 2.9], 2),
            ([5, 10, 15, 20, 25, 30], [2.0, 1.5, 1.6, 1.7, 1.8, 1.2], 3),
            ([5, 10, 15, 20, 25, 30, 35], [3.0, 2.0, 2.1, 1.9, 2.0, 1.5, 1.6], 2),
            ([1, 2, 3], [3.0, 2.0, 1.0], 2),
        ),
        mistakes=(
            Mistake(_prophet, "That is the best of the whole curve. While you train you do not know what comes: after "
                    "`patience` validations without a new best the run is over."),
            Mistake(_where_it_stopped, "That is the step at which the run ends. Asked is the step whose weights are "
                    "kept: the best one until then."),
            Mistake(_first_rise, "You give up at the first rise. Validation is noisy: wait for `patience` bad ones in "
                    "a row."),
            Mistake(_place_not_step, "That is the place in the list. Return the step that stands there."),
            Mistake(_never_forgives, "You count all bad validations. Each new best begins the count anew."),
        ),
        hints=(
            "Walk along the curve and remember three things: the best value, its step, how many bad ones since.",
            "A new best sets the count to 0, anything else adds 1; at `patience` leave the loop. Return the step.",
        ),
    ),
    Exercise(
        "5.3",
        _best,
        cases=(
            ({1e-5: _SLOW, 1e-3: _GOOD, 1e-1: _WILD},),
            ({1e-2: _GONE, 1e-3: _GOOD},),
            ({3e-4: _LUCKY, 1e-3: _GOOD, 1e-2: _FAST_START},),
            ({1.0: _GONE, 1e-5: _SLOW},),
        ),
        mistakes=(
            Mistake(_lowest_single, "You take the lowest single loss. Each step sees other images, so one low value "
                    "says little: take the mean of the last five."),
            Mistake(_last_only, "You look at the very last step only, and that is one batch, perhaps an easy one: take "
                    "the mean of the last five."),
            Mistake(_nan_wins, "A run whose loss became nan has won. nan is no number: treat it as infinitely bad."),
            Mistake(_steepest, "You take the fastest first step. What counts is where the curve arrives."),
            Mistake(_whole_mean, "You average the whole curve, its beginning included, where all are alike. Take the "
                    "last five."),
            Mistake(_loss_not_rate, "That is the loss. Return the learning rate that led to it."),
        ),
        hints=(
            "Give each rate one number: the mean of its last five losses. Which rate has the smallest?",
            "`np.isfinite(...).all()` says whether all are numbers; if not, its number is `math.inf`.",
        ),
    ),
    Exercise(
        "5.4",
        _allowed,
        cases=(
            (None, _STUFF, _THINGS, _THINGS),
            ("nucleus", _STUFF, _THINGS, _THINGS),
            ("tumour", _STUFF, _THINGS, _STUFF),
            (None, _STUFF, _THINGS, _STUFF),
            (None, _STUFF, _THINGS, set()),
            ("stroma", _STUFF, _THINGS, _STUFF | {"nucleus"}),
            ("stroma", _STUFF, _THINGS, {"stroma"} | _THINGS),
        ),
        mistakes=(
            Mistake(_exactly, "A tumour that somebody outlined holds nuclei that nobody drew: where things are not "
                    "known, such a pixel may be one of them too."),
            Mistake(_no_idea, "A pixel without a label is not unknown altogether: what was drawn everywhere, and is "
                    "not drawn here, is not here."),
            Mistake(_void_is_stuff, "Void is not stuff. What is not known may be there, things too; what is known "
                    "would have been drawn."),
            Mistake(_any_unknown, "A pixel of drawn tissue is not some other tissue. Only a thing may lie on top."),
            Mistake(_known_instead, "It is the other way round: what is known and not drawn is exactly what is not "
                    "there."),
            Mistake(_all_things, "Things that were drawn everywhere would have been drawn here too: only those not in "
                    "`known` may hide in tissue."),
        ),
        hints=(
            "Three cases: nobody drew anything here; a thing was drawn; tissue was drawn.",
            "Nothing drawn: everything that is not in `known`. Tissue: itself, or a thing that is not in `known`.",
        ),
    ),
    Exercise(
        "5.5",
        _interval,
        cases=((_ARM, _FULL, 2.78), (_FULL, _ARM, 2.0), ([0.2, 0.4], [0.1, 0.1, 0.4], 3.2)),
        mistakes=(
            Mistake(_spread, "That is the spread of single runs. Means of n runs vary less: divide each variance by "
                    "its own number of runs."),
            Mistake(_divided_by_n, "You divide the squares by n. The mean was computed from the same runs, so it is "
                    "n - 1 (`ddof=1`)."),
            Mistake(_errors_added, "You add the standard errors. Independent errors add as squares."),
            Mistake(_turned, "The sign is turned: asked is the arm minus the base."),
            Mistake(_of_the_arm, "The base is a mean of a few runs too, with an error of its own."),
            Mistake(_no_t, "That is one standard error to each side, about two intervals of three. Multiply by t."),
        ),
        hints=(
            "The standard error of the difference is the root of a sum: one part from the arm, one from the base.",
            "`np.var(arm, ddof=1) / len(arm)` is the arm's part; difference of means minus and plus t times the root.",
        ),
    ),
)  # fmt: skip
