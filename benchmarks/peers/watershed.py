"""scikit-image alone: haematoxylin, Otsu, distance transform, watershed. Nothing is learned."""

from __future__ import annotations

from pathlib import Path

from pano_med.lessons.classical import watershed
from peers.peer import Method


def load(folder: Path) -> Method:
    """The textbook method with its default numbers; no folder is needed."""
    return Method(watershed, 0)
