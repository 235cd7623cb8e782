"""Lessons whose real section is fetched by pip run on a painted tile where there is no connection and no cache."""

import re
from pathlib import Path

import nbformat
import pytest

from execute import NOTEBOOKS, executed

pytest.importorskip("ipykernel", reason="the kernel comes with the [lab] extra")

#: The lessons that fetch a section.
LESSONS = ("00_start_here", "02_two_networks", "03_inside_efficientps", "06_tumour_cell_separation")
#: How a lesson says that the section is not the real one.
INSTEAD = re.compile(r"[Pp]ainted (one|tile)\b.*(because|differ|not here)|not here.*painted one", re.DOTALL)


@pytest.mark.notebook
@pytest.mark.parametrize("name", LESSONS)
def test_without_a_connection_a_painted_tile_stands_in(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANO_MED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # kernels inherit both
    path = executed(NOTEBOOKS / "instructor" / f"{name}.ipynb", out=tmp_path / "executed")  # an error would raise
    made = nbformat.read(path, as_version=4)
    outputs = [output for cell in made.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    said = [output.text for output in outputs if output.output_type == "stream"]
    assert [text for text in said if INSTEAD.search(text)], said
    assert list((tmp_path / "cache").rglob("hgsc*")) == [], "nothing was fetched"
