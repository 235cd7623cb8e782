"""The recipe of the weights that we ship: which images, in which shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pano_med.data import OnBroken, load, split
from pano_med.synthetic import Knobs, he_tile
from pano_med.types import HE_CORE, LazySample, Sample

SYNTHETIC = "synthetic"

#: Share of draws per source. Nuclei of real patients come first; painted tiles are the only ones that know stuff and
#: things at once, so they teach the two heads to agree.
HE_CORE_WEIGHTS: Mapping[str, float] = {
    "tnbc_breast_nuclei": 3.0,
    "dsb2018_tissue": 3.0,
    "histolytics_hgsc": 2.0,
    "bcss_breast_tumour_regions": 1.0,
    "ocdc_oral_tumour_regions": 1.0,
    SYNTHETIC: 1.0,
}


@dataclass(frozen=True)
class Ingredients:
    """What `fit` needs to know of a recipe.

    Attributes:
        train: samples to learn from.
        validation: samples to judge by; of other patients where the set has several.
        weights: share of draws per source, for `TrainConfig.source_weights`.
    """

    train: Sequence[Sample | LazySample]
    validation: Sequence[Sample | LazySample]
    weights: dict[str, float]


def he_core(root: str | Path, tiles: int = 32, seed: int = 0, weights: Mapping[str, float] = HE_CORE_WEIGHTS,
            on_broken: OnBroken | None = None) -> Ingredients:
    """Real nuclei and tissue by the written split, and painted tiles.

    Args:
        root: the folder of the data sets.
        tiles: painted tiles of 512 x 512 px; 0 leaves them out.
        seed: of the painted tiles.
        weights: share of draws per source; a source with share 0 is not read.
        on_broken: see `pano_med.data.load`.

    Raises:
        FileNotFoundError: a data set is missing.
        ValueError: `tiles` is negative.
    """
    if tiles < 0:
        raise ValueError(f"tiles must be at least 0, got {tiles}")
    wanted = {name: share for name, share in weights.items() if share and (tiles or name != SYNTHETIC)}
    # Glass is found by its optical density, so nuclei sets can teach background too.
    real = [s for name in wanted if name != SYNTHETIC for s in load(name, root, glass=True, on_broken=on_broken)]
    dealt = split(real)
    painted = list(painted_tiles(tiles, seed)) if SYNTHETIC in wanted else []
    return Ingredients([*dealt.train, *painted], dealt.validation, wanted)


def painted_tiles(count: int, seed: int = 0, size: int = 512, pixel_size_um: float = 0.5) -> Iterator[Sample]:
    """Painted H&E tiles as samples, every category known; crowding, overlap, blur and size differ from tile to tile."""
    known = frozenset(c.id for c in HE_CORE.categories)
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        knobs = Knobs(crowding=rng.uniform(0.5, 2.0), overlap=rng.uniform(0, 0.6), blur=rng.uniform(0.2, 1.0),
                      size=rng.uniform(0.8, 1.3))
        tile = he_tile(int(rng.integers(2**31)), (size, size), knobs, pixel_size_um)
        image = torch.from_numpy(tile.image.transpose(2, 0, 1).copy())
        yield Sample(image, tile.truth, pixel_size_um, SYNTHETIC, f"tile-{i}", known, name=f"tile-{seed}-{i}")
