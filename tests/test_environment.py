"""pyproject.toml, environment.yml, the constraints and the Makefile say the same."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import pano_med

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: conda-forge's name where it differs from PyPI's.
CONDA = {"matplotlib": "matplotlib-base", "torch": "pytorch"}


def _floors(lines: list[str]) -> dict[str, str]:
    """{'numpy': '2.1'} from ['numpy>=2.1']; anything but one floor is an error."""
    pairs = [re.fullmatch(r"([A-Za-z0-9_-]+)>=([\d.]+)", line) for line in lines]
    assert all(pairs), f"each requirement is NAME>=FLOOR and nothing else: {lines}"
    return {p[1]: p[2] for p in pairs if p}


def test_environment_yml_agrees_with_pyproject() -> None:
    wanted = _floors(PROJECT["dependencies"]) | _floors(PROJECT["optional-dependencies"]["lab"])
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    conda = _floors([line for line in listed if isinstance(line, str) and line != "pip"])
    pip = _floors(next(line["pip"] for line in listed if isinstance(line, dict)))
    assert f">={conda.pop('python')}" == PROJECT["requires-python"]
    assert conda | pip == {name if name in pip else CONDA.get(name, name): v for name, v in wanted.items()}


def test_extras_are_floors_too() -> None:
    for extra, lines in PROJECT["optional-dependencies"].items():
        assert _floors(lines), extra


def test_constraints_are_not_below_the_floors() -> None:
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    floors = _floors(PROJECT["dependencies"])
    assert {"torch", "torchvision"} <= set(pins) <= set(floors)
    for name, pin in pins.items():
        assert [int(n) for n in pin.split(".")] >= [int(n) for n in floors[name].split(".")], name


def test_every_dependency_is_used() -> None:
    modules = {"lightning-fabric": "lightning_fabric", "openslide-python": "openslide", "pillow": "PIL",
               "pyyaml": "yaml", "scikit-image": "skimage"}  # fmt: skip
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "pano_med").rglob("*.py"))
    # torchmetrics asks for pycocotools at run time only, openslide-bin is openslide's library; matplotlib and nibabel
    # are for the lessons to come.
    spared = {"pycocotools", "openslide-bin", "matplotlib", "nibabel"}
    unused = [
        name
        for name in _floors(PROJECT["dependencies"])
        if name not in spared and not re.search(rf"^\s*(import|from) {modules.get(name, name)}\b", source, re.MULTILINE)
    ]
    assert not unused


def test_the_version_is_in_the_changelog() -> None:
    assert f"## {pano_med.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["demo", "test", "test-all", "notebooks", "book", "bench", "lint"])
def test_make_knows_its_targets(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", "PYTHON=python3", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ".venv/bin" in done.stdout


def test_ci_script_is_sound() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111, "it must be executable"
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", str(script)], check=True)
