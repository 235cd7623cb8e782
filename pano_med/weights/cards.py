"""Cards: the JSON beside a weights file. No torch here, so that a listing is quick."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pano_med.formats import sha256_of

#: Folder of the weights that ship with the package.
HOME = Path(__file__).parent
#: Number of the layout of card and header, raised when it changes.
FORMAT = 1
#: What a card must say; `save` writes these itself.
REQUIRED = ("format", "name", "bytes", "sha256", "config", "taxonomy", "model_mpp")


def shipped() -> dict[str, dict[str, Any]]:
    """The cards of the weights in the package, by name."""
    return {path.stem: read_card(path) for path in sorted(HOME.glob("*.json"))}


def read_card(path: Path) -> dict[str, Any]:
    """A card as a dictionary.

    Raises:
        ValueError: not JSON, or a required entry is missing.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"the card {path} cannot be read: {error}") from error
    check_card(card, path, REQUIRED)
    return dict(card)


def check_card(card: object, path: Path, required: tuple[str, ...]) -> None:
    """Raise ValueError unless the card is of this format and has the required entries."""
    if not isinstance(card, Mapping) or (missing := [k for k in required if k not in card]):
        lacking = ", ".join(missing) if isinstance(card, Mapping) else "everything"
        raise ValueError(f"the card of {path} lacks {lacking}; save weights with pano_med.weights.save")
    if card["format"] != FORMAT:
        raise ValueError(f"{path} has card format {card['format']}, this version reads {FORMAT}; update pano_med")


def check_file(path: Path, card: Mapping[str, Any]) -> None:
    """Raise ValueError unless size and hash of a weights file are those of its card."""
    size = path.stat().st_size
    if size != card["bytes"]:
        raise ValueError(f"{path} has {size} bytes, its card says {card['bytes']}: the file is truncated or was "
                         "replaced; install or download it again")
    found = sha256_of(path)
    if found != card["sha256"]:
        raise ValueError(f"{path} has the hash {found[:12]}, its card says {card['sha256'][:12]}: the file is damaged "
                         "or was changed; install or download it again")
