"""A painted slide of any size that exists nowhere, and a predictor that is always right about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import ndimage
from slide_files import write_ome, write_pyramid

from pano_med.slides import Level, Slide
from pano_med.slides.source import Facts
from pano_med.types import HE_CORE, Taxonomy

__all__ = ["PaintedSlide", "PerfectPredictor", "write_ome", "write_pyramid"]

#: Colours of glass, tumour and other tissue.
_GROUND = np.array([[243, 243, 243], [214, 158, 196], [238, 186, 208]], np.uint8)
_SHAPES = 128


class PaintedSlide(Slide):
    """A slide of any size that costs no memory: tissue with nuclei, painted where it is asked for.

    Nuclei are ellipses, one in most cells of a grid; each shows its class and (modulo 2^16) its number in its colour,
    so that `PerfectPredictor` reads the truth off the pixels of any crop. The scene is a function of place and seed
    alone. At another mpp pixels are picked, not averaged: every colour stays a code, and `truth` picks the same.

    Args:
        size: (H, W) of level 0.
        tissue: share of the slide that is tissue, a wavy rectangle in the middle; 0 = blank glass, 1 = all of it.
        mpp: micrometres per level-0 pixel.
        cell: side of the grid's cells in pixels; no nucleus is larger. 48 px of 0.25 um give 4,800 nuclei per mm2.
        fill: share of cells in tissue that hold a nucleus.
        giants: (row, column, radius) of discs that lie over everything, as large as you like.
        damaged: (top, left, bottom, right) of places that can't be read.
        seed: another seed, another scene.
        delay: seconds that each read takes longer.

    Attributes:
        taxonomy: of the truth.
        reads: how often pixels were asked for.
    """

    def __init__(self, size: tuple[int, int] = (4096, 4096), tissue: float = 0.25, mpp: float = 0.25, cell: int = 48,
                 fill: float = 0.7, giants: Sequence[tuple[int, int, int]] = (),
                 damaged: Sequence[tuple[int, int, int, int]] = (), seed: int = 0, delay: float = 0.0) -> None:
        self.taxonomy: Taxonomy = HE_CORE
        self.tissue, self.cell, self.fill, self.seed = tissue, cell, fill, seed
        self.giants, self.damaged, self.delay, self.reads = tuple(giants), tuple(damaged), delay, 0
        self._shapes = _ellipses(cell, seed)
        downs = [2.0**i for i in range(20) if i == 0 or max(size) / 2**i >= 512]
        sizes = [(max(1, round(size[0] / d)), max(1, round(size[1] / d))) for d in downs]
        self.facts = Facts(tuple(Level(s, d) for s, d in zip(sizes, downs, strict=True)), (mpp, mpp))
        super().__init__(Path(f"painted-{size[0]}x{size[1]}-{seed}.tif"), self)
        self._fingerprint = f"{abs(hash((size, tissue, mpp, cell, fill, self.giants, seed))):016x}"[:16]

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """`Source.read`: the slide is its own source."""
        self.reads += 1
        time.sleep(self.delay)
        down = int(self.facts.levels[level].downsample)
        rows, columns = ((np.arange(a, a + n) * down + down // 2) for a, n in ((top, height), (left, width)))
        for place in self.damaged:
            if rows[0] < place[2] and rows[-1] >= place[0] and columns[0] < place[3] and columns[-1] >= place[1]:
                raise OSError("the painter was told so")
        return self._paint(rows, columns)[0]

    def region(self, top: float, left: float, height: float, width: float, mpp: float | None = None) -> np.ndarray:
        """As `Slide.region`, but picked at every mpp."""
        if mpp is None or mpp == self.mpp:
            return super().region(round(top), round(left), round(height), round(width))
        rows, columns = self._picked(top, height, mpp), self._picked(left, width, mpp)
        first, last = (int(rows[0]), int(columns[0])), (int(rows[-1]) + 1, int(columns[-1]) + 1)
        pixels = super().region(*first, last[0] - first[0], last[1] - first[1])
        return pixels[np.ix_(rows - first[0], columns - first[1])]

    def truth(self, top: float, left: float, height: float, width: float,
              mpp: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What is there: (h, w) int64 number of the nucleus, 0 = none, and (h, w) uint8 category; 0 outside."""
        rows, columns = self._picked(top, height, mpp or self.mpp), self._picked(left, width, mpp or self.mpp)
        inside = ((rows >= 0) & (rows < self.size[0]))[:, None] & ((columns >= 0) & (columns < self.size[1]))
        _, ids, classes = self._paint(rows.clip(0, self.size[0] - 1), columns.clip(0, self.size[1] - 1))
        return ids * inside, classes * inside

    def close(self) -> None:
        """Nothing to let go of."""

    def _picked(self, start: float, length: float, mpp: float) -> np.ndarray:
        """Level-0 rows (or columns) under the pixel centres of a region."""
        factor = mpp / self.mpp
        return np.floor(start + (np.arange(max(1, round(length / factor))) + 0.5) * factor).astype(np.int64)

    def _ground(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(h, w) uint8: 0 glass, 1 tumour, 2 other tissue."""
        kinds = 1 + (np.sin(rows / 700)[:, None] + np.sin(columns / 900) < 0).astype(np.uint8)
        if self.tissue >= 1:
            return kinds
        (h, w), side = self.size, np.sqrt(self.tissue)
        wave = 0.02 * min(h, w) * bool(self.tissue)
        tall = side * h / 2 + wave * np.sin(columns / w * 25)
        wide = side * w / 2 + wave * np.sin(rows / h * 25)
        return kinds * ((np.abs(rows - h / 2)[:, None] < tall) & (np.abs(columns - w / 2) < wide[:, None]))

    def _paint(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels, numbers and categories where these rows and columns cross."""
        c, across = self.cell, -(-self.size[1] // self.cell)
        i, j = np.unique(rows // c), np.unique(columns // c)
        dice = _hash(i[:, None], j, self.seed)
        home = self._ground((i * c + c // 2).clip(0, self.size[0] - 1), (j * c + c // 2).clip(0, self.size[1] - 1))
        alive = (home > 0) & ((dice >> 40) % 1000 < self.fill * 1000)
        # no nucleus is cut by the slide's edge
        alive &= ((i + 1) * c <= self.size[0])[:, None] & ((j + 1) * c <= self.size[1])
        kind = np.where(home == 1, np.array([0, 0, 0, 1])[dice % 4], np.array([1, 2, 2, 2])[dice % 4])
        number = np.where(alive, i[:, None] * across + j + 1, 0)
        code = np.zeros((*number.shape, 3), np.uint8)
        low = number & 0xFFFF
        code[..., 0] = 48 + 20 * kind + (low & 15)
        code[..., 1] = 32 + (low >> 4 & 63)
        code[..., 2] = 112 + (low >> 10)
        shape = np.where(alive, (dice >> 20) % _SHAPES, _SHAPES).astype(np.int64)
        at = np.ix_(np.searchsorted(i, rows // c), np.searchsorted(j, columns // c))
        inside = self._shapes.ravel()[shape[at] * (c * c) + ((rows % c) * c)[:, None] + columns % c]
        ground = self._ground(rows, columns)
        pixels = np.where(inside[..., None], code[at], _GROUND[ground])
        ids, things = number[at] * inside, np.array([x.id for x in self.taxonomy.things], np.uint8)
        classes = np.where(inside, things[kind][at], np.array([1, 2, 3], np.uint8)[ground])
        for n, (row, column, radius) in enumerate(self.giants, start=1):
            disc = ((rows - row) ** 2)[:, None] + (columns - column) ** 2 < radius**2
            pixels[disc], ids[disc], classes[disc] = (48 + n, 30, 112), 2**40 + n, things[0]
        return pixels, ids, classes


def _hash(i: np.ndarray, j: np.ndarray, seed: int) -> np.ndarray:
    """A fair 60-bit number for each cell (splitmix64's mixer)."""
    with np.errstate(over="ignore"):
        z = i.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + j.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
        z += np.uint64(seed + 1) * np.uint64(0x165667B19E3779F9)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(4)).astype(np.int64)


def _ellipses(cell: int, seed: int) -> np.ndarray:
    """(_SHAPES + 1, cell, cell) bool: tilted ellipses a pixel away from the cell's edge; the last is empty."""
    rng = np.random.default_rng(seed)
    out = np.zeros((_SHAPES + 1, cell, cell), bool)
    y, x = np.mgrid[:cell, :cell] + 0.5
    for shape in out[:-1]:
        long = rng.uniform(0.22, 0.46) * cell
        short, angle = long * rng.uniform(0.6, 1), rng.uniform(0, np.pi)
        slack = max(0.0, cell / 2 - 1 - long)
        cy, cx = cell / 2 + rng.uniform(-slack, slack, 2)
        u, v = (y - cy) * np.cos(angle) + (x - cx) * np.sin(angle), (x - cx) * np.cos(angle) - (y - cy) * np.sin(angle)
        shape[:] = (u / long) ** 2 + (v / short) ** 2 < 1
        shape[[0, -1], :] = shape[:, [0, -1]] = False
    return out


class PerfectPredictor:
    """Reads the truth of a `PaintedSlide` off its pixels; stands where a `pano_med.predict.Segmenter` stands.

    Args:
        painted: the slide, or nothing but its taxonomy and mpp count.
        model_mpp: micrometres per pixel that the "network" works at; None = the slide's.
        delay: seconds that each call takes longer, to play a network.

    Attributes:
        calls: how often `predict` was asked.
    """

    #: Largest side of a mask's grid; a larger object gets a mask of that many points across its own box.
    GRID = 160

    def __init__(self, painted: PaintedSlide, model_mpp: float | None = None, delay: float = 0.0) -> None:
        from pano_med.fusion import FusionRules  # loads torch, which tests of painted slides alone do without

        self.rules = FusionRules(nms=1.0)  # square boxes of small neighbours overlap
        self.model, self.taxonomy = SimpleNamespace(taxonomy=painted.taxonomy), painted.taxonomy
        mpp = float(model_mpp or painted.mpp)
        meta = {"name": "perfect", "sha256": "0" * 64, "model_mpp": mpp, "score": 0.5, "nucleus_um": 7.0,
                "config": {"name": "efficientps"}}
        self.loaded = SimpleNamespace(model_mpp=mpp, meta=meta, model=self.model, taxonomy=painted.taxonomy,
                                      nucleus_um=7.0)
        self.delay, self.calls = delay, 0

    def predict(self, image: np.ndarray, mpp: float) -> Any:
        """`Segmenter.predict`."""
        import torch

        from pano_med.types import Instances, Prediction

        self.calls += 1
        time.sleep(self.delay)
        taxonomy = self.model.taxonomy
        nucleus = image[..., 0] < 120
        ground = np.where(image[..., 1] > 230, 0, np.where(image[..., 1] > 172, 2, 1)).astype(np.uint8)
        kind = (image[..., 0] - np.uint8(48)) // np.uint8(20)
        channel = np.where(nucleus, taxonomy.num_stuff + kind, ground)
        logits = torch.full((len(taxonomy.channels), *channel.shape), -10.0)
        logits.scatter_(0, torch.from_numpy(channel.astype(np.int64))[None], 10.0)
        code = (image[..., 0].astype(np.int32) << 16 | image[..., 1].astype(np.int32) << 8 | image[..., 2]) * nucleus
        boxes, kinds, masks = _objects(code, kind, self.GRID)
        found = Instances(
            torch.from_numpy(boxes), torch.tensor([c.id for c in taxonomy.things])[torch.from_numpy(kinds)],
            torch.full((len(boxes),), 0.99), torch.from_numpy(np.where(masks, np.float32(10), np.float32(-10))),
        )
        return Prediction(logits, found, taxonomy, mpp)


def _objects(code: np.ndarray, kind: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (N, 4) float32 xyxy, kinds (N,) int64 and masks (N, M, M) bool of equal codes."""
    codes, labels = np.unique(code, return_inverse=True)
    labels = labels.reshape(code.shape) + int(codes[0] != 0)
    spans = [s for s in ndimage.find_objects(labels.astype(np.int32)) if s is not None]
    if not spans:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros((0, 1, 1), bool)
    y0, x0, y1, x1 = np.array([(s[0].start, s[1].start, s[0].stop, s[1].stop) for s in spans]).T
    side = np.maximum(y1 - y0, x1 - x0)
    m = min(int(side.max()), most)
    span = np.maximum(side, m)  # small objects: a square of m whole pixels, so that mask and pixels are the same
    ticks = (np.arange(m) + 0.5) / m
    rows, columns = ((a[:, None] + np.floor(ticks * span[:, None])).astype(np.int64) for a in (y0, x0))
    h, w = code.shape
    inside = ((rows < h)[:, :, None]) & ((columns < w)[:, None, :])
    values = labels[rows.clip(0, h - 1)[:, :, None], columns.clip(0, w - 1)[:, None, :]]
    own = np.arange(len(spans))[:, None, None] + 1
    first = np.array([np.flatnonzero(labels[s].ravel() == n)[0] for n, s in enumerate(spans, 1)])
    kinds = np.array([kind[s].ravel()[f] for s, f in zip(spans, first, strict=True)], np.int64)
    boxes = np.stack([x0, y0, x0 + span, y0 + span], 1).astype(np.float32)
    return boxes, kinds, (values == own) & inside
