"""What stays of a segmented image: five files of one name, and the figures that people ask for first. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pano_med.formats import make_folder, write_coco, write_csv, write_geojson, write_png
from pano_med.pictures import overlay
from pano_med.types import Panoptic

#: What each of the five files is, by its ending; `NAME + ending` is the file.
FILES: dict[str, str] = {
    "_overlay.png": "the picture with every outline and a legend; open it with any image viewer",
    ".geojson": "outlines for QuPath: nuclei as detections, tissue as annotations (drag the file onto the image)",
    "_segments.csv": "one row per nucleus and per tissue: class, score, area, place, shape; opens in a spreadsheet",
    "_panoptic.png": "the map itself: the number of its segment in each pixel (COCO panoptic)",
    "_panoptic.json": "the segments of the map, their classes and scores (COCO panoptic)",
}
#: Larger overlays open in no ordinary viewer and need gigabytes to draw.
OVERLAY_PIXELS = 36_000_000


def output_names(paths: Sequence[Path]) -> list[str]:
    """A name for each image such that no two images of one call share a file.

    The name is the file's stem. Where several images share one, the name of their folder goes in front of each; where
    that does not tell them apart either, the suffix goes behind, then more folders in front: a/x.png and b/x.png
    become a_x and b_x, a/x.png and a/x.tif become a_x_png and a_x_tif. Upper and lower case count as the same, as
    they do for the files of Windows and macOS.

    Raises:
        ValueError: no name tells two of them apart.
    """
    whole = [p.resolve() for p in paths]
    depth = [0] * len(whole)
    while True:
        names = [_name(p, d) for p, d in zip(whole, depth, strict=True)]
        folded = [n.casefold() for n in names]
        alike = [i for i, name in enumerate(folded) if folded.count(name) > 1]
        if not alike:
            return names
        if all(depth[i] > len(whole[i].parts) for i in alike):
            raise ValueError(
                f"each image needs a name of its own, nothing tells {paths[alike[0]]} and "
                f"{paths[alike[1]]} apart; rename one, or name it once"
            )
        for i in alike:
            depth[i] += 1


def _name(path: Path, depth: int) -> str:
    folders = path.parts[1:-1]
    if depth == 0:
        return path.stem
    stem = path.stem if depth == 1 else path.name.replace(".", "_")
    return "_".join([*folders[len(folders) - max(depth - 1, 1) :], stem])


def write_outputs(
    folder: Path, name: str, image: np.ndarray, panoptic: Panoptic, picture: np.ndarray | None = None
) -> dict[str, Path]:
    """Write the five files of one image; each is whole or not there, and replaces one of an earlier run.

    Args:
        folder: is made where it is missing.
        name: start of the five file names.
        image: (H, W, 3) uint8 that was segmented.
        panoptic: its map.
        picture: (H, W, 3) uint8 to write as overlay; drawn here where it is None.

    Returns:
        Path of each file by its key in `FILES`.

    Raises:
        OSError: the disk is full or the folder read-only.
    """
    make_folder(folder)
    paths = {ending: folder / f"{name}{ending}" for ending in FILES}
    write_png(paths["_overlay.png"], draw(image, panoptic) if picture is None else picture)
    write_geojson(panoptic, paths[".geojson"])
    write_csv(panoptic, paths["_segments.csv"])
    write_coco(panoptic, paths["_panoptic.png"], paths["_panoptic.json"], name)
    return paths


def draw(image: np.ndarray, panoptic: Panoptic) -> np.ndarray:
    """The overlay with its legend; of an image beyond `OVERLAY_PIXELS`, every k-th row and column.

    Args:
        image: (H, W, 3) uint8.
        panoptic: its map.

    Returns:
        (H', W', 3) uint8.
    """
    step = math.ceil(math.sqrt(panoptic.ids.size / OVERLAY_PIXELS))
    if step > 1:
        um, categories = panoptic.pixel_size_um, {s.id: s.category_id for s in panoptic.segments}
        ids = np.ascontiguousarray(panoptic.ids[::step, ::step])
        panoptic = Panoptic.from_ids(ids, categories, panoptic.taxonomy, None if um is None else um * step)
        image = np.ascontiguousarray(image[::step, ::step])
    return overlay(image, panoptic, legend=True)


def things_word(names: Iterable[str]) -> str:
    """What things of these class names are called together: nuclei, glands, or things."""
    names = list(names)
    if names and all(name.endswith("nucleus") for name in names):
        return "nuclei"
    return f"{names[0]}s" if len(names) == 1 else "things"


@dataclass(frozen=True)
class Summary:
    """Counts, areas and densities of one map.

    Attributes:
        counts: number of things of each class name; every thing class of the map's taxonomy is there.
        areas_px: pixels of each stuff class name that covers at least one.
        area_px: pixels of the whole image.
        things_px: pixels of all things.
        tissue_px: pixels that are neither background nor void.
        pixel_size_um: of the map, or None.
    """

    counts: Mapping[str, int]
    areas_px: Mapping[str, int]
    area_px: int
    things_px: int
    tissue_px: int
    pixel_size_um: float | None

    @classmethod
    def of(cls, panoptic: Panoptic) -> Summary:
        """Count a map."""
        taxonomy = panoptic.taxonomy
        counts = {c.name: 0 for c in taxonomy.things}
        areas: dict[str, int] = {}
        for s in panoptic.segments:
            name = taxonomy[s.category_id].name
            if taxonomy[s.category_id].isthing:
                counts[name] = counts.get(name, 0) + 1
            else:
                areas[name] = areas.get(name, 0) + s.area
        covered = sum(s.area for s in panoptic.segments)
        tissue = covered - areas.get("background", 0)
        return cls(counts, areas, panoptic.ids.size, covered - sum(areas.values()), tissue, panoptic.pixel_size_um)

    def mm2(self, pixels: int) -> float | None:
        """An area in mm2, None where the pixel size is unknown."""
        return None if self.pixel_size_um is None else pixels * self.pixel_size_um**2 / 1e6

    def per_mm2(self, count: int) -> float | None:
        """Things per mm2 of tissue (the image without background), None where that area is unknown or zero."""
        tissue = self.mm2(self.tissue_px)
        return count / tissue if tissue else None

    def areas(self) -> list[tuple[str, float | None, float]]:
        """(name, mm2 or None, share of the image) of each tissue and of all things together, which lie on top of it."""
        rows = [*self.areas_px.items(), (f"under {things_word(self.counts)}", self.things_px)]
        return [(name, self.mm2(pixels), pixels / self.area_px) for name, pixels in rows]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: counts, areas in px and mm2, densities per mm2 of tissue; None where undefined."""
        return {
            "pixel_size_um": self.pixel_size_um,
            "area_px": self.area_px,
            "area_mm2": self.mm2(self.area_px),
            "tissue_mm2": self.mm2(self.tissue_px),
            "things": {k: {"count": n, "per_mm2": self.per_mm2(n)} for k, n in self.counts.items()},
            "stuff": {k: {"area_px": n, "area_mm2": self.mm2(n)} for k, n in self.areas_px.items()},
        }
