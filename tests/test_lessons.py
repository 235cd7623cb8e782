"""Every lesson by the rules, and every exercise: its solution passes, each wrong answer gets its own message."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lesson_rules import LIMIT, LONGER, RULES, bare_images, exercises, tree
from lesson_sample import MASTER, NAME

import build
import minutes
import opening
from pano_med.check import Exercise, book
from pano_med.check.ask import judge

ROOT = Path(__file__).parents[1]
MASTERS = build.masters()
BOOKS = sorted(p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
#: The way of somebody with 90 minutes.
SHORT_PATH = (0, 1, 4, 6)
TABLES = [(path, exercise) for path in MASTERS for exercise in book.exercises(int(path.name[:2])).values()]

each_master = pytest.mark.parametrize("path", MASTERS, ids=lambda p: p.stem)
each_exercise = pytest.mark.parametrize(("path", "exercise"), TABLES, ids=[e.id for _, e in TABLES])


@cache
def _lesson(path: Path) -> build.Lesson:
    return build.lesson_at(path)


@each_master
@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.__name__)
def test_lessons_keep_the_rules(path: Path, rule: Callable[[build.Lesson], Iterator[str]]) -> None:
    assert list(rule(_lesson(path))) == []


@each_master
def test_making_the_notebooks_again_changes_nothing(path: Path) -> None:
    for file, text in build.files(_lesson(path)).items():
        assert file.read_bytes() == text.encode(), f"{file.relative_to(ROOT)}: run `make notebooks`"


def test_every_notebook_has_its_master() -> None:
    made = {file for path in MASTERS for file in build.files(_lesson(path))}
    assert set(BOOKS) <= made, "notebooks without master"
    assert set((ROOT / "pano_med" / "check" / "solutions").glob("*")) <= made, "solutions without master"


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: str(p.relative_to(ROOT / "notebooks")))
def test_badge_and_install_cell_name_this_notebook_and_one_tag(path: Path) -> None:
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    address = re.escape(opening.REPOSITORY.removeprefix("https://github.com/"))
    badge = re.search(rf"\(https://colab\.research\.google\.com/github/{address}/blob/([^/]+)/([^)]+)\)", cells[0])
    install = re.search(rf"git\+{re.escape(opening.REPOSITORY)}@([\w.]+)", cells[1])
    assert badge
    assert install
    assert badge[2] == str(path.relative_to(ROOT).as_posix())
    assert badge[1] == install[1] == opening.TAG


@each_master
def test_run_time_is_measured(path: Path) -> None:
    most = LONGER.get(path.stem, LIMIT)
    assert 0 < _lesson(path).seconds <= most, f"measure it: python notebooks/build.py --time {path.name[:2]}"


def test_the_short_path_fits_ninety_minutes() -> None:
    """All that is taught, and the exercises that the instructor's guide does in class."""
    guide = (ROOT / "docs" / "instructor_guide.md").read_text(encoding="utf-8")
    plan = guide.split("## Ninety minutes")[1].split("\n## ")[0]
    rows = [row.split("|")[-2] for row in plan.splitlines() if row.startswith("|")]
    chosen = set(re.findall(r"\b\d\.\d\b", " ".join(rows)))
    lessons = [_lesson(path) for path in MASTERS if int(path.name[:2]) in SHORT_PATH]
    found = {name: source for lesson in lessons for name, source in lesson.solutions.items() if name in chosen}
    assert set(found) == chosen
    assert {int(name[0]) for name in found} == set(SHORT_PATH), "an exercise of each lesson"
    taught = {lesson.name: lesson.minutes.teaching for lesson in lessons}
    assert sum(taught.values()) + sum(map(minutes.of_exercise, found.values())) <= 90, (taught, sorted(found))


# -- exercises ---------------------------------------------------------------------------------------------------


@each_master
def test_table_and_master_have_the_same_exercises(path: Path) -> None:
    known = book.exercises(int(path.name[:2]))
    assert list(known) == list(_lesson(path).solutions)
    assert {name: book.solution_of(name) for name in known} == _lesson(path).solutions


