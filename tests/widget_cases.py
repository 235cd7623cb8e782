"""Small maps and a page's side of the comm, for the tests of the widgets."""

import io
from typing import Any

import numpy as np
from PIL import Image

from pano_med.types import HE_CORE, Panoptic

TUMOUR, OTHER = HE_CORE["tumour"].id, HE_CORE["other tissue"].id
NEOPLASTIC, INFLAMMATORY = HE_CORE["neoplastic nucleus"].id, HE_CORE["inflammatory nucleus"].id


def image(height: int = 24, width: int = 32) -> np.ndarray:
    """(H, W, 3) uint8 in which no two neighbours are alike."""
    return np.arange(height * width * 3).reshape(height, width, 3).astype(np.uint8)


def tissue_map(pixel_size_um: float | None = 0.5, first: int = 1) -> Panoptic:
    """24 x 32: tumour left, other tissue right, two touching nuclei, one apart, a void corner."""
    ids = np.full((24, 32), first)
    ids[:, 16:] = first + 1
    ids[4:10, 2:8], ids[4:10, 8:13], ids[14:20, 20:27] = first + 2, first + 3, first + 4
    ids[21:, 29:] = 0
    kinds = (TUMOUR, OTHER, NEOPLASTIC, NEOPLASTIC, INFLAMMATORY)
    scores = {first + 2: 0.9, first + 3: 0.8, first + 4: 0.7}
    return Panoptic.from_ids(ids, {first + i: k for i, k in enumerate(kinds)}, HE_CORE, pixel_size_um, scores)


def void_map(height: int, width: int) -> Panoptic:
    """A map without segments."""
    return Panoptic.from_ids(np.zeros((height, width), int), {}, HE_CORE)


def read_ids(png: bytes) -> np.ndarray:
    """What a page reads: R + 256 G + 65536 B."""
    return np.asarray(Image.open(io.BytesIO(png))).astype(np.int64) @ [1, 256, 65536]


def from_page(widget: Any, **state: Any) -> None:
    """What arrives when the page saves changes, through ipywidgets' own door."""
    message = {"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []}
    widget._handle_msg(message)


def message_from_page(widget: Any, content: dict[str, Any]) -> None:
    """What arrives when the page calls model.send."""
    widget._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})
