"""Before the first tile: the grid, the tiles worth looking at, the manifest, and whether the folder may be used."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pano_med.formats import make_folder, write_png
from pano_med.slides import store
from pano_med.slides.reader import Slide, need_mpp
from pano_med.slides.tissue import Tissue, tissue_mask
from pano_med.slides.work import Work
from pano_med.tiles import Grid, Tile
from pano_med.types import Taxonomy

#: All tiles begin at multiples of this, in pixels of the map: the stride of a network's coarsest feature grid.
STRIDE = 32
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Map:
    """The pixels that a slide is segmented in.

    Attributes:
        scale: level-0 pixels per pixel of the map, a multiple of 1 / 32: each tile then begins on a whole pixel of
            the slide and all are resampled alike. The map's pixels are within 1.6 % of the model's where the slide's
            are not much larger, which is less than what weights are trained to bear.
        mpp: micrometres per pixel of the map.
        size: (H, W) of the map.
    """

    scale: float
    mpp: float
    size: tuple[int, int]

    @classmethod
    def of(cls, slide: Slide, model_mpp: float) -> Map:
        """The map of a slide for a model.

        Raises:
            ValueError: the slide's mpp is unknown.
        """
        mpp = need_mpp(slide)
        scale = max(1, round(STRIDE * model_mpp / mpp)) / STRIDE
        height, width = (max(1, math.floor(n / scale)) for n in slide.size)
        return cls(scale, mpp * scale, (height, width))

    def box(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[float, float, float, float]:
        """Rows and columns of the map as top, left, height, width in level-0 pixels."""
        (top, bottom), (left, right) = rows, columns
        return top * self.scale, left * self.scale, (bottom - top) * self.scale, (right - left) * self.scale

    def read(self, slide: Slide, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """(h, w, 3) uint8 of rows and columns of the map; whole strides are asked for, so that all is resampled alike.

        Raises:
            SlideReadError: a part of the file can't be decoded.
        """
        whole = [(a, a + math.ceil((b - a) / STRIDE) * STRIDE) for a, b in (rows, columns)]
        pixels = slide.region(*self.box(*whole), mpp=self.mpp)
        return pixels[: rows[1] - rows[0], : columns[1] - columns[0]]


def facts(slide: Slide, segmenter: Any, where: Map, tile: int, overlap: int, origin: tuple[int, int],
          region: Box | None) -> dict[str, Any]:
    """The manifest of a run that begins.

    Raises:
        ValueError: tile, overlap or origin are no multiples of `STRIDE`, or the region lies beside the slide.
    """
    for what, values in (("tile", [tile]), ("overlap", [overlap]), ("origin", origin)):
        if any(v % STRIDE for v in values):
            raise ValueError(f"the {what} must be a multiple of {STRIDE} px, got {', '.join(str(v) for v in values)}")
    if region is not None:
        top, left, height, width = region
        beside = top >= slide.size[0] or left >= slide.size[1] or min(top + height, left + width) < 1
        if min(height, width) < 1 or beside:
            raise ValueError(f"a region is top, left, height, width in pixels of the slide ({slide.size[0]} x "
                             f"{slide.size[1]}), got {' '.join(str(v) for v in region)}")
    meta = segmenter.loaded.meta
    return {
        "format": store.FORMAT,
        "slide": {
            "name": slide.name, "size": list(slide.size), "mpp": slide.mpp, "mpp_source": slide.mpp_source,
            "fingerprint": slide.fingerprint, "bounds": None if slide.bounds is None else list(slide.bounds),
        },
        "model": {
            "name": meta.get("name", ""), "sha256": meta.get("sha256", ""), "mpp": segmenter.loaded.model_mpp,
            "taxonomy": segmenter.taxonomy.to_dict(), "score": segmenter.rules.score,
        },
        "grid": {"tile": tile, "overlap": overlap, "origin": list(origin), "size": list(where.size)},
        "region": None if region is None else list(region),
        "scale": where.scale,
        "counts": {}, "areas_um2": {}, "tiles": {"all": 0, "tissue": 0, "done": 0, "failed": []},
        "too_large": [], "state": "running",
    }  # fmt: skip


def check_folder(out: Path, slide: Slide, resume: bool) -> None:
    """Refuse a folder that this slide can't be written to: of another slide, or in use while nobody asked to go on.

    Raises:
        FileExistsError: a result of this slide is there and nobody asked to go on with it.
        ValueError: what is there is of another slide.
    """
    if not (out / store.MANIFEST).is_file():
        return
    there = store.read_manifest(out)
    if there["slide"]["fingerprint"] != slide.fingerprint:
        raise ValueError(f"{out} holds the result of another slide, {there['slide']['name']}: choose another folder "
                         f"for {slide.name}")
    if not resume:
        done, tissue = there["tiles"]["done"], there["tiles"]["tissue"]
        state = "is finished" if there["state"] == "done" else f"has {done} of {tissue} tiles"
        go_on = "" if there["state"] == "done" else "go on with --resume, "
        raise FileExistsError(f"{out} holds a result of this slide already, it {state}: {go_on}"
                              "choose another folder or remove this one")


def claim_folder(out: Path, slide: Slide, manifest: dict[str, Any], resume: bool) -> dict[str, Any] | None:
    """See that the folder is free, or holds the same run and may go on.

    Returns:
        The manifest that is there, or None.

    Raises:
        FileExistsError: see `check_folder`.
        ValueError: what is there is of another slide, other weights, other types or another grid.
    """
    check_folder(out, slide, resume)
    make_folder(out)
    if not (out / store.MANIFEST).is_file():
        return None
    there = store.read_manifest(out)
    for part, what in (("slide", "micrometres per pixel"), ("model", "weights"), ("grid", "tiles"),
                       ("region", "region"), ("scale", "scale")):
        before, now = there[part], manifest[part]
        if part == "slide":  # it is the same file, whatever its name is now
            before, now = before["mpp"], now["mpp"]
        elif part == "model" and _short(before) == _short(now):
            before, now, what = _things(before), _things(now), "types of nuclei, see --types"
        if before != now:
            raise ValueError(f"{out} was begun with other {what} ({_short(before)}; now {_short(now)}): use the same "
                             "to go on, or choose another folder")
    return there


def _things(model: dict[str, Any]) -> str:
    """The names of things that a run tells apart."""
    return ", ".join(c.name for c in Taxonomy.from_dict(model["taxonomy"]).all if c.isthing)


def _short(part: Any) -> str:
    if isinstance(part, dict):
        return ", ".join(f"{k} {v}" for k, v in part.items() if k != "taxonomy")
    return str(part)


def choose_tiles(slide: Slide, grid: Grid, where: Map, region: Box | None, out: Path, work: Work) -> list[int]:
    """The tiles that own tissue inside the region; leaves thumbnail.png and tissue.png. Decided once for a run."""
    chosen = work.tiles()
    if chosen is None:
        tissue = tissue_mask(slide)
        write_png(out / store.THUMBNAIL, slide.thumbnail())
        write_png(out / store.TISSUE, tissue.mask)
        chosen = [i for i, tile in enumerate(grid) if _worth(tile, where, tissue, region)]
        work.decide(chosen)
    return chosen


def _worth(tile: Tile, where: Map, tissue: Tissue, region: Box | None) -> bool:
    top, left, height, width = where.box(tile.core_rows, tile.core_columns)
    if region is not None:
        r_top, r_left, r_height, r_width = region
        if not (top < r_top + r_height and r_top < top + height and left < r_left + r_width and r_left < left + width):
            return False
    return tissue.covers(math.floor(top), math.floor(left), math.ceil(height), math.ceil(width)) > 0


def sweep(out: Path) -> None:
    """Remove what a crash left half-written: files under temporary names."""
    for pattern in (".*.tmp", f"{store.WORK}/**/.*.tmp", f"{store.MAP}/**/*.partial"):
        for path in out.glob(pattern):
            path.unlink(missing_ok=True)
    if (out / store.MAP).is_dir() and not (out / store.MAP / "zarr.json").is_file():
        shutil.rmtree(out / store.MAP)  # it was not finished being made
