from pathlib import Path
import pytest
from lab import Lab
from test_notebooks_browser import DRIVERS, _see_a_guess_beside_its_result
pytestmark = pytest.mark.browser
@pytest.mark.parametrize("path", [p for p in sorted(Path("notebooks/instructor").glob("0[23]_*.ipynb"))], ids=lambda p: p.stem)
def test_instructor(lab: Lab, path) -> None:
    with lab.open(path.resolve()) as notebook:
        notebook.run_all()
        notebook.check_clean()
        for name, widget in notebook.widgets():
            DRIVERS[name](notebook, widget)
        for i in [k for k in range(notebook.cells) if ".reveal(" in notebook.source(k) and notebook.seconds[k] < 3][:6]:
            notebook.run(i); notebook.output(i); notebook.page.wait_for_timeout(150)
            notebook.page.screenshot(path=f"/tmp/w/lessonsb/shots/inst_{path.stem}_{i:02d}.png")
        notebook.check_clean()
