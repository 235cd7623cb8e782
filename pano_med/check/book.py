"""Where exercises are found: one table a lesson, loaded when first asked for; solutions written by the generator."""

import importlib
import importlib.util
import json
from functools import cache
from importlib.resources import files

from pano_med.check.exercise import ID, Exercise, lesson_of

_PACKAGE = "pano_med.check"


class UnknownExercise(LookupError):
    """There is no such exercise; the message says which there are."""


def lessons() -> list[int]:
    """The numbers of the lessons that have exercises."""
    found = (entry.name for entry in files(_PACKAGE).iterdir())
    return sorted(int(name[7:9]) for name in found if name.startswith("lesson_") and name.endswith(".py"))


@cache
def exercises(lesson: int) -> dict[str, Exercise]:
    """A lesson's exercises by id, in order; empty for a lesson that has none."""
    if lesson not in lessons():
        return {}
    table: tuple[Exercise, ...] = importlib.import_module(f"{_PACKAGE}.lesson_{lesson:02d}").EXERCISES
    found = {exercise.id: exercise for exercise in table}
    if len(found) != len(table) or {e.lesson for e in table} != {lesson}:
        raise ValueError(f"lesson {lesson:02d}: exercises have ids of their own, each beginning with '{lesson}.'")
    return found


def find(identifier: object) -> Exercise:
    """The exercise of an id.

    Raises:
        UnknownExercise: the id is no text like "1.2", or there is no such lesson or exercise.
    """
    if not isinstance(identifier, str) or not ID.fullmatch(identifier):
        raise UnknownExercise(f'An exercise is named by a text such as "1.2", in quotes; this is {identifier!r}.')
    table = exercises(lesson_of(identifier))
    if identifier in table:
        return table[identifier]
    if table:
        raise UnknownExercise(f"There is no exercise {identifier}; this lesson has {', '.join(table)}.")
    numbers = ", ".join(f"{number:02d}" for number in lessons())
    raise UnknownExercise(f"There is no exercise {identifier}; the lessons with exercises are {numbers or 'not here'}.")


def solution_of(identifier: str) -> str | None:
    """The source of an exercise's solution, or None if the generator has not written it."""
    path = files(_PACKAGE) / "solutions" / f"{lesson_of(identifier):02d}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    source: str | None = found.get(identifier)
    return source
