"""Layer: what one part of a network made of an image, small enough to keep by the hundred. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: How far a cell looks up, left, down and right from its own middle, in pixels of the image: until half, and until
#: 95 %, of its gradient lie inside.
Field = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Layer:
    """The output of one module for one image.

    Maps are kept small: only the strongest channels, in at most `SIDE` cells a side (means of neighbouring cells), and
    in 256 steps between the lowest and the highest value of the channel. `shape` tells what the module really made.

    Attributes:
        name: the module's place in the network, e.g. "fpn.output.0"; "#2" behind it is the module's second call.
        kind: the module's class, e.g. "SeparableConv".
        shape: of the output for one image, (C, H, W) for maps.
        parameters: numbers to learn inside the module.
        channels: (K,) int, which channels were kept, the one with the largest spread first.
        maps: (K, h, w) uint8, 0 = `low`, 255 = `high`.
        low: (K,) float, the value that 0 stands for in each channel.
        high: (K,) float, the value that 255 stands for.
        shrunk: cells of the output along one side of a cell in `maps`; 1 = kept as it was.
        span: (H, W), the pixels of the image that the map covers (the image with the edge that was added to it), or
            None where cells are not places of the image.
        sees: how far a cell looks, measured for the one in the middle; None where cells are not places of the image
            (regions that were cut out) or where nobody asked.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    channels: np.ndarray
    maps: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shrunk: int = 1
    span: tuple[int, int] | None = None
    sees: Field | None = None

    def __post_init__(self) -> None:
        kept = len(self.maps)
        if self.maps.ndim != 3 or self.maps.dtype != np.uint8:
            raise ValueError(f"the maps of a layer must be (K, h, w) uint8, {self.name} has {self.maps.shape} of "
                             f"{self.maps.dtype}; make layers with pano_med.lessons.layers.record")
        if not len(self.channels) == len(self.low) == len(self.high) == kept:
            raise ValueError(f"each of the {kept} maps of {self.name} needs a channel, a low and a high value, got "
                             f"{len(self.channels)}, {len(self.low)} and {len(self.high)}")

    def values(self, index: int) -> np.ndarray:
        """(h, w) float32: the values of the map at this place in the order of strength, right to half a step."""
        low, high = float(self.low[index]), float(self.high[index])
        return (low + (high - low) / 255 * self.maps[index]).astype(np.float32)
