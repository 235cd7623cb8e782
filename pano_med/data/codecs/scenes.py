"""How street scenes and photographs are labelled: COCO panoptic, class and instance in one number, ADE20K's two maps.

A label map is never resized here: a filter other than "nearest" invents numbers (24003 and 7 give 12002, a wall).
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pano_med.data.codecs.labels import Codes, Labels
from pano_med.data.items import Item
from pano_med.formats.coco import ids_from_rgb

#: Names of the two files of ADE20K's coding, by their folder.
ADE_STUFF, ADE_THINGS = "annotations", "annotations_instance"


def coco_panoptic(item: Item, codes: Codes, size: tuple[int, int], *, document: str) -> Labels:
    """COCO panoptic (Kirillov et al. 2019): id = R + 256 G + 65536 B, the classes of the ids in a JSON.

    Pixels of id 0 and of void categories are unknown. Segments with `iscrowd` are crowds.

    Args:
        item: its one mask is the PNG (an alpha channel is ignored).
        codes: category ids of the JSON.
        size: not used; the PNG has its own.
        document: path of the JSON below the set's folder, a template over the item's groups.

    Raises:
        OSError: a file cannot be read.
        ValueError: the JSON does not name this PNG; PNG and JSON list other ids; an unknown category; a category that
            is a thing here and stuff there.
    """
    png = item.masks[0]
    path = item.folder / document.format(**item.groups)
    segments = _segments(path, png.name)
    ids, dense = distinct(_packed(png, path))
    listed = {int(s["id"]): s for s in segments}
    strangers = sorted(set(ids.tolist()) - {0} - set(listed))
    if strangers or set(listed) - set(ids.tolist()):
        raise ValueError(
            f"{png} and {path.name} must name the same segments; only in the PNG: {strangers[:5]}, only in the JSON: "
            f"{sorted(set(listed) - set(ids.tolist()))[:5]} (was the PNG resized with interpolation?)"
        )
    codes.check({s["category_id"] for s in segments}, {*codes.things, *codes.stuff}, "category", path)
    classes = [listed[i]["category_id"] if i else None for i in ids.tolist()]
    crowds = [bool(i and listed[i].get("iscrowd", 0)) for i in ids.tolist()]
    return _labels(dense, classes, crowds, codes)


def class_instance(item: Item, codes: Codes, size: tuple[int, int], *, factor: int, groups: bool) -> Labels:
    """One number for class and instance: factor x class + instance.

    Cityscapes, KITTI panoptic and IDD: factor 1000, and a number below 1000 is a class alone: stuff, or a group of
    things that nobody separated, which becomes a crowd. Mapillary Vistas: factor 256 (high byte class, low byte
    instance), always both. The numbers stand in a 16-bit PNG, or as R + 256 G + 65536 B in a colour PNG.

    Args:
        item: its one mask is the map.
        codes: classes.
        size: not used; the map has its own.
        factor: 1000 or 256.
        groups: True where a number below `factor` is a class alone.

    Raises:
        OSError: the map cannot be read.
        ValueError: an 8-bit map, an unknown class, an instance of a stuff class.
    """
    path = item.masks[0]
    numbers, dense = distinct(_packed(path))
    alone = numbers < factor if groups else np.zeros(len(numbers), bool)
    classes = np.where(alone, numbers, numbers // factor).tolist()
    codes.check(classes, {*codes.things, *codes.stuff}, "class", path)
    parted = [int(n) for n, c, a in zip(numbers, classes, alone, strict=True) if groups and not a and c in codes.stuff]
    if parted:
        raise ValueError(
            f"{path} has instances of stuff: {parted[:5]}; no annotator draws these, a resize with interpolation "
            "invents them: take the published map, or resize it with the nearest pixel"
        )
    crowds = [bool(a) and c in codes.things for a, c in zip(alone, classes, strict=True)]
    return _labels(dense, classes, crowds, codes)


def ade20k(item: Item, codes: Codes, size: tuple[int, int]) -> Labels:
    """ADE20K's scene parsing and instance challenges: a class map, and a map of (R = thing class, G = instance).

    Stuff comes from the first, things are pasted over it; what the first calls a thing and the second does not cover
    is unknown. Thing classes are numbered apart in the second map: class k of it is the code "ik".

    Args:
        item: its masks lie in the folders `annotations` and `annotations_instance`.
        codes: classes 1..150 of the first map, and "i1".."i100" of the second.
        size: not used.

    Raises:
        OSError: a map cannot be read.
        ValueError: a map is missing or of another kind; an unknown class; maps of two sizes.
    """
    folders = (ADE_STUFF, ADE_THINGS)
    paths = {folder.name: path for path in item.masks for folder in path.parents if folder.name in folders}
    if set(paths) != {ADE_STUFF, ADE_THINGS}:
        raise ValueError(f"{item.name} must have a map in {ADE_STUFF} and one in {ADE_THINGS}, it has {sorted(paths)}")
    classes = _pixels(paths[ADE_STUFF], "L", "P")
    parts = _pixels(paths[ADE_THINGS], "RGB", "RGBA").astype(np.int32)
    if classes.shape != parts.shape[:2]:
        raise ValueError(f"the maps of {item.name} must have one size, they have {classes.shape} and {parts.shape[:2]}")
    found, dense = distinct(classes.astype(np.int32))
    codes.check(found.tolist(), {*codes.things, *codes.stuff}, "class", paths[ADE_STUFF])
    stuff = np.array([codes.stuff.get(c, 0) for c in found.tolist()], np.int32)[dense]
    pairs, number = distinct(np.where(parts[..., 1] > 0, parts[..., 0] * 256 + parts[..., 1], 0))
    kinds: list[Any] = [f"i{p // 256}" if p else None for p in pairs.tolist()]
    codes.check(set(kinds) - {None}, codes.things, "instance class", paths[ADE_THINGS])
    things = _labels(number, kinds, [False] * len(pairs), codes)
    return Labels(things.things, things.classes, stuff, (stuff == 0) & (things.things == 0))


def distinct(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of a map of whole numbers >= 0 in order, and for each pixel the place of its value among them."""
    top = int(numbers.max(initial=0))
    if top < 2**18:  # counting beats sorting
        found = np.flatnonzero(np.bincount(numbers.ravel()))
        place = np.zeros(top + 1, np.int32)
        place[found] = np.arange(len(found))
        return found, place[numbers]
    found, places = np.unique(numbers, return_inverse=True)
    return found, places.reshape(numbers.shape).astype(np.int32)


