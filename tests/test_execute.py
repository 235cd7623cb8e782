"""Notebooks are run once for one state of things, and only a stub may stop a student's."""

from pathlib import Path

import nbformat
import pytest

execute = pytest.importorskip("execute", reason="nbclient comes with the [lab] extra")
pytest.importorskip("ipykernel", reason="the kernel comes with the [lab] extra")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    (tmp_path / "instructor").mkdir()
    return tmp_path


def _write(path: Path, *cells: str) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


def test_a_notebook_runs_once_until_it_changes(folder: Path) -> None:
    path, out = _write(folder / "00_x.ipynb", "import time\nprint(time.time_ns())"), folder / "out"
    first = execute.executed(path, out).read_text("utf-8")
    assert execute.executed(path, out).read_text("utf-8") == first
    _write(path, "import time\nprint(time.time_ns(), 'now')")
    made = nbformat.read(execute.executed(path, out), as_version=4)
    assert "now" in made.cells[0].outputs[0].text
    assert made.metadata["pano_med"]["seconds"] > 0
    assert nbformat.read(path, as_version=4).cells[0].outputs == [], "the notebook itself is left as it is"


def test_a_stub_stops_a_cell_of_the_students_notebook_and_nothing_else(folder: Path) -> None:
    stub = ("raise NotImplementedError('exercise 0.1: write it')", "print('after')")
    made = nbformat.read(execute.executed(_write(folder / "00_x.ipynb", *stub), folder / "out"), as_version=4)
    assert made.cells[1].outputs[0].text == "after\n"
    with pytest.raises(execute.CellExecutionError, match="exercise 0.1"):
        execute.executed(_write(folder / "instructor" / "00_x.ipynb", *stub), folder / "out")
    with pytest.raises(execute.CellExecutionError, match="ZeroDivisionError"):
        execute.executed(_write(folder / "01_y.ipynb", "1 / 0"), folder / "out")


def test_what_a_lesson_writes_stays_out_of_the_repository(folder: Path) -> None:
    path = _write(folder / "00_x.ipynb", "open('left.txt', 'w').close()\nimport os; print(os.getcwd())")
    made = nbformat.read(execute.executed(path, folder / "out"), as_version=4)
    assert not Path(made.cells[0].outputs[0].text.strip()).exists()
