"""What an exercise is: a right function, cases to try, and the mistakes that people make."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: "lesson.number", for example "1.2".
ID = re.compile(r"(\d{1,2})\.(\d{1,2})")


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give, and what to tell them.

    Args:
        wrong: a function with the exercise's signature that makes the mistake.
        message: one or two sentences: what was probably done, and where to look. It does not give the solution.
    """

    wrong: Callable[..., Any]
    message: str


@dataclass(frozen=True)
class Exercise:
    """One exercise of a lesson.

    Args:
        id: "lesson.number", for example "1.2".
        right: the function asked for.
        cases: the arguments of each call; every case is a tuple, `()` for a function without arguments. Each call gets
            copies.
        mistakes: the common wrong answers. Each must differ from `right`, and from the other mistakes, on some case.
        hints: the first nudges, the second nearly says it.
        tolerance: the largest difference between numbers that still counts as equal, absolute and relative.

    Raises:
        ValueError: the id is not "lesson.number", there is no case, or a case is not a tuple.
    """

    id: str
    right: Callable[..., Any]
    cases: tuple[tuple[Any, ...], ...]
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str]
    tolerance: float = field(default=1e-6, kw_only=True)

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id):
            raise ValueError(f"an exercise's id is 'lesson.number', for example '1.2'; this one is {self.id!r}")
        if not self.cases or not all(isinstance(case, tuple) for case in self.cases):
            raise ValueError(f"exercise {self.id}: `cases` is a tuple of tuples of arguments, at least one")

    @property
    def lesson(self) -> int:
        """The lesson's number."""
        return lesson_of(self.id)


def lesson_of(identifier: str) -> int:
    """The lesson's number in an id: 1 of '1.2'."""
    return int(identifier.split(".")[0])
