"""A map of object numbers with a map of classes, in .mat, .npy, .npz, .png or .parquet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pano_med.data.codecs.labels import Codes, Labels, majority, stuff_of
from pano_med.data.files import open_stack, parquet_row, read_labels, read_mat, read_png_bytes
from pano_med.data.items import Item


def instances_and_types(
    item: Item,
    codes: Codes,
    size: tuple[int, int],
    instances: str | int = "inst_map",
    types: str | int = "type_map",
    regions: str | int | None = None,
) -> Labels:
    """A map of object numbers and a map of type codes; an object's type is that of most of its pixels.

    Args:
        item: a .mat, a .npy stack (N, H, W, C), a .parquet stack of PNGs, or one file for each map in the order
            instances, types, regions.
        codes: types are looked up among the things, regions among the stuff.
        size: of the image.
        instances: name (.mat, .parquet) or channel (.npy) of the map of numbers.
        types: of the map of types.
        regions: of the map of regions, None where there is none.

    Raises:
        ValueError: an unknown code, maps of two sizes, a map that is missing.
    """
    names = [instances, types] if regions is None else [instances, types, regions]
    path = item.masks[0] if item.masks else item.image
    things, kinds, *rest = _maps(item, names)
    things = things.astype(np.int32)
    stuff, void = stuff_of(rest[0], codes, path) if rest else (None, None)
    last = item.masks[1] if len(item.masks) > 1 else path
    return Labels(things, majority(things, kinds, codes, last), stuff, void)


def instance_list(
    item: Item,
    codes: Codes,
    size: tuple[int, int],
    instances: str = "inst_map",
    ids: str = "id",
    classes: str = "class",
) -> Labels:
    """A map of object numbers and two lists, numbers and their classes (Lizard).

    The lists are in an order of their own: entry k belongs to the object with number `ids[k]`, not to the k-th number
    in the map.

    Args:
        item: a .mat.
        codes: of the classes.
        size: of the image.
        instances: name of the map.
        ids: name of the list of numbers.
        classes: name of the list of class codes.

    Raises:
        ValueError: an unknown code, lists of two lengths, an object that the list lacks.
    """
    path = item.masks[0]
    things, *lists = read_mat(path, instances, ids, classes)
    numbers, kinds = (entry.ravel().tolist() for entry in lists)
    if len(numbers) != len(kinds):
        raise ValueError(f"{path} must list one class for each id, it has {len(kinds)} for {len(numbers)}")
    codes.check(kinds, codes.things, "type", path)
    listed = {int(n): codes.things.get(k, 0) for n, k in zip(numbers, kinds, strict=True)}
    found = np.unique(things[things > 0]).tolist()
    if lost := [n for n in found if n not in listed]:
        raise ValueError(f"{path} must list every object of its map, ids {lost[:5]} have no class")
    return Labels(things.astype(np.int32), {n: listed[n] for n in found})


def class_channels(item: Item, codes: Codes, size: tuple[int, int]) -> Labels:
    """One map of object numbers for each class, in the channels of a .npy stack (N, H, W, C) (PanNuke).

    A code is the channel; channels without code (PanNuke's background) are left out. Each channel counts for itself,
    so equal numbers in two channels are two objects. Where channels overlap the first one keeps the pixel.

    Raises:
        ValueError: a code beyond the channels.
    """
    path = item.masks[0]
    maps = open_stack(path)[item.index]
    wanted = [code for code in codes.things if isinstance(code, int)]
    if maps.ndim != 3 or max(wanted) >= maps.shape[2]:
        raise ValueError(f"{path} must hold one channel for each of {wanted}, it has {maps.shape}")
    things = np.zeros(maps.shape[:2], np.int32)
    classes: dict[int, int] = {}
    for code in wanted:
        channel = np.asarray(maps[..., code]).astype(np.int64)
        for number in np.unique(channel[channel > 0]).tolist():
            new = (channel == number) & (things == 0)
            if new.any():
                classes[len(classes) + 1] = codes.things[code]
                things[new] = len(classes)
    return Labels(things, classes)


def _maps(item: Item, names: Sequence[str | int]) -> list[np.ndarray]:
    if item.image.suffix == ".parquet" and item.index is not None:
        cells = parquet_row(item.image, item.index, *map(str, names))
        return [read_png_bytes(cell, item.image) for cell in cells]
    if item.masks[0].suffix == ".mat":
        return read_mat(item.masks[0], *map(str, names))
    if item.masks[0].suffix == ".npy" and item.index is not None:
        maps = open_stack(item.masks[0])[item.index]
        return [np.asarray(maps[..., name]) for name in names]
    if len(item.masks) != len(names):
        found = [path.name for path in item.masks]
        raise ValueError(f"{item.name} must have {len(names)} label files, it has {len(found)}: {found}")
    return [read_labels(path) for path in item.masks]
