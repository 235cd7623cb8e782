"""Write and read weights files: fp16 safetensors that carry the network's configuration and taxonomy in the header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pano_med import models
from pano_med.formats import sha256_of
from pano_med.types import HE_CORE, Taxonomy
from pano_med.weights.cards import FORMAT, HOME, check_card, check_file, read_card, shipped

#: The weights that are used where nobody names any.
DEFAULT = "he-nano"
#: Median diameter of a nucleus in micrometres where a card does not say.
NUCLEUS_UM = 7.0

# The header of a weights file: one entry that holds the card, less what only the finished file can tell.
_HEADER = "pano_med"
_IN_HEADER = ("format", "name", "config", "taxonomy", "model_mpp")


@dataclass(frozen=True)
class LoadedWeights:
    """A network ready to predict, and what its card says.

    Attributes:
        model: in eval mode, float32.
        meta: the card: name, config, taxonomy, model_mpp, and what `save` was told (data, recipe, scores, licence,
            types_validated).
    """

    model: nn.Module
    meta: Mapping[str, Any]

    @property
    def taxonomy(self) -> Taxonomy:
        """The table that the network speaks."""
        return self.model.taxonomy  # type: ignore[return-value]

    @property
    def model_mpp(self) -> float:
        """Micrometres per pixel that the network works at."""
        return float(self.meta["model_mpp"])

    @property
    def nucleus_um(self) -> float | None:
        """Median diameter of the nuclei that it finds, to guess a pixel size by; None where it finds other things."""
        known = self.meta.get("nucleus_um", NUCLEUS_UM if self.taxonomy == HE_CORE else None)
        return None if known is None else float(known)

    @property
    def types_validated(self) -> bool:
        """Whether the types of things were checked on labelled things of patients that training did not see."""
        return bool(self.meta.get("types_validated", False))


def save(model: nn.Module, path: str | Path, card: Mapping[str, Any]) -> Path:
    """Write `path` (fp16 safetensors) and its card (`.json` beside it).

    Args:
        model: with `config` and `taxonomy`, as the networks of `pano_med.models` have them.
        path: ends with .safetensors; its stem is the name of the weights.
        card: JSON-ready. Needs "model_mpp"; say also "licence", "data", "recipe", "scores", and "types_validated": True
            once classed things of other patients have shown that types can be relied on (False where it is missing).

    Returns:
        The path of the weights file.

    Raises:
        ValueError: no model_mpp, another suffix, or a weight that is not finite.
        OSError: the disk is full or read-only.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a weights file ends with .safetensors, got {path.name}")
    mpp = card.get("model_mpp")
    if not isinstance(mpp, int | float) or not mpp > 0:
        raise ValueError(f"a card needs model_mpp, the micrometres per pixel of the network, got {mpp!r}")
    head = {"types_validated": False, **card, "format": FORMAT, "name": path.stem, "config": model.config,
            "taxonomy": model.taxonomy.to_dict()}
    tensors = {name: _halve(name, tensor) for name, tensor in model.state_dict().items()}
    part = path.with_suffix(".part")
    try:
        save_file(tensors, part, {_HEADER: json.dumps(head)})
        part.chmod(0o644)
        _settle(part, path)
        facts = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        part.write_text(json.dumps({**head, **facts}, indent=1) + "\n", encoding="utf-8")
        _settle(part, path.with_suffix(".json"))
    except (OSError, SafetensorError) as error:
        raise OSError(f"the weights could not be written to {path}: {error}") from error
    return path


def load(name_or_path: str | Path = DEFAULT, device: str | torch.device = "cpu",
         taxonomy: Taxonomy | None = None) -> LoadedWeights:
    """Load weights that ship with the package (by name) or a file; the card beside a file is checked where it is.

    Args:
        name_or_path: a name of `shipped()` or the path of a .safetensors file.
        device: where the network goes.
        taxonomy: the table that the caller needs; None = whatever the weights speak.

    Raises:
        FileNotFoundError: neither a name nor a file.
        ValueError: truncated, changed, from elsewhere, another taxonomy, or tensors that do not fit the network.
    """
    path = find(name_or_path)
    beside = path.with_suffix(".json")
    card = read_card(beside) if beside.is_file() else None
    if card is not None:
        check_file(path, card)
    head, tensors = _read(path)
    speaks = Taxonomy.from_dict(head["taxonomy"])
    if taxonomy is not None and speaks != taxonomy:
        raise ValueError(f"{path} speaks taxonomy {speaks.name!r} ({', '.join(c.name for c in speaks.all)}), asked "
                         f"for was {taxonomy.name!r} ({', '.join(c.name for c in taxonomy.all)})")
    model = models.build(head["config"])
    if model.taxonomy != speaks:
        raise ValueError(f"{path} is inconsistent: its network speaks {model.taxonomy.name!r}, its header "
                         f"{speaks.name!r}; save it again with pano_med.weights.save")
    _fill(model, tensors, path)
    return LoadedWeights(model.to(device).eval(), card or head)


def find(name_or_path: str | Path) -> Path:
    """The file of weights, by name or path as `load` takes it.

    Raises:
        FileNotFoundError: neither a name nor a file.
    """
    inside = HOME / f"{name_or_path}.json"
    if isinstance(name_or_path, str) and inside.parent == HOME and inside.is_file():
        return inside.with_suffix(".safetensors")
    path = Path(name_or_path)
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights {str(name_or_path)!r}: give a .safetensors file or one of "
                                f"{', '.join(shipped()) or '(none ship with this copy)'}")
    return path


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and float32 tensors of a weights file."""
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads((file.metadata() or {}).get(_HEADER, "null"))
            check_card(head, path, _IN_HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as safetensors ({error}): truncated, or another kind of file"
        ) from error
    return head, {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    for what, names in (
        ("lacks", [k for k in own if k not in tensors]),
        ("has too many:", [k for k in tensors if k not in own]),
        ("has in another shape", [k for k in own if k in tensors and own[k].shape != tensors[k].shape]),
    ):
        if names:
            raise ValueError(f"{path} does not fit its network, it {what} {len(names)} tensors (first: {names[0]})")
    model.load_state_dict(tensors)


def _halve(name: str, tensor: Tensor) -> Tensor:
    """fp16 where that holds the values (a running variance may not fit: it stays fp32)."""
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not tensor.isfinite().all():
        raise ValueError(f"weights must be finite, {name} holds nan or inf: did the training diverge?")
    half = tensor.half()
    return half if half.isfinite().all() else tensor.float()


def _settle(part: Path, final: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(final)
