"""The browserless tests of the widgets with the ipywidgets 7.7 and anywidget 0.9 that hosted notebooks have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: What Colab has (2026-08), and the one package that ipywidgets 7 needs and 8 does not.
OLD = ("ipywidgets==7.7.1", "anywidget==0.9.21", "widgetsnbextension==3.6.10", "ipython_genutils==0.2.0")
#: Each has a test file of its own here; the marker keeps the browser's part out.
WIDGETS = ("viewer", "quiz", "fusion_lab", "separation", "lens", "guess", "upload", "training_monitor")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the old packages, to stand before all others."""
    folder = tmp_path_factory.mktemp("old")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *OLD]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {', '.join(OLD)} here: {done.stderr.strip().splitlines()[-1:]}")
    return folder


def _python(old: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [str(old), str(TESTS), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, cwd=TESTS.parent)


@pytest.mark.slow
def test_the_widgets_live_with_old_ipywidgets(old: Path) -> None:
    seen = _python(old, "-c", "import ipywidgets, anywidget; print(ipywidgets.__version__, anywidget.__version__)")
    assert seen.stdout.split() == ["7.7.1", "0.9.21"], seen.stderr
    files = sorted(str(path) for path in TESTS.glob("test_widgets_*.py") if path.name != Path(__file__).name)
    assert {Path(file).stem for file in files} >= {f"test_widgets_{name}" for name in WIDGETS}
    files.append(str(TESTS / "test_slides_viewer.py"))
    quiet = ("-W", "ignore::DeprecationWarning")  # ipywidgets 7 itself uses what traitlets 5 advises against
    chosen = ("-m", "not browser and not slow and not notebook")
    done = _python(old, "-m", "pytest", "-q", "-p", "no:cacheprovider", *quiet, *chosen, *files)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert " passed" in done.stdout
