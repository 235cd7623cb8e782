"""LayerLens: what each part of a network made of an image, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from pano_med.lessons.recorded import Layer
from pano_med.widgets.base import Picture, code
from pano_med.widgets.layer import as_rgb, image_bytes

#: Eighteen colours of viridis (van der Walt & Smith 2015), 15 steps apart; people with any common colour blindness
#: see it grow lighter from end to end.
VIRIDIS = (
    "440154 481769 472a7a 433d84 3d4e8a 355e8d 2e6d8e 297b8e 23898e 1f978b 21a585 2eb37c 46c06f 65cb5e 89d548 b0dd2f "
    "d8e219 fde725"
)
#: Maps in the grid, and their side in the static picture.
GRID, _SIDE = 16, 96


class LayerLens(Picture):
    """Looks into a network: a list of its modules, the maps of the chosen one, and where in the image a cell looks.

    Choose a module in the table, a channel in the grid or with the slider, and move over the map: the value of the
    cell is told, and the image shows the cell and how far it looks. Arrows, + and - work on map and image.

    Args:
        layers: from `pano_med.lessons.layers.record(model, image)`.
        image: (H, W, 3) uint8, the image that flowed through the network; None leaves it out.
        title: a line above.

    Raises:
        ValueError: no layers.
        TypeError: layers that are none, or an image that is none.
    """

    _esm, _css = code("lens").values()
    image = traitlets.Bytes().tag(sync=True)
    size = traitlets.List().tag(sync=True)  # (H, W) of the image
    layers = traitlets.List().tag(sync=True)
    colors = traitlets.Bytes().tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)

    def __init__(self, layers: Sequence[Layer], image: np.ndarray | None = None, title: str = "") -> None:
        self._layers, self._rgb = _checked(layers), None if image is None else as_rgb(image)
        picture = b"" if self._rgb is None else image_bytes(self._rgb)
        super().__init__(
            image=picture, size=[] if self._rgb is None else list(self._rgb.shape[:2]), title=title,
            layers=[_row(layer) for layer in self._layers], colors=viridis().tobytes(), shown=_maps(self._layers[0]),
        )  # fmt: skip
        self.observe(self._choose, "chosen")

    def _choose(self, change: Any) -> None:
        number, count = change["new"], len(self._layers)
        if not 0 <= number < count:
            self.chosen = change["old"]
            raise ValueError(f"`chosen` is the number of a layer, 0 to {count - 1}, got {number}")
        self.shown = _maps(self._layers[number])

    def still(self) -> np.ndarray:
        """The image beside the strongest maps of the chosen layer."""
        maps = self._layers[self.chosen].maps[:GRID]
        table, empty = viridis(), np.full((_SIDE, _SIDE, 3), 255, np.uint8)
        cells = [_enlarged(table[m], (_SIDE, _SIDE), Image.Resampling.NEAREST) for m in maps]
        cells += [empty] * (GRID - len(cells))
        framed = [np.pad(cell, ((2, 2), (2, 2), (0, 0)), constant_values=255) for cell in cells]
        grid = np.concatenate([np.concatenate(framed[i : i + 4], 1) for i in range(0, GRID, 4)])
        if self._rgb is None:
            return grid
        height, width = self._rgb.shape[:2]
        picture = _enlarged(self._rgb, (round(width * len(grid) / height), len(grid)), Image.Resampling.BICUBIC)
        return np.concatenate([picture, np.full((len(grid), 12, 3), 255, np.uint8), grid], 1)

    def alt(self) -> str:
        """What the static picture shows."""
        layer = self._layers[self.chosen]
        maps = f"the {min(GRID, len(layer.maps))} strongest maps of {layer.name} ({layer.kind}, {_size(layer)})"
        return f"An image and {maps}." if self._rgb is not None else f"{maps[0].upper()}{maps[1:]}."


def viridis() -> np.ndarray:
    """(256, 3) uint8: the colours of 0..255, between the eighteen of `VIRIDIS`."""
    known = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in VIRIDIS.split()], float)
    places, at = np.linspace(0, 255, len(known)), np.arange(256)
    return np.stack([np.interp(at, places, channel) for channel in known.T], 1).round().astype(np.uint8)


def _checked(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    if isinstance(layers, Layer):
        layers = (layers,)
    try:
        layers = tuple(layers)
    except TypeError:
        raise TypeError(f"LayerLens takes a list of layers, got {type(layers).__name__}; "
                        "make them with pano_med.lessons.layers.record(model, image)") from None
    for number, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"LayerLens takes layers, number {number} is {type(layer).__name__}; "
                            "make them with pano_med.lessons.layers.record(model, image)")
    if not layers:
        raise ValueError("LayerLens needs at least one layer, got none; record(model, image) makes them")
    return layers


def _row(layer: Layer) -> dict[str, Any]:
    return {"name": layer.name, "kind": layer.kind, "size": _size(layer), "parameters": layer.parameters}


def _size(layer: Layer) -> str:
    return " × ".join(map(str, layer.shape))


def _maps(layer: Layer) -> dict[str, Any]:
    """What the page needs of one layer; it travels when the layer is chosen."""
    return {
        "data": layer.maps.tobytes(), "cells": list(layer.maps.shape), "shape": list(layer.shape),
        "channels": layer.channels.tolist(), "low": layer.low.tolist(), "high": layer.high.tolist(),
        "shrunk": layer.shrunk, "span": layer.span and list(layer.span),
        "sees": None if layer.sees is None else [list(ends) for ends in layer.sees],
    }  # fmt: skip


def _enlarged(rgb: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize(size, how))