def _defined(lesson: build.Lesson, last: str) -> dict[str, Any]:
    """What a learner has who ran the imports, the definitions and the solutions up to exercise `last`."""
    space: dict[str, Any] = {}
    for cell in (c for c in lesson.cells if c.cell_type == "code" and not build.has(c, "stub")):
        body = tree(cell)
        if not build.has(cell, "imports"):
            body.body = [n for n in body.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        exec(compile(body, "<cell>", "exec"), space)
        if cell.metadata.get("exercise") == last:
            return space
    raise AssertionError(last)


@each_exercise
def test_solutions_pass(path: Path, exercise: Exercise) -> None:
    lesson = _lesson(path)
    source = "\n".join(cell.source for cell in lesson.cells)
    called = re.search(rf'check\.answer\("{re.escape(exercise.id)}", (\w+)\)', source)
    assert called
    verdict = judge(exercise, _defined(lesson, exercise.id)[called[1]])
    assert verdict.passed, verdict


@each_exercise
def test_every_listed_mistake_gets_its_own_message(path: Path, exercise: Exercise) -> None:
    assert judge(exercise, exercise.right).passed, "the table's own answer"
    assert len(exercise.mistakes) >= 2, "at least two common wrong answers"
    for mistake in exercise.mistakes:
        assert judge(exercise, mistake.wrong).message == mistake.message


@each_exercise
def test_messages_and_hints_are_distinct_sentences(path: Path, exercise: Exercise) -> None:
    texts = [*exercise.hints, *(m.message for m in exercise.mistakes)]
    assert len(set(texts)) == len(texts)
    assert len(exercise.hints) == 2
    assert not [text for text in texts if len(text) < 15 or text[-1] not in ".?!)`"], "each is a sentence"


@each_exercise
def test_what_is_not_an_answer_gets_a_sentence(path: Path, exercise: Exercise) -> None:
    count = len(exercise.cases[0])
    names = ", ".join(f"a{i}" for i in range(count))
    for body, state in [
        ("None", "wrong"),
        ("1 / 0", "error"),
        ("float('nan')", "wrong"),
        ("[]", "wrong"),
        ("'x'", "wrong"),
        ("np.zeros((2, 3, 5, 7))", "wrong"),
        ("{'a': 1}", "wrong"),
    ]:
        verdict = judge(exercise, eval(f"lambda {names}: {body}", {"np": np}))
        assert verdict.state == state, (body, verdict)
        assert "pano_med/" not in repr(verdict)


# -- the rules see faults ----------------------------------------------------------------------------------------

GOOD = MASTER.replace("### Where to go next", "## Where to go next") + "#\n# ## Sources\n# None.\n"


def _faults(text: str) -> list[str]:
    lesson = build.read(text, NAME)
    return [fault for rule in RULES for fault in rule(lesson) if "at least 4 exercises" not in fault]


def test_a_good_master_has_no_fault() -> None:
    assert _faults(GOOD) == []
    assert "at least 4 exercises, 99.1, 99.2, ...; there are ['99.1']" in list(exercises(build.read(GOOD, NAME)))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("# ## Summary", "# # Summary", "one heading of level 1"),
        ("# ## Where to go next", "# #### Where to go next", "skips from level 2 to 4"),
        ("# ## Sources", "# ## Books", "no section 'Sources'"),
        ("# ## Sources", "# ## Summary", "two sections are named 'Summary'"),
        ("# ## Sources", "# ## Sources\n# ![](x.png)", r"no alt text: !\[\]\(x.png\)"),
        ("# ## Sources", '# ## Sources\n# <img src="x.png">', "no alt text: <img"),
        ("a, b = np.zeros", "import os\na, b = np.zeros", "an import outside the imports cell"),
        (
            '# %% tags=["imports"]',
            '# %%\n1\n\n# %% tags=["imports"]',
            "the first code cell installs, the second imports",
        ),
        (
            '\nshared = Guess("Which part do they share?", low=0, high=100, unit="%")\nshared\n',
            "\n1\n",
            "without a Guess",
        ),
        ('unit="%")\nshared\n', 'unit="%")\n', "the guess shared is not the last line of a cell"),
        ("def iou(a, b):", "def iou(b):", None),
        ('NotImplementedError("exercise 99.1: ', 'NotImplementedError("', "the stub raises NotImplementedError"),
        ('check.answer("99.1", iou)', 'check.answer("99.1", iou(a, b))', "the next code cell holds check.answer"),
        ('# check.hint("99.1")', "", r'check.hint\("99.1"\) is not offered'),
        ('# check.solution("99.1")', 'check.solution("99.1")', "wait to be called"),
    ],
)
def test_rules_see_the_fault(old: str, new: str, fault: str | None) -> None:
    assert old in GOOD
    if fault is None:  # in the solution only
        fault, (head, tail) = "the stub defines", GOOD.rsplit(old, 1)
        text = head + new + tail
    else:
        text = GOOD.replace(old, new)
    assert re.search(fault, "\n".join(_faults(text))), _faults(text)


def test_images_without_alt_text_are_seen() -> None:
    assert list(bare_images('<img alt="a nucleus" src="x"><img alt="" src="y">')) == [
        'no alt text: <img alt="" src="y">'
    ]
