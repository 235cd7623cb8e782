"""The generator of the notebooks, on a small master: what it makes, what it refuses, the install cell."""

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from lesson_sample import MASTER, NAME

import build
import minutes
import opening
import pano_med

STUB = '# %% tags=["stub"] exercise="99.1"'
SOLUTION = '# %% tags=["solution"] exercise="99.1"'


@pytest.fixture
def lesson() -> build.Lesson:
    return build.read(MASTER, NAME)


def _sources(notebook: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells)


def test_student_gets_stubs_and_instructor_solutions(lesson: build.Lesson) -> None:
    student, instructor = (_sources(build.notebook(lesson, kind)) for kind in ("student", "instructor"))
    assert "raise NotImplementedError" in student
    assert "raise NotImplementedError" not in instructor
    assert "return (a & b)" in instructor
    assert "return (a & b)" not in student
    assert ("Some divide" in student, "Some divide" in instructor) == (False, True)
    assert lesson.solutions["99.1"].endswith("return (a & b).sum() / (a | b).sum()")


def test_stub_and_solution_are_the_only_difference(lesson: build.Lesson) -> None:
    kinds = [build.notebook(lesson, kind).cells[1:] for kind in ("student", "instructor")]
    left = [
        [(c.id, c.source) for c in k if not {"stub", "solution", "instructor"} & set(c.metadata.get("tags", []))]
        for k in kinds
    ]
    assert left[0] == left[1]


def test_same_bytes_each_time_and_nothing_from_outputs(tmp_path: Path) -> None:
    first, again = (build.files(build.read(MASTER, NAME), tmp_path) for _ in range(2))
    assert first == again
    names = [str(path.relative_to(tmp_path)) for path in first]
    assert names == [
        "notebooks/99_sample.ipynb",
        "notebooks/instructor/99_sample.ipynb",
        "pano_med/check/solutions/99.json",
    ]
    for text in list(first.values())[:2]:
        raw = json.loads(text)
        assert text == json.dumps(raw, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        codes = [cell for cell in raw["cells"] if cell["cell_type"] == "code"]
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in codes)


def test_an_edit_renames_no_other_cell(lesson: build.Lesson) -> None:
    edited = build.read(MASTER.replace("Two squares.", "Two squares, in fact."), NAME)
    old, new = ({c.id for c in build.notebook(x, "student").cells} for x in (lesson, edited))
    assert len(old - new) == len(new - old) == 1
    twins = build.read(MASTER + "\n# %%\n1 + 1\n\n# %%\n1 + 1\n", NAME)
    ids = [c.id for c in build.notebook(twins, "student").cells]
    assert len(set(ids)) == len(ids)


def test_write_says_what_changed(tmp_path: Path) -> None:
    master = tmp_path / "notebooks" / "src" / f"{NAME}.py"
    master.parent.mkdir(parents=True)
    master.write_text(MASTER, encoding="utf-8")
    assert len(build.write(build.masters(tmp_path), tmp_path)) == 3
    assert build.write(build.masters(tmp_path), tmp_path) == []
    master.write_text(MASTER.replace("Home.", "Away."), encoding="utf-8")
    assert [p.name for p in build.write(build.masters(tmp_path), tmp_path)] == [f"{NAME}.ipynb"] * 2


# -- opening cell ------------------------------------------------------------------------------------------------


def test_opening_cell_tells_all(lesson: build.Lesson) -> None:
    top = build.notebook(lesson, "instructor").cells[0]
    path = "blob/v" + pano_med.__version__ + "/notebooks/instructor/99_sample.ipynb"
    assert top.source.startswith("# 99 · A sample\n")
    assert f"](https://colab.research.google.com/github/pano-med/pano-med/{path})" in top.source
    assert "- what intersection over union is\n- how a guess works" in top.source
    assert "**Time**: about 1 minute of teaching and 2 minutes of exercises." in top.source
    assert "**Before you start**: fractions" in top.source
    assert "Instructor's notebook" in top.source
    assert "image/png" in top.attachments["colab.png"], "inside: no request when the notebook is opened"


def test_contents_lead_to_anchors(lesson: build.Lesson) -> None:
    notebook = build.notebook(lesson, "student")
    assert "1. [How much do two masks share?](#s-how-much-do-two-masks-share)\n1. [Summary](#s-summary)" in _sources(
        notebook
    )
    assert '<a id="s-how-much-do-two-masks-share"></a>\n\n## How much do two masks share?' in _sources(notebook)
    assert "no heading](#" not in _sources(notebook)


def _minutes(*cells: str, seconds: float = 0) -> tuple[int, int, int]:
    """Minutes of a lesson with these cells, in py:percent."""
    made = minutes.of_cells(jupytext.reads("\n\n".join(cells), fmt="py:percent").cells, seconds)
    return made.teaching, made.exercises, made.deeper


IMPORTS = '# %% tags=["imports"]\nfrom pano_med.widgets import Guess, FusionLab\n' + "import numpy\n" * 90
TWO_LINES = (
    '# %% tags=["solution"] exercise="1.1"\ndef f(a):\n    """Doc.\n\n    More."""\n    # why\n    b = a\n    return b'
)


