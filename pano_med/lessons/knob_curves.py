"""PQ against one knob of the painter: a network, and the watershed with a cut that follows the stain or does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from pano_med.lessons import classical
from pano_med.lessons.fields import on_one_glass, part
from pano_med.metrics import things_quality
from pano_med.synthetic import Knobs, he_tile
from pano_med.types import Panoptic

METHODS = ("our network", "watershed, Otsu's cut", "watershed, fixed cut")
#: What stands still while a knob turns: a solid tumour, every tile of one look.
USUAL = Knobs(crowding=2, overlap=0.25, variation=0, tumour_fraction=1, tissue=1)
#: A cut that suits the usual stain, kept whatever the stain is.
FIXED = classical.Rules(stain=0.057)
#: Side of a painted field in pixels, and of a pixel in um.
SIDE, PIXEL_UM = 144, 0.5

Curves = dict[str, dict[float, list[float]]]


class KnobCurves:
    """Measures by knob; a setting that was measured before is not measured again.

    Args:
        network: image and pixel size -> map.
        fields: painted fields of each setting.
        first_seed: of the first field; the network's own painted tiles had other seeds.
    """

    def __init__(
        self, network: Callable[[np.ndarray, float], Panoptic], fields: int = 3, first_seed: int = 100
    ) -> None:
        self._network, self._seeds = network, range(first_seed, first_seed + fields)
        self._known: dict[Knobs, dict[str, list[float]]] = {}

    def __call__(self, knob: str, values: tuple[float, ...]) -> Curves:
        """PQ of each method at each value of a knob, one number for each field."""
        rows = {value: self.at(replace(USUAL, **{knob: value})) for value in values}
        return {method: {value: row[method] for value, row in rows.items()} for method in METHODS}

    def at(self, knobs: Knobs) -> Mapping[str, list[float]]:
        """PQ of each method on each field of one setting."""
        if knobs not in self._known:
            tiles = [he_tile(seed, (SIDE, SIDE), knobs, PIXEL_UM) for seed in self._seeds]
            sheet, windows = on_one_glass([tile.image for tile in tiles])
            learned = self._network(sheet, PIXEL_UM)
            maps = [[part(learned, window) for window in windows]]
            maps += [[classical.watershed(tile.image, PIXEL_UM, rules) for tile in tiles] for rules in (None, FIXED)]
            self._known[knobs] = {
                method: [things_quality(t.truth, m).mean("things")[0] for t, m in zip(tiles, row, strict=True)]
                for method, row in zip(METHODS, maps, strict=True)
            }
        return self._known[knobs]
