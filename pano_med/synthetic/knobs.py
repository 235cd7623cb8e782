"""The knobs of the painter."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

#: Lowest and highest value of each knob.
RANGES: dict[str, tuple[float, float]] = {
    "crowding": (0.0, 3.0),
    "overlap": (0.0, 1.0),
    "stain": (0.2, 3.0),
    "variation": (0.0, 1.0),
    "blur": (0.0, 5.0),
    "size": (0.5, 2.0),
    "tumour_fraction": (0.0, 1.0),
    "tissue": (0.0, 1.0),
}


@dataclass(frozen=True)
class Knobs:
    """What a user may turn; the rest follows from the seed.

    Attributes:
        crowding: nuclei per area as a factor, 0..3; 1 is typical of the tissue, 0 paints no nucleus.
        overlap: how far nuclei may cover each other, 0..1; at 0 none does, at 1 up to two thirds of one may be hidden.
        stain: factor on the optical density of both dyes, 0.2..3.
        variation: how far stain and scanner differ from tile to tile, 0..1; at 0 every tile has the same look.
        blur: standard deviation of the optical blur, um, 0..5; 0.35 is a focused 20x scanner.
        size: factor on the diameter of nuclei, 0.5..2.
        tumour_fraction: share of the tile that nests of tumour take, 0..1, or None to let the seed choose.
        tissue: share of the tile that is not bare glass outside the tissue, 0..1, or None to let the seed choose.

    Raises:
        TypeError: a knob is not a number.
        ValueError: a knob is out of its range.
    """

    crowding: float = 1.0
    overlap: float = 0.3
    stain: float = 1.0
    variation: float = 1.0
    blur: float = 0.35
    size: float = 1.0
    tumour_fraction: float | None = None
    tissue: float | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            value, (low, high) = getattr(self, f.name), RANGES[f.name]
            if value is None and f.default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
                raise TypeError(f"knob {f.name} must be a number from {low:g} to {high:g}, got {value!r}")
            if not low <= value <= high:
                raise ValueError(f"knob {f.name} must lie between {low:g} and {high:g}, got {value}")