def _labels(dense: np.ndarray, classes: list[Any], crowds: list[bool], codes: Codes) -> Labels:
    """Labels from places in a list of classes; the class None and void classes are unknown pixels."""
    number = np.array([i + 1 if c in codes.things else 0 for i, c in enumerate(classes)], np.int32)
    stuff = np.array([codes.stuff.get(c, 0) for c in classes], np.int32)
    void = np.array([c is None or c in codes.void for c in classes])
    own = {i + 1: codes.things[c] for i, c in enumerate(classes) if c in codes.things}
    crowd = frozenset(i for i, yes in enumerate(crowds, 1) if yes and i in own)
    return Labels(number[dense], own, stuff[dense], void[dense], crowd)


def _packed(path: Path, beside: Path | None = None) -> np.ndarray:
    """(H, W) int32 from a 16-bit PNG or from three bytes of colour."""
    if beside is not None:
        return ids_from_rgb(_pixels(path, "RGB", "RGBA")[..., :3])
    pixels = _pixels(path, "RGB", "RGBA", "I;16", "I;16B", "I")
    return ids_from_rgb(pixels[..., :3]) if pixels.ndim == 3 else pixels.astype(np.int32)


def _pixels(path: Path, *modes: str) -> np.ndarray:
    """The pixels of an image whose mode is among `modes`, untouched: no conversion, no palette."""
    try:
        with Image.open(path) as image:
            if image.mode not in modes:
                kinds = {"L": "an 8-bit grey", "P": "a palette", "1": "a two-colour", "I;16": "a 16-bit grey"}
                wanted = "colour" if "RGB" in modes else "8-bit grey"
                wanted = "16-bit grey or colour" if "I;16" in modes else wanted
                raise ValueError(
                    f"{path} is {kinds.get(image.mode, f'a {image.mode}')} image, its numbers need a {wanted} one; "
                    "it was read or saved as another kind on the way: take the published file"
                )
            return np.array(image)
    except (OSError, SyntaxError) as error:
        raise OSError(f"cannot read the label map {path}: {error}") from error


@lru_cache(maxsize=4)
def _document(path: Path, written: int) -> dict[str, list[dict[str, Any]]]:
    """Segments by the name of their PNG; `written` is the file's time, so that a new file is read anew."""
    try:
        rows = json.loads(path.read_bytes())["annotations"]
        return {row["file_name"]: row["segments_info"] for row in rows}
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {path}; it names the classes of the PNGs, so put it there") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no COCO panoptic JSON or is cut short ({error!r}); get it again") from error


def _segments(path: Path, png: str) -> list[dict[str, Any]]:
    document = _document(path, path.stat().st_mtime_ns if path.exists() else 0)
    if png not in document:
        raise ValueError(f"{path} names {len(document)} PNGs, {png} is none of them; get the JSON of the same split")
    return document[png]
