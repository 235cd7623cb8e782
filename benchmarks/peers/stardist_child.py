"""The other end of `stardist.py`, run by the Python that has TensorFlow and StarDist. Knows nothing of pano_med.

Crops come in, their numbers say "no nucleus" by 0 and "nobody knows" by -1. The network is that of the published H&E
model: 32 rays on a grid of 2; Adam at StarDist's own rate. A checkpoint each minute: safetensors and JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

# Only after the library's own place, because a file here has the library's name.
sys.path.append(str(Path(__file__).parent))

import numpy as np
from frames import receive, send
from safetensors.numpy import load_file, save_file
from stardist.models import Config2D, StarDist2D
from stardist.models.model2d import StarDistData2D

RAYS, GRID = 32, (2, 2)


def build() -> StarDist2D:
    """The network, with an optimiser."""
    model = StarDist2D(Config2D(n_rays=RAYS, grid=GRID, n_channel_in=3), name=None, basedir=None)
    model.prepare_for_training()
    model.keras_model.optimizer.build(model.keras_model.trainable_variables)
    return model


def variables(model: StarDist2D) -> dict[str, Any]:
    """All that a step depends on."""
    net = model.keras_model
    return {**{f"model.{i}": v for i, v in enumerate(net.variables)},
            **{f"optimizer.{i}": v for i, v in enumerate(net.optimizer.variables)}}  # fmt: skip


def save(model: StarDist2D, folder: Path, facts: dict[str, Any]) -> None:
    """Tensors first, then the JSON that names them, then the old ones go."""
    data = folder / f"last-{facts['step']:08d}.safetensors"
    part = data.with_suffix(".part")
    save_file({k: np.asarray(v.numpy(), order="C") for k, v in variables(model).items()}, part)
    part.replace(data)
    part = folder / "last.json.part"
    part.write_text(json.dumps({**facts, "tensors": data.name}), encoding="utf-8")
    part.replace(folder / "last.json")
    for old in folder.glob("last-*.safetensors"):
        if old != data:
            old.unlink()


def restore(model: StarDist2D, folder: Path) -> dict[str, Any] | None:
    """Take the last checkpoint, if there is one."""
    path = folder / "last.json"
    if not path.exists():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    stored = load_file(folder / facts["tensors"])
    for name, variable in variables(model).items():
        variable.assign(stored[name])
    return facts


def train(folder: Path, came: BinaryIO, went: BinaryIO) -> None:
    """A step for each batch that comes, until the budget is spent."""
    model = build()
    facts = restore(model, folder)
    send(went, {})
    kept, _ = receive(came)
    config = kept["config"]
    facts = facts or {"format": 1, "step": 0, "total": None, "seconds": 0.0, **kept}
    began = saved = time.monotonic() - facts["seconds"]
    budget = 60 * config["minutes"] if config["minutes"] else float("inf")
    loss = 0.0
    while True:
        facts["seconds"] = time.monotonic() - began
        done = facts["seconds"] >= budget or facts["step"] == config["steps"]
        if done or time.monotonic() - saved > 60:
            save(model, folder, facts)
            saved = time.monotonic()
        send(went, {"step": facts["step"], "loss": loss, "done": done})
        if done:
            return
        loss = step(model, *receive(came)[1])
        facts["step"] += 1


def step(model: StarDist2D, images: np.ndarray, ids: np.ndarray) -> float:
    """One step on (B, H, W, 3) images 0..1 and (B, H, W) numbers; its loss."""
    data = StarDistData2D(list(images), [i.copy() for i in ids], batch_size=len(images), n_rays=RAYS, length=1,
                          patch_size=images.shape[1:3], grid=GRID, foreground_prob=0)
    x, y = data[0]
    loss = float(np.ravel(model.keras_model.train_on_batch(x, y))[0])
    if not np.isfinite(loss):
        raise FloatingPointError("the loss is no number; the last checkpoint is kept")
    return loss


def predict(folder: Path, came: BinaryIO, went: BinaryIO) -> None:
    """A map for each (H, W, 3) image that comes."""
    model = build()
    if restore(model, folder) is None:
        raise FileNotFoundError(f"there is no checkpoint in {folder}")
    send(went, {"parameters": model.keras_model.count_params()})
    while True:
        try:
            _, (image,) = receive(came)
        except EOFError:
            return
        ids, _ = model.predict_instances(image, verbose=False)
        send(went, {"peak_mib": peak_mib()}, [ids.astype(np.int32)])


def peak_mib() -> float:
    """The most memory that this process held (Linux); nan elsewhere."""
    path = Path("/proc/self/status")
    return int(path.read_text().split("VmHWM:")[1].split()[0]) / 1024 if path.exists() else float("nan")


if __name__ == "__main__":
    # What libraries print must not come between the messages.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    {"train": train, "predict": predict}[sys.argv[1]](Path(sys.argv[2]), sys.stdin.buffer, answers)
