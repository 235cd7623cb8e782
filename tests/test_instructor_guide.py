"""The instructor guide speaks of lessons, exercises and commands that are there."""

import re
from pathlib import Path

import pytest

from pano_med.check import book

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "instructor_guide.md").read_text(encoding="utf-8")


def test_every_exercise_has_its_row_of_wrong_answers() -> None:
    rows = re.findall(r"^\| (\d+\.\d+) ", GUIDE, re.MULTILINE)
    assert rows == [exercise for lesson in book.lessons() for exercise in book.exercises(lesson)]


def test_every_lesson_has_its_place_in_the_half_day() -> None:
    plan = GUIDE.split("## Half a day")[1].split("\n## ")[0]
    planned, left = set(re.findall(r"^\| \d+ \| (\d\d) ", plan, re.MULTILINE)), set(re.findall(r" but (\d\d)", plan))
    assert planned | left == {f"{n:02d}" for n in book.lessons()}
    assert not planned & left
    assert all(f"lesson {n}: " in plan for n in left), "what is left out of the half day has a time of its own"


@pytest.mark.parametrize(("heading", "most"), [("## Ninety minutes", 90), ("## Half a day", 240)])
def test_plans_run_forward_and_end_in_time(heading: str, most: int) -> None:
    plan = GUIDE.split(heading)[1].split("\n## ")[0]
    minutes = [int(m) for m in re.findall(r"^\| (\d+) \|", plan, re.MULTILINE)]
    assert minutes[0] == 0
    assert minutes == sorted(set(minutes))
    last = re.findall(r"^\| (\d+) \|.*\((\d+)\) (?:\| )*\|$", plan, re.MULTILINE)[-1]
    assert int(last[0]) == minutes[-1], "the last row says how long it takes"
    assert sum(map(int, last)) <= most


def test_the_half_day_adds_up() -> None:
    plan = GUIDE.split("## Half a day")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \|.*\((\d+)\) \|$", plan, re.MULTILINE)
    ends = [int(start) + int(length) for start, length in rows]
    assert [int(start) for start, _ in rows[1:]] == ends[:-1]


def test_exercises_named_in_the_plans_exist() -> None:
    named = set(re.findall(r"\b([0-8]\.\d)\b(?! GB)", GUIDE.split("## Ninety minutes")[1].split("## Common")[0]))
    assert named <= {exercise for lesson in book.lessons() for exercise in book.exercises(lesson)}, named


def test_files_and_commands_it_names_are_there() -> None:
    for name in re.findall(r"`((?:notebooks|pano_med|docs)/[\w./]+)`", GUIDE.replace("NN_name", "00_start_here")):
        assert (ROOT / name.replace("lesson_NN", "lesson_00")).exists(), name
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (\w+)", GUIDE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
