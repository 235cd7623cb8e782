"""What learners call: `answer`, `hint`, `solution`."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from pano_med.check.book import UnknownExercise, find, solution_of
from pano_med.check.compare import difference, told
from pano_med.check.exercise import Exercise
from pano_med.check.trial import Outcome, misfit, run_all, same, stopped
from pano_med.check.verdict import Verdict

#: How often a hint was asked for, by exercise; a restart of the kernel begins anew.
_asked: dict[str, int] = {}


def answer(identifier: str, function: Callable[..., Any]) -> Verdict:
    """Try a function on an exercise and show what the check says.

    Args:
        identifier: the exercise, for example "1.2".
        function: the learner's function itself, not its result.

    Returns:
        The verdict; true if the answer is right. Nothing is raised, whatever the function does.
    """
    return _say(identifier, lambda exercise: judge(exercise, function))


def hint(identifier: str) -> Verdict:
    """Show the first hint of an exercise; asked again, the second."""

    def told_hint(exercise: Exercise) -> Verdict:
        count = _asked[exercise.id] = min(_asked.get(exercise.id, 0) + 1, 3)
        if count > 2:
            both = f"1. {exercise.hints[0]}\n2. {exercise.hints[1]}\n"
            return Verdict(exercise.id, "hint", f'{both}There is no third: check.solution("{exercise.id}") shows one.')
        return Verdict(exercise.id, "hint", f"{count} of 2: {exercise.hints[count - 1]}")

    return _say(identifier, told_hint)


def solution(identifier: str) -> Verdict:
    """Show the source of one solution of an exercise."""

    def told_solution(exercise: Exercise) -> Verdict:
        source = solution_of(exercise.id)
        if source is None:
            return Verdict(exercise.id, "error", "Its solution is not in this installation; see notebooks/instructor.")
        return Verdict(exercise.id, "solution", "Others are as good if the check passes them.", source)

    return _say(identifier, told_solution)


def _say(identifier: str, judged: Callable[[Exercise], Verdict]) -> Verdict:
    try:
        verdict = judged(find(identifier))
    except UnknownExercise as error:
        verdict = Verdict(str(identifier), "error", str(error))
    except Exception as error:  # our own fault, for example a library that this exercise needs and that is not here
        text = f"The check itself stopped with {type(error).__name__}: {error}. That is not your fault: please tell us."
        verdict = Verdict(str(identifier), "error", text)
    verdict.now()
    return verdict


def judge(exercise: Exercise, function: Any) -> Verdict:
    """The verdict on a function, not shown yet."""
    if not callable(function):
        example = f'check.answer("{exercise.id}", {_name(exercise)})'
        text = f"The check takes the function itself, and got {told(function)}. Write its name without brackets"
        return Verdict(exercise.id, "error", f"{text}, as in {example}.")
    fault = misfit(function, exercise.cases[0])
    if fault:
        return Verdict(exercise.id, "error", fault)
    got = run_all(function, exercise.cases)
    if isinstance(got[-1].error, KeyboardInterrupt):
        return Verdict(exercise.id, "error", stopped(function, got[-1].error))
    undone = next((g.error for g in got if isinstance(g.error, NotImplementedError)), None)
    if undone is not None:
        said = str(undone).removeprefix(f"exercise {exercise.id}: ") or "write the function"
        return Verdict(exercise.id, "todo", f"{said[0].upper()}{said[1:]}. Run its cell, then run this one again.")
    return _compared(exercise, function, got)


def _name(exercise: Exercise) -> str:
    """What the learner's function is called."""
    found = re.findall(r"^def (\w+)", solution_of(exercise.id) or "", re.MULTILINE)
    return found[-1] if found else exercise.right.__name__.lstrip("_")


def _compared(exercise: Exercise, function: Callable[..., Any], got: list[Outcome]) -> Verdict:
    expected = run_all(exercise.right, exercise.cases)
    if _all_same(expected, got, exercise.tolerance):
        changed = {number for e, g in zip(expected, got, strict=True) for number in g.changed - e.changed}
        if changed:
            return Verdict(exercise.id, "wrong", _spoilt(exercise, min(changed)))
        count = len(exercise.cases)
        return Verdict(exercise.id, "pass", f"Right in {count} cases." if count > 1 else "Right.")
    for mistake in exercise.mistakes:
        if _all_same(run_all(mistake.wrong, exercise.cases), got, exercise.tolerance):
            return Verdict(exercise.id, "wrong", mistake.message)
    number = next(i for i, (e, g) in enumerate(zip(expected, got, strict=True)) if not same(e, g, exercise.tolerance))
    if got[number].error is not None:
        text = stopped(function, got[number].error)
        return Verdict(exercise.id, "error", f"{_called(exercise, number)}{text}")
    text = difference(expected[number].value, got[number].value, exercise.tolerance)
    return Verdict(exercise.id, "wrong", f"{_called(exercise, number)}{text}")


def _spoilt(exercise: Exercise, number: int) -> str:
    name = list(inspect.signature(exercise.right).parameters)[number]
    return (
        f"The result is right, but your function changes its argument `{name}`, which others may still need: "
        "write into a copy."
    )


def _all_same(expected: list[Outcome], got: list[Outcome], tolerance: float) -> bool:
    return all(same(e, g, tolerance) for e, g in zip(expected, got, strict=True))


def _called(exercise: Exercise, number: int) -> str:
    """'With a = 1, b = 2: ' for the case that fails, if it is short enough to be read."""
    case = exercise.cases[number]
    names = list(inspect.signature(exercise.right).parameters)
    text = ", ".join(f"{name} = {told(value)}" for name, value in zip(names, case, strict=False))
    return f"With {text}: " if case and "\n" not in text and len(text) <= 200 else ""
