"""Labels as people have them beside their own images: COCO JSON, QuPath GeoJSON, label maps. Each becomes a map.

What a file does not say is found out where it can be: which numbers are objects and which are classes is read off the
numbers, and what was decided is told, so that a person can say otherwise.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from scipy import ndimage

from pano_med.data.files import read_labels
from pano_med.formats.coco import read_coco_folder
from pano_med.formats.contours import rasterise

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
MAPS = (".png", ".tif", ".tiff", ".npy", ".npz")
#: Endings that people give to the label of an image.
_SUFFIX = re.compile(r"(?i)[-_ ](?:masks?|labels?|labelmap|inst(?:ances?|_map)?|seg(?:mentation)?|gt|annotations?)$")
#: Where `new` writes the maps, and with .json their classes.
MAPS_OUT = "pano_med_labels"
#: Annotations of a class that come in such numbers per image are objects, not regions.
MANY = 10
#: More distinct numbers than this in one map are objects, not classes.
MOST_CLASSES = 12


@dataclass(frozen=True)
class Shape:
    """One labelled area of one image before it is painted.

    Attributes:
        name: its class.
        thing: True for an object, False for a region, None where the file does not say.
        rows: first row of `mask` in the image.
        columns: first column.
        mask: (h, w) bool.
        crowd: a group of objects that nobody separated.
    """

    name: str
    thing: bool | None
    rows: int
    columns: int
    mask: np.ndarray
    crowd: bool = False


Drawn = dict[str, list[Shape]]


def pictures(folder: Path) -> dict[str, Path]:
    """The images of a folder by stem: all below `images` where that is there, else those in the folder itself.

    Raises:
        FileNotFoundError: none.
        ValueError: two of one stem.
    """
    inner = folder / "images"
    paths = sorted(inner.rglob("*")) if inner.is_dir() else sorted(folder.iterdir())
    files = [p for p in paths if p.suffix.lower() in PICTURES and p.is_file()]
    stems = {p.stem for p in files}
    if not inner.is_dir():  # a label may lie beside its image
        files = [p for p in files if _SUFFIX.sub("", p.stem) == p.stem or _SUFFIX.sub("", p.stem) not in stems]
    if not files:
        raise FileNotFoundError(f"{folder} holds no image; put PNG, JPEG or TIFF files into {inner}")
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise ValueError(f"each image needs a name of its own, {found[path.stem]} and {path} share one; rename one")
        found[path.stem] = path
    return found


def labels(
    folder: Path, images: Mapping[str, Path], sizes: Mapping[str, tuple[int, int]]
) -> tuple[Drawn, str, list[Path]]:
    """What is drawn in each image that has a label, the kind of files ("coco", "qupath", "maps"), and the files.

    Args:
        folder: is searched with all below it.
        images: by stem.
        sizes: (H, W) of each.

    Raises:
        FileNotFoundError: no label at all.
        ValueError: several kinds, a label of another size, a broken file.
    """
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p not in images.values() and not _ours(p, folder)]
    coco = [p for p in files if p.suffix == ".json" and _is_coco(p)]
    qupath = {s: p for p in files if p.suffix in (".geojson", ".json") and p not in coco and (s := _owner(p, images))}
    maps = {s: p for p in files if p.suffix.lower() in MAPS and (s := _owner(p, images))} if not coco else {}
    kinds = {"coco": coco, "qupath": list(qupath.values()), "maps": list(maps.values())}
    there = {kind: paths for kind, paths in kinds.items() if paths}
    if len(there) > 1:
        said = ", ".join(f"{kind} ({paths[0].name})" for kind, paths in there.items())
        raise ValueError(f"the labels of one set must be of one kind, {folder} holds {said}; move the others away")
    if not there:
        raise FileNotFoundError(
            f"{folder} holds {len(images)} images and no labels; put one label map or GeoJSON of the same name beside "
            "each, or one COCO JSON for all"
        )
    kind, used = next(iter(there.items()))
    if kind == "coco":
        drawn: Drawn = {}
        for path in coco:
            drawn |= _coco(path, images, sizes)
        return drawn, kind, used
    if kind == "qupath":
        return {stem: list(_geojson(path, sizes[stem])) for stem, path in qupath.items()}, kind, used
    return _label_maps(maps, sizes), kind, used


def _ours(path: Path, folder: Path) -> bool:
    """Files that an earlier run of `new` wrote."""
    return path.relative_to(folder).parts[0] in (MAPS_OUT, f"{MAPS_OUT}.json", "splits.json", "card.md", "card.sha256")


def _owner(path: Path, images: Mapping[str, Path]) -> str | None:
    return next((s for s in (path.stem, _SUFFIX.sub("", path.stem)) if s in images), None)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON, or is cut short ({error}); export it again") from error


def _is_coco(path: Path) -> bool:
    document = _json(path)
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document)


def _coco(path: Path, images: Mapping[str, Path], sizes: Mapping[str, tuple[int, int]]) -> Drawn:
    document = _json(path)
    if any("segments_info" in row for row in document["annotations"]):
        return _coco_panoptic(path)
    names = {row["id"]: (row["name"], bool(row.get("isthing", 1))) for row in document["categories"]}
    stems = {row["id"]: Path(row["file_name"]).stem for row in document["images"]}
    drawn: Drawn = {stem: [] for stem in stems.values() if stem in images}
    for number, row in enumerate(document["annotations"], 1):
        stem = stems.get(row.get("image_id"))
        if stem not in images:
            continue
        if row.get("category_id") not in names or not row.get("segmentation"):
            raise ValueError(f"{path}: annotation {row.get('id', number)} has no category or outline; export it again")
        name, thing = names[row["category_id"]]
        height, width = sizes[stem]
        mask = _coco_mask(row["segmentation"], height, width, path)
        drawn[stem] += _cropped(name, thing, mask, bool(row.get("iscrowd", 0)))
    return drawn


def _coco_mask(outline: Any, height: int, width: int, path: Path) -> np.ndarray:
    if isinstance(outline, dict):
        packed = coco_mask.frPyObjects(outline, height, width) if isinstance(outline["counts"], list) else outline
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools and numpy 2
            mask = coco_mask.decode(packed).astype(bool)
        if mask.shape != (height, width):
            raise ValueError(f"{path}: a mask is {mask.shape}, its image {(height, width)}; the image was changed")
        return mask
    mask = np.zeros((height, width), bool)
    for ring in outline:
        box, inside = rasterise([np.asarray(ring, float).reshape(-1, 2)], (height, width))
        mask[box] |= inside
    return mask


def _coco_panoptic(path: Path) -> Drawn:
    beside = next((p for p in (path.with_suffix(""), path.parent) if p.is_dir() and any(p.glob("*.png"))), path.parent)
    drawn: Drawn = {}
    for name, truth in read_coco_folder(path, beside):
        rows = [(truth.taxonomy[s.category_id], s) for s in truth.segments]
        drawn[Path(name).stem] = [
            shape for c, s in rows for shape in _cropped(c.name, c.isthing, truth.ids == s.id, s.iscrowd)
        ]
    return drawn


def _geojson(path: Path, size: tuple[int, int]) -> Iterator[Shape]:
    document = _json(path)
    items = document.get("features") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise ValueError(f"{path} must be a GeoJSON FeatureCollection or a list of features; export it again")
    for item in items:
        said = item.get("properties") or {}
        kind = said.get("objectType", "annotation")
        name = (said.get("classification") or {}).get("name")
        thing = True if kind in ("detection", "cell") else None
        geometry = item.get("nucleusGeometry") or item.get("geometry") or {}
        parts = {"Polygon": [geometry.get("coordinates")], "MultiPolygon": geometry.get("coordinates")}
        if geometry.get("type") not in parts:
            kind = geometry.get("type")
            raise ValueError(f"{path}: a label must be a Polygon or MultiPolygon, one is {kind}; remove it")
        mask = np.zeros(size, bool)
        for rings in parts[geometry["type"]]:
            box, inside = rasterise([np.asarray(ring, float)[:, :2] for ring in rings], size)
            mask[box] |= inside
        yield from _cropped(str(name or "object"), thing, mask, False)


def _label_maps(maps: Mapping[str, Path], sizes: Mapping[str, tuple[int, int]]) -> Drawn:
    """Numbers to shapes; the maps of a set are all of one kind (binary masks, objects, or classes)."""
    read: dict[str, np.ndarray] = {}
    for stem, path in maps.items():
        numbers = _numbers(path)
        if numbers.shape != sizes[stem]:
            raise ValueError(f"a label map has the size of its image, {path} is {numbers.shape}, not {sizes[stem]}")
        read[stem] = numbers
    values = set().union(*(np.unique(n[n > 0]).tolist() for n in read.values()))
    objects = _are_objects(read, values)
    drawn: Drawn = {}
    for stem, numbers in read.items():
        if len(values) == 1:  # a binary mask: its parts are the objects
            numbers, _ = ndimage.label(numbers > 0, np.ones((3, 3), int))
        dense, back = np.unique(numbers, return_inverse=True)
        back = back.reshape(numbers.shape) + (0 if 0 in dense else 1)
        boxes = ndimage.find_objects(back)
        drawn[stem] = [
            Shape("object" if objects else f"class {value}", objects, box[0].start, box[1].start, back[box] == place)
            for place, (value, box) in enumerate(zip(dense[dense > 0].tolist(), boxes, strict=True), 1)
        ]
    return drawn


def _numbers(path: Path) -> np.ndarray:
    """(H, W) numbers; of a palette the places in it, not its colours."""
    if path.suffix.lower() != ".png":
        return read_labels(path)
    try:
        with Image.open(path) as image:
            numbers = np.array(image)
    except (OSError, SyntaxError) as error:
        raise OSError(f"cannot read the label map {path}: {error}") from error
    if numbers.ndim == 3:
        if (numbers[..., :3] != numbers[..., :1]).any():
            raise ValueError(f"a label map holds one number a pixel, {path} is a colour picture; save it as grey")
        numbers = numbers[..., 0]
    return numbers


def _are_objects(read: Mapping[str, np.ndarray], values: set[int]) -> bool:
    """Objects: a binary mask, or more numbers than a table of classes has, or numbers that never come in two parts."""
    if len(values) == 1 or len(values) > MOST_CLASSES:
        return True
    return not any(
        ndimage.label(numbers == value)[1] > 1 for numbers in read.values() for value in np.unique(numbers[numbers > 0])
    )


def _cropped(name: str, thing: bool | None, mask: np.ndarray, crowd: bool) -> list[Shape]:
    """The shape of a mask in the image, none if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    return [Shape(name, thing, top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy(), crowd)]


