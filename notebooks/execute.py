"""Runs notebooks, each once for one state of notebook, package and libraries; tests and the book share the result.

`python notebooks/execute.py` runs them all; `executed(path)` runs one and returns the copy with its outputs.
"""

import hashlib
import importlib.metadata
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

__all__ = ["NOTEBOOKS", "CellExecutionError", "executed"]

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
OUT = ROOT / "build" / "executed"
#: What the learner has not written yet may stop a cell of a student's notebook, and nothing else may.
STUB = "NotImplementedError"


def executed(path: Path, out: Path = OUT, cell_timeout: int = 900) -> Path:
    """Runs a notebook in this Python, or finds it run already.

    Args:
        path: A notebook under `notebooks/`; it is not changed.
        out: Where executed notebooks are kept.
        cell_timeout: Seconds that one cell may take; a lesson that trains waits for two minutes on a quiet machine.

    Returns:
        The executed copy. Its metadata hold `pano_med.seconds`, how long all cells took together.

    Raises:
        CellExecutionError: A cell failed; in a student's notebook, other than by a stub.
    """
    target = out / path.relative_to(NOTEBOOKS)
    notebook = nbformat.read(path, as_version=4)
    key = _key(path)
    if target.exists() and nbformat.read(target, as_version=4).metadata.get("pano_med", {}).get("key") == key:
        return target
    allowed = [] if path.parent.name == "instructor" else [STUB]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:  # what a lesson writes stays out of the repository
        client = NotebookClient(notebook, timeout=cell_timeout, startup_timeout=120, allow_error_names=allowed)
        client.resources = {"metadata": {"path": folder}}
        client.execute()
    notebook.metadata["pano_med"] = {"key": key, "seconds": round(time.monotonic() - started, 1)}
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return target


def _key(path: Path) -> str:
    """Changes whenever running the notebook could give something else."""
    digest = hashlib.sha256(path.read_bytes())
    for file in sorted(p for p in (ROOT / "pano_med").rglob("*") if p.is_file() and p.suffix != ".pyc"):
        digest.update(f"{file.relative_to(ROOT)}".encode())
        digest.update(file.read_bytes())
    packages = sorted({f"{d.name} {d.version}" for d in importlib.metadata.distributions()})  # some twice
    digest.update(f"{sys.version} {packages} {Path(__file__).read_text('utf-8')}".encode())
    return digest.hexdigest()


def main() -> None:
    """Runs every notebook and prints how long each took."""
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            seconds = nbformat.read(executed(path), as_version=4).metadata["pano_med"]["seconds"]
            print(f"{seconds:6.1f} s  {path.relative_to(NOTEBOOKS)}", flush=True)


if __name__ == "__main__":
    main()
