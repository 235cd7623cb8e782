"""Run a learner's function on copies of an exercise's cases, and keep what came of each."""

import copy
import inspect
import linecache
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pano_med.check.compare import difference


@dataclass(frozen=True)
class Outcome:
    """What one call gave: a value, or the exception that stopped it; and which arguments it changed, by number."""

    value: Any = None
    error: BaseException | None = None
    changed: frozenset[int] = frozenset()


def run(function: Callable[..., Any], case: tuple[Any, ...]) -> Outcome:
    """Call a function on a copy of one case. Warnings are kept quiet: the outcome tells enough."""
    used = _copied(case)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = function(*used)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        return Outcome(error=error)
    return Outcome(value=value, changed=_changed(case, used))


def _copied(case: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copies of the arguments, one by one: the same array given twice becomes two."""
    return tuple(copy.deepcopy(argument) for argument in case)


def _changed(case: tuple[Any, ...], used: tuple[Any, ...]) -> frozenset[int]:
    """The arguments that a call has changed, as far as they can be compared: a copy must equal its original."""
    fresh = _copied(case)
    triples = enumerate(zip(case, used, fresh, strict=True))
    return frozenset(i for i, (a, b, c) in triples if difference(a, c, 0) is None and difference(a, b, 0) is not None)


def run_all(function: Callable[..., Any], cases: tuple[tuple[Any, ...], ...]) -> list[Outcome]:
    """The outcome of each case; an interrupt from the keyboard is the last one."""
    outcomes: list[Outcome] = []
    for case in cases:
        outcomes.append(run(function, case))
        if isinstance(outcomes[-1].error, KeyboardInterrupt):
            break
    return outcomes


def same(a: Outcome, b: Outcome, tolerance: float) -> bool:
    """Whether two calls came to the same: equal values, or the same kind of exception."""
    if a.error is not None or b.error is not None:
        return type(a.error) is type(b.error)
    return difference(a.value, b.value, tolerance) is None


def misfit(function: Callable[..., Any], case: tuple[Any, ...]) -> str | None:
    """A sentence if the function cannot be called with so many arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C do not tell
        return None
    try:
        signature.bind(*case)
    except TypeError:
        name = getattr(function, "__name__", "your function")
        return (
            f"The check calls {name} with {_count(case)}, and yours is {name}{signature}: "
            "keep the first line of the function as it was given."
        )
    return None


def _count(case: tuple[Any, ...]) -> str:
    return f"{len(case)} argument{'s' * (len(case) != 1)}" if case else "no argument"


def stopped(function: Callable[..., Any], error: BaseException) -> str:
    """An exception inside the learner's code as a sentence with the learner's own line."""
    if isinstance(error, KeyboardInterrupt):
        return f"Your function was interrupted{_where(function, error)}. Did a loop not come to its end?"
    said = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    return f"Your function stops with {text}{_where(function, error)}.{_help(error)}"


def _where(function: Callable[..., Any], error: BaseException) -> str:
    """The innermost line of the traceback that stands in the file or cell of the function."""
    home = getattr(getattr(inspect.unwrap(function), "__code__", None), "co_filename", None)
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == home]
    if not lines:
        return ""
    source = (lines[-1].line or linecache.getline(lines[-1].filename, lines[-1].lineno or 0)).strip()
    return f" at its line {lines[-1].lineno}, `{source}`" if source else f" at its line {lines[-1].lineno}"


def _help(error: BaseException) -> str:
    if isinstance(error, NameError):
        return " Has the cell that defines that name been run? After a restart run the cells from the top."
    return ""
