"""he_tile: a painted field of H&E with its exact panoptic truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pano_med.synthetic import nuclei, scanner, stain, tissue
from pano_med.synthetic.cells import place
from pano_med.synthetic.knobs import Knobs
from pano_med.synthetic.noise import Grid
from pano_med.synthetic.scene import plan
from pano_med.types import HE_CORE, Panoptic

#: Shortest side of a tile in pixels, and the range of pixel sizes in um.
MIN_SIDE, PIXEL_RANGE = 32, (0.1, 2.0)


@dataclass(frozen=True)
class SyntheticTile:
    """A painted tile.

    Attributes:
        image: (H, W, 3) uint8 RGB, read-only.
        truth: class and nucleus of every pixel, in the taxonomy HE_CORE.
        pixel_size_um: side of a pixel in micrometres.
    """

    image: np.ndarray
    truth: Panoptic
    pixel_size_um: float

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.shape != (*self.truth.size, 3):
            raise ValueError(
                f"a tile's image must be (H, W, 3) uint8 of its truth's size {self.truth.size}, "
                f"got {self.image.shape} of {self.image.dtype}"
            )
        image = self.image.view()
        image.flags.writeable = False
        object.__setattr__(self, "image", image)


def he_tile(
    seed: int,
    size: tuple[int, int] = (512, 512),
    knobs: Knobs | None = None,
    pixel_size_um: float = 0.5,
) -> SyntheticTile:
    """Paint an H&E tile: tumour, stroma, fat, vessels, lymphocytes; then stain, optics and scanner.

    The truth is drawn before the blur: each pixel has one class, and where nuclei overlap it belongs to the upper
    one. White space (lumina, fat, clefts, glass) is background; red cells are other tissue. The plan, the stain and
    the scanner draw from streams of their own, so `stain`, `variation` and `blur` never change the truth.

    Args:
        seed: any integer from 0; the same seed gives the same bytes.
        size: (H, W) in pixels, at least 32 each.
        knobs: what to turn; None means `Knobs()`.
        pixel_size_um: side of a pixel, 0.1..2 um; nuclei keep their size in um.

    Raises:
        TypeError: `knobs` is something else.
        ValueError: seed, size or pixel size out of range.
    """
    knobs = Knobs() if knobs is None else knobs
    _check(seed, size, knobs, pixel_size_um)
    layout, looks, camera = np.random.default_rng(seed).spawn(3)
    h, w = (int(n) for n in size)
    scene = plan(layout, Grid((h, w), float(pixel_size_um)), knobs)
    cells = place(layout, scene, knobs)
    ground = tissue.lay(layout, scene, cells)
    on = nuclei.canvas(layout, ground.haematoxylin, ground.eosin, float(pixel_size_um))
    names = nuclei.paint(on, cells, knobs)
    light = stain.light(stain.choose(looks, knobs.stain, knobs.variation), on.haematoxylin, on.eosin, ground.blood)
    image = scanner.scan(camera, light, float(pixel_size_um), knobs.blur, knobs.variation)
    return SyntheticTile(image, _truth(ground, on.ids, names, float(pixel_size_um)), float(pixel_size_um))


def _truth(ground: tissue.Ground, ids: np.ndarray, names: dict[int, str], pixel: float) -> Panoptic:
    """One segment per class of stuff, one per nucleus."""
    stuff = {name: HE_CORE[name].id for name in ("background", "tumour", "other tissue")}
    out = np.where(ground.nest, stuff["tumour"], stuff["other tissue"])
    out[ground.white] = stuff["background"]
    first = max(stuff.values())
    out = np.where(ids > 0, ids + first, out)
    classes = {i: i for i in stuff.values()} | {first + i: HE_CORE[name].id for i, name in names.items()}
    return Panoptic.from_ids(out, classes, HE_CORE, pixel)


def _check(seed: int, size: tuple[int, int], knobs: Knobs, pixel: float) -> None:
    if not isinstance(knobs, Knobs):
        raise TypeError(f"knobs must be a Knobs, got {type(knobs).__name__}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer from 0, got {seed!r}")
    if len(size) != 2 or min(size) < MIN_SIDE or any(int(n) != n for n in size):
        raise ValueError(f"size must be (H, W) of at least {MIN_SIDE} pixels each, got {size}")
    if not PIXEL_RANGE[0] <= pixel <= PIXEL_RANGE[1]:
        raise ValueError(f"pixel_size_um must lie between {PIXEL_RANGE[0]} and {PIXEL_RANGE[1]} um, got {pixel}")
