"""What the notebooks' install cell asks of a notebook service: its own versions stay."""

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CELL = (ROOT / "notebooks" / "install_cell.py").read_text(encoding="utf-8")
#: The service's Python.
SERVICE = ["--python-version", "3.13", "--only-binary=:all:"]
PIP = [sys.executable, "-m", "pip"]


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    """The versions of Colab by name, kept beside the real images."""
    root = os.environ.get("PANO_MED_DATA")
    path = Path(root).parent / "reference" / "colab-pins.txt" if root else None
    if path is None or not path.is_file():
        pytest.skip("no list of a notebook service's versions: reference/colab-pins.txt beside PANO_MED_DATA")
    lines = path.read_text(encoding="utf-8").splitlines()
    return {_name(name): version for name, version in (line.strip().split("==") for line in lines if "==" in line)}


def _asked(have: dict[str, str], patch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of pip that the install cell makes where exactly the packages of `have` are."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        calls.append(command)
        return SimpleNamespace(returncode=0, stderr="")

    with patch.context() as inside:
        inside.delitem(sys.modules, "numpy", raising=False)
        inside.setattr(subprocess, "run", run)
        inside.setattr(importlib.util, "find_spec", lambda name: name if name in have else None)
        inside.setattr(importlib.metadata, "version", lambda name: have[name])
        exec(compile(CELL, "install_cell.py", "exec"), {})
    (command,) = calls
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    return command[4:]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where pip finds no packages."""
    probe = [*PIP, "download", "--quiet", "--no-deps", "--dest", str(tmp_path_factory.mktemp("probe")), "pooch"]
    reached = subprocess.run(probe, capture_output=True, text=True, timeout=300)
    if reached.returncode:
        pytest.skip(f"pip cannot reach a package index: {reached.stderr.strip()[-200:]}")


def _resolved(arguments: list[str], report: Path, *, python: Path | None = None) -> dict[str, str]:
    """What pip would install, {name: version}; into another `python`, of which pip looks at what is there."""
    command = [*PIP, *(["--python", str(python)] if python else []), "install", "--dry-run", "--report", str(report)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    installs = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return {_name(item["name"]): item["version"] for item in installs}


def _service(have: dict[str, str], folder: Path) -> Path:
    """A Python that believes to have exactly the packages of `have`: pip reads nothing else than their metadata."""
    venv.create(folder, with_pip=False)
    (site,) = folder.rglob("site-packages")
    for name, version in have.items():
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    return folder  # pip --python takes an environment's folder


def _wanted(pins: dict[str, str], patch: pytest.MonkeyPatch) -> list[str]:
    """What the cell asks for on the service, with this project's own lists in place of its address."""
    quiet, _, *kept = _asked(pins, patch)
    return [quiet, *PROJECT["dependencies"], *PROJECT["optional-dependencies"]["lab"], *kept]


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_the_install_moves_no_package_of_the_service(
    pins: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = _service(pins, tmp_path / "service")
    found = _resolved(_wanted(pins, monkeypatch), tmp_path / "report.json", python=python)
    assert {"timm", "monai", "jupyterlab"} <= set(found)
    assert {name: (pins[name], version) for name, version in found.items() if name in pins} == {}, "had and would get"
    moved = _resolved(["--quiet", "--no-deps", f"pillow>{pins['pillow']}"], tmp_path / "moved.json", python=python)
    assert set(moved) == {"pillow"}, "a floor above the service's version is seen"


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_the_install_resolves_for_the_services_python(
    pins: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = tmp_path / "pins.txt"
    fixed.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
    target = [*SERVICE, "--target", str(tmp_path / "target"), "-c", str(fixed)]
    found = _resolved([*target, *_wanted(pins, monkeypatch)], tmp_path / "report.json")
    assert {"numpy", "torch", "ipywidgets", "anywidget", "timm"} <= set(found)
