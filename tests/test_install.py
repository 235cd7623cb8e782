"""What the notebooks' install cell asks of a notebook service: its own versions stay."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
#: The service's Python.
SERVICE = ["--python-version", "3.13", "--only-binary=:all:"]


@pytest.fixture(scope="module")
def pins() -> Path:
    """The versions of Colab, kept beside the real images."""
    root = os.environ.get("PANO_MED_DATA")
    path = Path(root).parent / "reference" / "colab-pins.txt" if root else None
    if path is None or not path.is_file():
        pytest.skip("no list of a notebook service's versions: reference/colab-pins.txt beside PANO_MED_DATA")
    return path


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


@pytest.mark.slow
def test_the_install_resolves_and_moves_no_pinned_package(pins: Path, tmp_path: Path) -> None:
    target = ["--target", str(tmp_path / "target")]
    probe = subprocess.run([*PIP, *SERVICE, *target, "--no-deps", "pooch"], capture_output=True, text=True, timeout=300)
    if probe.returncode:
        pytest.skip(f"pip cannot reach a package index: {probe.stderr.strip()[-200:]}")
    report = tmp_path / "report.json"
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["lab"]
    command = [*PIP, *SERVICE, *target, "-c", str(pins), "--report", str(report), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    installs = [item["metadata"] for item in json.loads(report.read_text(encoding="utf-8"))["install"]]
    found = {_name(item["name"]): item["version"] for item in installs}
    kept = dict(line.strip().split("==") for line in pins.read_text(encoding="utf-8").splitlines() if "==" in line)
    kept = {_name(name): version for name, version in kept.items()}
    assert {"numpy", "torch", "ipywidgets", "anywidget"} <= set(kept) & set(found)
    assert {name: found[name] for name in kept if name in found} == {name: kept[name] for name in kept if name in found}
