"""A student who solved one exercise only, whichever it is, meets no error but the stubs' own."""

import warnings
from pathlib import Path

import matplotlib
import nbformat
import pytest

from pano_med.check import book

pytest.importorskip("anywidget", reason="widgets come with the [lab] extra")

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
#: The lessons that run in seconds.
LIGHT = {1: "01_stuff_vs_things", 4: "04_fusion_lab"}


@pytest.mark.notebook
@pytest.mark.parametrize("solved", [name for lesson in LIGHT for name in book.exercises(lesson)])
def test_with_one_exercise_solved_only_stubs_stop(solved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells run here and not in a kernel, which would take longer to start than they take."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    cells = nbformat.read(NOTEBOOKS / f"{LIGHT[int(solved[0])]}.ipynb", as_version=4).cells
    space: dict[str, object] = {"__name__": "__main__"}
    stopped = set()
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as in a kernel
        for number, cell in enumerate(cells):
            if cell.cell_type != "code":
                continue
            source = book.solution_of(solved) if cell.metadata.get("exercise") == solved else cell.source
            try:
                exec(compile(source, f"<cell {number}>", "exec"), space)
            except NotImplementedError as error:
                stopped.add(str(error).split(":")[0].removeprefix("exercise "))
            except Exception as error:
                pytest.fail(f"{type(error).__name__}: {error}\nin\n{source}")
    others = set(book.exercises(int(solved[0]))) - {solved}
    assert stopped <= others
    assert stopped, "the other stubs are still there"
