"""Every notebook, run from the top on this machine: the instructor's to its end, the student's but for the stubs."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from lesson_rules import LIMIT, LONGER, bare_images
from nbformat import NotebookNode

from execute import executed

pytest.importorskip("ipykernel", reason="the kernel comes with the [lab] extra")
pytestmark = [pytest.mark.notebook]

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
STUDENT = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
INSTRUCTOR = sorted(NOTEBOOKS.glob("instructor/[0-9]*.ipynb"))

each_student = pytest.mark.parametrize("path", STUDENT, ids=lambda p: p.stem)
each_instructor = pytest.mark.parametrize("path", INSTRUCTOR, ids=lambda p: p.stem)


def _ran(path: Path) -> NotebookNode:
    return nbformat.read(executed(path), as_version=4)


def _outputs(made: NotebookNode) -> Iterator[tuple[NotebookNode, NotebookNode]]:
    """(cell, output) of every output."""
    for cell in (c for c in made.cells if c.cell_type == "code"):
        yield from ((cell, output) for output in cell.outputs)


@each_instructor
def test_the_instructors_notebook_runs_to_its_end_in_time(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = _ran(path)
    seconds = made.metadata["pano_med"]["seconds"]
    with capsys.disabled():
        print(f"  {seconds:.0f} s", end="")
    assert [cell.source for cell, output in _outputs(made) if output.output_type == "error"] == []
    assert seconds <= LONGER.get(path.stem, LIMIT)


@each_instructor
def test_every_check_in_the_instructors_notebook_passes(path: Path) -> None:
    made = _ran(path)
    for cell in (c for c in made.cells if c.cell_type == "code" and c.source.startswith("check.answer(")):
        said = [output.data["text/plain"] for output in cell.outputs if "data" in output]
        assert len(said) == 1, f"one answer, shown once: {said}"
        assert re.match(r"✓ \d+\.\d+ pass\.", said[0]), said


@each_instructor
def test_every_picture_has_alt_text(path: Path) -> None:
    for cell, output in _outputs(_ran(path)):
        data = output.get("data", {})
        assert list(bare_images(data.get("text/html", ""))) == [], cell.source
        if {"image/png", "image/jpeg", "image/svg+xml"} & set(data):
            told = "<img" in data.get("text/html", "") or output.metadata.get("image/png", {}).get("alt")
            assert told, f"a picture without alt text, use show(picture, alt=...):\n{cell.source}"


@each_instructor
def test_nothing_is_said_on_the_error_stream(path: Path) -> None:
    said = [(cell.source, output.text) for cell, output in _outputs(_ran(path)) if output.get("name") == "stderr"]
    assert said == []


@each_student
def test_only_stubs_stop_the_students_notebook(path: Path) -> None:
    made = _ran(path)
    faults = [(cell.source, output) for cell, output in _outputs(made) if output.output_type == "error"]
    for source, output in faults:
        assert output.ename == "NotImplementedError", source
        assert re.match(r"exercise \d+\.\d+: ", output.evalue), source
    answers = [cell for cell in made.cells if cell.cell_type == "code" and cell.source.startswith("check.answer(")]
    for cell in answers:
        assert "not done yet" in str([output.get("data") for output in cell.outputs]), cell.source
    assert answers
