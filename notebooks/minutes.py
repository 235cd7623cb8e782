"""How long a lesson takes, by one rule for all, from what stands in it and from the measured run time.

Reading: 200 words a minute. Code that is shown: 20 lines a minute. A guess: half a minute. A widget: a minute and a
half to play with. An exercise: a minute and a half to understand it, and half a minute for each line of
its solution. The machine is waited for. Sections whose heading begins with "Deeper" are counted apart, the lists
at the end ("Where to go next", "Sources") not at all. Sums are rounded up.
"""

import ast
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from nbformat import NotebookNode

WORDS_A_MINUTE = 200
LINES_A_MINUTE = 20
A_GUESS = 0.5
A_WIDGET = 1.5
AN_EXERCISE = 1.5
A_SOLUTION_LINE = 0.5
DEEPER = "Deeper"
UNREAD = ("Where to go next", "Sources")


@dataclass(frozen=True)
class Minutes:
    """Minutes of a lesson, whole ones; `deeper` is for the sections that a short class leaves out."""

    teaching: int
    exercises: int
    deeper: int

    def __str__(self) -> str:
        text = f"about {_told(self.teaching)} of teaching and {_told(self.exercises)} of exercises"
        return f"{text}; the sections called *{DEEPER}* take {self.deeper} more" if self.deeper else text


def _told(minutes: int) -> str:
    return f"{minutes} minute{'s' * (minutes != 1)}"


def of_cells(cells: Iterable[NotebookNode], seconds: float) -> Minutes:
    """The minutes of a lesson.

    Args:
        cells: the master's.
        seconds: measured run time of the instructor's notebook.
    """
    sums = {"teaching": seconds / 60, "exercises": 0.0, "deeper": 0.0}
    section, widgets = "", set[str]()
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if "imports" in tags:
            widgets = _widgets(cell.source)
        elif cell.cell_type == "markdown" and "instructor" not in tags:
            for part in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE):
                section = part.splitlines()[0] if part.startswith("## ") else section
                if not section.removeprefix("## ").startswith(UNREAD):
                    sums[_kind(section, "teaching")] += len(re.findall(r"\w[\w'-]*", part)) / WORDS_A_MINUTE
        elif "solution" in tags:
            sums[_kind(section, "exercises")] += of_exercise(cell.source)
        elif cell.cell_type == "code" and not {"stub", "instructor"} & set(tags) and "check.answer(" not in cell.source:
            sums[_kind(section, "teaching")] += _shown(cell.source, widgets)
    return Minutes(**{name: math.ceil(round(value, 6)) for name, value in sums.items()})


def of_exercise(solution: str) -> float:
    """Minutes for an exercise, from the source of its solution."""
    return AN_EXERCISE + A_SOLUTION_LINE * _body_lines(solution)


def _kind(section: str, kind: str) -> str:
    return "deeper" if section.removeprefix("## ").startswith(DEEPER) else kind


def _widgets(imports: str) -> set[str]:
    """The names that an imports cell takes from pano_med.widgets."""
    nodes = [n for n in ast.walk(ast.parse(imports)) if isinstance(n, ast.ImportFrom)]
    return {alias.name for node in nodes if node.module == "pano_med.widgets" for alias in node.names}


def _body_lines(source: str) -> int:
    """Lines of the functions' bodies, without docstrings and comments."""
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    bodies = [f.body[1:] if ast.get_docstring(f) else f.body for f in functions]
    return sum(len(ast.unparse(node).splitlines()) for body in bodies for node in body)


def _shown(source: str, widgets: set[str]) -> float:
    """Minutes for a code cell that is read, with its guesses and widgets."""
    lines = [line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    calls = [name for name in re.findall(r"\b(\w+)\(", source) if name in widgets]
    return len(lines) / LINES_A_MINUTE + sum(A_GUESS if name == "Guess" else A_WIDGET for name in calls)
