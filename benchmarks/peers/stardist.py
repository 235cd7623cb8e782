"""StarDist (Schmidt et al. 2018) in a Python of its own, because TensorFlow wants other versions than we do.

    python3 -m venv stars && stars/bin/pip install tensorflow-cpu stardist safetensors
    export PANO_MED_STARDIST=stars/bin/python

Crops go to it and maps come back through a pipe (`frames.py`); `stardist_child.py` is the other end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pano_med.training import TrainConfig
from pano_med.training.batches import Batches, fingerprint
from pano_med.training.recipe import Ingredients
from pano_med.types import HE_CORE
from peers.budget import crops, facts, labels, nuclei_only
from peers.frames import receive, send
from peers.peer import Method, at_model_scale

#: Environment variable with the path of the other Python.
PYTHON = "PANO_MED_STARDIST"
HOW = ("`python3 -m venv stars`, `stars/bin/pip install tensorflow-cpu stardist safetensors`, then set "
       f"{PYTHON}=stars/bin/python")


def absent() -> str:
    """Why it cannot run, or ""."""
    python = os.environ.get(PYTHON)
    if python and Path(python).is_file():
        return ""
    return f"StarDist is not installed: {HOW}" if not python else f"{PYTHON}={python} is no file: {HOW}"


class Child:
    """The other Python at work; it ends with this object."""

    def __init__(self, *words: str) -> None:
        if reason := absent():
            raise ImportError(reason)
        program = Path(__file__).with_name("stardist_child.py")
        # -I: our own stardist.py beside it must not stand in front of the library
        command = [os.environ[PYTHON], "-I", str(program), *words]
        # one TensorFlow thread per torch thread
        threads = str(torch.get_num_threads())
        env = {**os.environ, "OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads,
               "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.hello = self.hear()[0]

    def ask(self, said: Mapping[str, Any], *arrays: np.ndarray) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Send a message, wait for the answer."""
        assert self._process.stdin is not None
        send(self._process.stdin, said, arrays)
        return self.hear()

    def hear(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """The next message."""
        assert self._process.stdout is not None
        try:
            return receive(self._process.stdout)
        except EOFError as error:
            self.close()
            raise OSError(f"StarDist's process ended with code {self._process.returncode}; what it said stands above"
                          ) from error

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()  # closes its input, which is the sign


def star_targets(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """"ids", (H, W) int32: numbers of nuclei; -1 where nothing is known, which StarDist leaves out of its loss."""
    return {"ids": labels(target["masks"]).masked_fill(target["ignore"], -1)}


def train(parts: Ingredients, config: TrainConfig, folder: Path) -> None:
    """Train, or go on, in a folder; the clock runs in the other process."""
    parts = nuclei_only(parts)
    config = replace(config, source_weights=parts.weights)
    folder.mkdir(parents=True, exist_ok=True)
    before = facts(folder)
    kept = {"config": config.to_dict(), "samples": fingerprint(parts.train)}
    changed = [k for k in kept if before and before[k] != kept[k]]
    if changed:
        raise ValueError(f"{folder} holds a run with another {' and other '.join(changed)}; give the same options as "
                         "then, or another --out")
    batches, child = Batches(parts.train, crops(config, star_targets), config, HE_CORE), Child("train", str(folder))
    try:
        told, _ = child.ask(kept)
        while not told["done"]:
            made = batches.get(told["step"])
            images = np.stack([i.numpy() for b in made for i in b.images]).transpose(0, 2, 3, 1)
            ids = np.stack([t["ids"].numpy() for b in made for t in b.targets])
            told, _ = child.ask({}, images, ids)
            print(f"\rstep {told['step']}, loss {told['loss']:.3f}", end="", file=sys.stderr)
    finally:
        batches.close()
        child.close()


def load(folder: Path) -> Method:
    """The trained network, its thresholds as they come: 0.5 for a nucleus, 0.4 for overlap."""
    child = Child("predict", str(folder))
    peak = [0.0]

    def label(image: Tensor) -> np.ndarray:
        told, (ids,) = child.ask({}, np.ascontiguousarray(image.numpy().transpose(1, 2, 0)))
        peak[0] = told["peak_mib"]
        return ids

    mpp = float((facts(folder) or {})["config"]["model_mpp"])
    return Method(at_model_scale(label, mpp), int(child.hello["parameters"]), lambda: peak[0], child.close)