@pytest.mark.parametrize(
    ("cells", "seconds", "expected"),
    [
        (["# %% [markdown]\n# ## A\n# " + "it's " * 599], 0, (3, 0, 0)),
        (["# %% [markdown]\n# ## A\n# " + "it's " * 600], 0, (4, 0, 0)),
        (["# %% [markdown]\n# ## Sources\n# " + "book " * 600], 0, (0, 0, 0)),
        (['# %% [markdown] tags=["instructor"]\n# ' + "note " * 600], 0, (0, 0, 0)),
        (["# %%\n" + "# no line\n\nx = 1\n" * 40], 60, (3, 0, 0)),
        ([IMPORTS, "# %%\n" + "g = Guess(1)\n" * 20], 0, (11, 0, 0)),
        ([IMPORTS, "# %%\n" + "FusionLab(1)\n" * 20], 0, (31, 0, 0)),
        ([TWO_LINES, TWO_LINES], 0, (0, 5, 0)),
        (["# %%\ncheck.answer(1)\n" + "x = 1\n" * 90], 0, (0, 0, 0)),
        (["# %% [markdown]\n# ## Deeper: more\n# " + "it's " * 197, TWO_LINES], 0, (0, 0, 4)),
        (["# %% [markdown]\n# ## Deeper: more\n# text\n#\n# ## B", TWO_LINES], 0, (1, 3, 1)),
    ],
)
def test_the_rule_for_minutes(cells: list[str], seconds: float, expected: tuple[int, int, int]) -> None:
    assert _minutes(*cells, seconds=seconds) == expected


def test_minutes_in_words() -> None:
    assert str(minutes.Minutes(12, 9, 0)) == "about 12 minutes of teaching and 9 minutes of exercises"
    assert str(minutes.Minutes(12, 9, 4)).endswith("exercises; the sections called *Deeper* take 4 more")


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("# lesson:", "# lessons:", "begins with a header `# ---`, `# lesson:`"),
        ("#   prerequisites: fractions", "#   minutes: 5", "has the keys title, learn, prerequisites and no other; it"),
        ("title: A sample", "title: 3", "the header's `title` must be a str that is not empty"),
        ("- how a guess works", "- how: a guess works", "each line of the header's `learn` is text; put one"),
        ('["imports"]', '["import"]', r"unknown tags \['import'\]; there are"),
        ('tags=["imports"]', "", "exactly one cell has tags=.* and holds all imports"),
        (STUB, '# %% tags=["stub"]', r'a cell with exercise="..." is a stub or a solution: cell 4'),
        ("# %%\ncheck.answer", '# %% exercise="99.1"\ncheck.answer', "is a stub or a solution: cell 6"),
        ('exercise="99.1"', 'exercise="98.1"', r"exercise '98.1' must be \"99.1\", \"99.2\""),
        (SOLUTION, '# %% tags=["solution"] exercise="99.2"', "the stub of exercise 99.1 is followed at once by its"),
        (SOLUTION, "# %%\n1\n\n" + SOLUTION, "the stub of exercise 99.1 is followed at once by its solution"),
        (STUB, SOLUTION, "the solution of exercise 99.1 has no stub before it"),
    ],
)
def test_masters_with_faults_are_refused(old: str, new: str, text: str) -> None:
    assert old in MASTER
    with pytest.raises(build.MasterError, match=text):
        build.read(MASTER.replace(old, new), NAME)


def test_names_are_checked() -> None:
    with pytest.raises(build.MasterError, match="a master is named NN_name"):
        build.read(MASTER, "sample")


# -- install cell ------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the install cell with a pip that only notes what it is asked, in a kernel that can be described."""
    asked: list[list[str]] = []
    versions = {"numpy": "2.1.3", "torch": "2.11.0+cu128", "torchvision": "0.26.0"}
    numpy = types.SimpleNamespace(__version__="2.1.3")
    state = types.SimpleNamespace(asked=asked, versions=versions, numpy=numpy, has=set(versions), code=0, after=None)

    def pip(line: list[str], **_: Any) -> Any:
        asked.append(line)
        versions.update(state.after or {})
        return types.SimpleNamespace(returncode=state.code, stderr="no route to host")

    def run() -> None:
        source = opening.install_cell().source
        with monkeypatch.context() as m:
            m.setattr(subprocess, "run", pip)
            m.setattr(importlib.util, "find_spec", lambda name: name in state.has or None)
            m.setattr(importlib.metadata, "version", versions.__getitem__)
            m.setitem(sys.modules, "numpy", numpy)
            exec(compile(source, "<install cell>", "exec"), {})

    state.run = run
    return state


def test_install_cell_asks_for_nothing_where_pano_med_is(desk: Any) -> None:
    desk.has.add("pano_med")
    desk.run()
    desk.run()
    assert desk.asked == []


def test_install_cell_takes_milliseconds_where_pano_med_is() -> None:
    source = compile(opening.install_cell().source, "<install cell>", "exec")
    exec(source, {})
    start = time.perf_counter()
    exec(source, {})
    assert time.perf_counter() - start < 0.1


def test_install_cell_keeps_torch_and_numpy(desk: Any) -> None:
    desk.run()
    line = f"pano-med[lab] @ git+{opening.REPOSITORY}@v{pano_med.__version__}"
    assert desk.asked == [
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            line,
            "numpy==2.1.3",
            "torch==2.11.0+cu128",
            "torchvision==0.26.0",
        ]
    ]


def test_install_cell_names_no_torch_where_there_is_none(desk: Any) -> None:
    desk.has -= {"torch", "torchvision"}
    desk.run()
    assert not [word for word in desk.asked[0] if word.startswith("torch")]


def test_install_cell_asks_for_a_restart_only_if_numpy_differs(desk: Any) -> None:
    desk.numpy.__version__ = "2.0.0"
    with pytest.raises(Exception, match="numpy was swapped under this kernel: restart it"):
        desk.run()
    assert desk.asked == [], "before any download"


def test_install_cell_sees_a_swap_by_pip_too(desk: Any) -> None:
    desk.after = {"numpy": "2.3.0"}
    with pytest.raises(Exception, match="restart it"):
        desk.run()


def test_install_cell_says_that_pip_failed(desk: Any) -> None:
    desk.code = 1
    with pytest.raises(Exception, match=r"(?s)could not be installed.*internet connection.*no route to host"):
        desk.run()
