"""Cards and small copies of published layouts, for tests of the data room."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from scipy.io import savemat

from pano_med.data import Card, card, read_card
from pano_med.types import Sample

PINK = (230, 150, 190)


def put(path: Path, array: np.ndarray) -> None:
    """Write an array as the image that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(h: int, w: int, alpha: bool = False) -> np.ndarray:
    """(h, w, 3) of one pink; with `alpha` (h, w, 4), half transparent."""
    rgb = np.full((h, w, 3), PINK, np.uint8)
    return np.dstack([rgb, np.full((h, w), 128, np.uint8)]) if alpha else rgb


def boxes(h: int, w: int, *places: tuple[int, int, int, int, int], dtype: type = np.uint8) -> np.ndarray:
    """A map with a value in each (top, left, bottom, right, value)."""
    out = np.zeros((h, w), dtype)
    for top, left, bottom, right, value in places:
        out[top:bottom, left:right] = value
    return out


def mat(path: Path, **arrays: np.ndarray) -> None:
    """Write a MATLAB file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, arrays)


def changed(source: str, folder: Path, **fields: Any) -> Card:
    """The card of a set with some fields of its front matter replaced, read from a file of its own."""
    front = {**card(source).front, **fields}
    path = folder / f"{front['name'] if isinstance(front['name'], str) else source}.md"
    folder.mkdir(parents=True, exist_ok=True)
    front = {key: value for key, value in front.items() if value is not None}
    path.write_text(f"---\n{yaml.safe_dump(front)}---\n\n# A title\n\nProse.\n", "utf-8")
    return read_card(path)


def names(sample: Sample) -> list[str]:
    """Class of each segment, sorted."""
    return sorted(sample.truth.taxonomy[s.category_id].name for s in sample.truth.segments)


def at(sample: Sample, row: int, column: int) -> str:
    """Class of the pixel, "" where nothing is."""
    semantic = int(sample.truth.semantic()[row, column])
    return sample.truth.taxonomy[semantic].name if semantic else ""
