"""Checkpoints: tensors as safetensors, the rest as JSON, never pickle; a kill at any moment leaves a whole one.

A run's folder holds `last.json` and `best.json`; each names the safetensors file that belongs to it. The tensors are
written first, then the JSON is renamed into place: that rename is the moment when a checkpoint comes to be.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pano_med.types import Taxonomy

#: Number of the layout, raised when it changes.
FORMAT = 1


def write(folder: Path, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Write one checkpoint, whole or not at all, then drop the one it replaces.

    Args:
        folder: of the run.
        name: "last" or "best".
        tensors: anything; stored as they are.
        facts: JSON-ready; `facts["step"]` names the file.

    Returns:
        Path of the JSON.

    Raises:
        OSError: the disk is full or read-only; what was there before is still whole.
    """
    data, table = folder / f"{name}-{facts['step']:08d}.safetensors", folder / f"{name}.json"
    part = data.with_suffix(".part")
    try:
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, part)
        _settle(part, data)
        write_text(table, json.dumps({"format": FORMAT, "tensors": data.name, **facts}, indent=1))
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise OSError(f"the checkpoint could not be written to {folder}: {error}; the one before is kept") from error
    for old in folder.glob(f"{name}-*.safetensors"):
        if old != data:
            old.unlink()
    return table


def clean(folder: Path) -> None:
    """Drop the unfinished files that a kill in the middle of writing has left."""
    for part in folder.glob("*.part"):
        part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new one, never half."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        _settle(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def read(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and facts of a checkpoint.

    Raises:
        FileNotFoundError: no checkpoint of that name.
        ValueError: broken files; the message says which.
    """
    table = folder / f"{name}.json"
    if not table.is_file():
        raise FileNotFoundError(f"there is no checkpoint to resume in {folder}: {table.name} is missing")
    try:
        facts = json.loads(table.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']} where this version reads format {FORMAT}")
        return load_file(folder / facts["tensors"]), facts
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the checkpoint {table} cannot be read: {error}") from error


def pack(model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """One flat table of tensors: `model.*`, `ema.*` and `optim.<parameter>.<slot>`."""
    flat = {f"model.{k}": v for k, v in model.state_dict().items()}
    flat |= {f"ema.{k}": v for k, v in average.state_dict().items()}
    for name, parameter in model.named_parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            flat[f"optim.{name}.{slot}"] = torch.as_tensor(value)
    return flat


def unpack(
    flat: Mapping[str, Tensor], model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Inverse of `pack`, in place.

    Raises:
        ValueError: the tensors belong to another network.
    """
    try:
        model.load_state_dict(_under(flat, "model."))
        average.load_state_dict(_under(flat, "ema."))
    except RuntimeError as error:
        raise ValueError(f"the checkpoint belongs to another network than the one given: {error}") from error
    slots = _under(flat, "optim.")
    for name, parameter in model.named_parameters():
        mine = {k.removeprefix(f"{name}."): v for k, v in slots.items() if k.rpartition(".")[0] == name}
        if mine:  # the step counter of AdamW stays on the CPU, moments live with their parameter
            optimizer.state[parameter] = {
                k: v.clone() if k == "step" else v.to(parameter.device, copy=True) for k, v in mine.items()
            }


def load_weights(model: nn.Module, folder: Path, name: str = "best") -> dict[str, Any]:
    """Fill a model with the averaged weights of a run's checkpoint; returns the facts stored beside them.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: broken, of another network, or of another taxonomy.
    """
    flat, facts = read(Path(folder), name)
    same_taxonomy(facts, model)
    try:
        model.load_state_dict(_under(flat, "ema."))
    except RuntimeError as error:
        raise ValueError(f"the checkpoint belongs to another network than the one given: {error}") from error
    return facts


def same_taxonomy(facts: Mapping[str, Any], model: nn.Module) -> None:
    """Raise ValueError where a checkpoint speaks another table of classes than the model."""
    taxonomy, stored = getattr(model, "taxonomy", None), facts.get("taxonomy")
    if taxonomy is not None and stored is not None and not same_classes(Taxonomy.from_dict(stored), taxonomy):
        raise ValueError(f"the checkpoint was trained for the taxonomy {tell(Taxonomy.from_dict(stored))}, the model "
                         f"speaks {tell(taxonomy)}; build the model with the checkpoint's taxonomy")


def same_classes(one: Taxonomy, other: Taxonomy) -> bool:
    """True where two taxonomies differ in colours or their own name at most."""
    a, b = ([(c.id, c.name, c.isthing, c == t.unclassed) for c in t.all] for t in (one, other))
    return a == b


def tell(taxonomy: Taxonomy) -> str:
    """A taxonomy in a few words."""
    return f"{taxonomy.name!r} ({', '.join(c.name for c in taxonomy.channels)})"


def _under(flat: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in flat.items() if k.startswith(prefix)}


def _settle(part: Path, final: Path) -> None:
    """Push a finished file to the disk, then give it its name (atomic on one file system)."""
    part.chmod(0o644)  # safetensors writes files that only their owner may read
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(final)
