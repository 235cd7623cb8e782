"""`pano-med doctor`: versions, device, memory, disk, weights, what is missing and how to get it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from pano_med import __version__

#: Optional parts and how to get them: distribution -> (what it is for, how).
EXTRAS = {"jupyterlab": "lab", "ipywidgets": "lab", "anywidget": "lab"}
GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One line: `level` is ok, missing (a part you may want) or broken (something that will fail)."""

    level: str
    what: str
    value: str
    remedy: str = ""


def findings() -> list[Finding]:
    """Look at this machine and this installation."""
    return [*_software(), *_machine(), *_folders(), *_weights()]


def run(as_json: bool) -> int:
    """Print the findings; exit code 1 where something is broken."""
    found = findings()
    if as_json:
        print(json.dumps([asdict(f) for f in found], indent=1))
    else:
        width = max(len(f.what) for f in found)
        for f in found:
            print(f"{f.level:8}{f.what:{width}}  {f.value}" + (f"  -> {f.remedy}" if f.remedy else ""))
    return int(any(f.level == "broken" for f in found))


def _software() -> Iterator[Finding]:
    yield Finding("ok", "pano-med", __version__)
    yield Finding("ok", "python", f"{platform.python_version()} ({sys.executable})")
    for requirement in _requirements():
        name, _, extra = requirement.partition(";")
        name, _, floor = name.strip().partition(">=")
        if not extra:
            yield _package(name, floor, f"pip install '{name}>={floor}'")
    for name, extra in EXTRAS.items():
        yield _package(name, "", f"pip install 'pano-med[{extra}]'", "missing")


def _requirements() -> list[str]:
    """What the installed package asks for; in a copy that is not installed, what its pyproject.toml asks for."""
    try:
        return distribution("pano-med").requires or []
    except PackageNotFoundError:
        text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)["project"]["dependencies"]


def _package(name: str, floor: str, remedy: str, level: str = "broken") -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(level, name, "not installed", remedy)
    old = floor and _numbers(found) < _numbers(floor)
    return Finding("broken", name, f"{found}, older than {floor}", remedy) if old else Finding("ok", name, found)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split("+")[0].split(".") if part.isdigit()]


def _machine() -> Iterator[Finding]:
    yield Finding("ok", "system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("ok", "processor", f"{cores} cores")
    try:
        yield Finding("ok", "accelerator", _accelerator())
    except ImportError:
        yield Finding("broken", "accelerator", "unknown without torch", "pip install torch torchvision")
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
        small = memory < 4
        yield Finding(
            "missing" if small else "ok",
            "memory",
            f"{memory:.0f} GiB",
            "close other programs; 4 GiB is little" if small else "",
        )


def _accelerator() -> str:
    import torch

    if not torch.accelerator.is_available():
        return f"none; the CPU is enough for single images (torch uses {torch.get_num_threads()} threads)"
    device = torch.accelerator.current_accelerator()
    module = torch.get_device_module(device)
    return f"{device}: {module.get_device_name()}" if hasattr(module, "get_device_name") else str(device)


def _folders() -> Iterator[Finding]:
    for what, folder in (("disk here", Path.cwd()), ("disk of home", Path.home())):
        there = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(there).free / GIB
        if not os.access(there, os.W_OK):
            yield Finding("missing", what, f"{there} is read-only for you", "choose another folder with --out")
        else:
            yield Finding(
                "ok" if free > 1 else "missing", what, f"{free:.1f} GiB free", "" if free > 1 else "free some space"
            )
    data = os.environ.get("PANO_MED_DATA")
    if data and Path(data).is_dir():
        yield Finding("ok", "real images", data)
    else:
        said = f"PANO_MED_DATA is {data!r}, no folder" if data else "PANO_MED_DATA is not set"
        yield Finding("missing", "real images", said, "needed to train only: set it to their folder")


def _weights() -> Iterator[Finding]:
    try:
        from pano_med.weights import shipped
        from pano_med.weights.cards import HOME, check_file

        cards = shipped()
    except (ImportError, ValueError) as error:
        yield Finding("broken", "weights", str(error), "install pano-med again")
        return
    if not cards:
        yield Finding("broken", "weights", "none in this copy", "install pano-med again")
    for name, card in cards.items():
        try:
            check_file(HOME / f"{name}.safetensors", card)
        except (OSError, ValueError) as error:
            yield Finding("broken", f"weights {name}", str(error), "install pano-med again")
        else:
            yield Finding("ok", f"weights {name}", f"{card['bytes'] / 1e6:.1f} MB, hash checked")
