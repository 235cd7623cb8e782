"""From the files of a data set to samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pano_med.data.codecs import Labels
from pano_med.data.files import find, read_rgb
from pano_med.data.glass import glass_mask
from pano_med.data.recipes import RECIPES, Layout, Recipe
from pano_med.data.splits import written_split
from pano_med.types import HE_CORE, Panoptic, Sample


def load(name: str, root: str | Path, *, glass: bool = False) -> list[Sample]:
    """Read a data set.

    Args:
        name: a key of `RECIPES`.
        root: the folder that holds the set's folder, or the folder of the set itself (its public layout counts too).
        glass: also mark empty glass as background in sets that label nuclei only, and call background known there.

    Returns:
        Samples in order of name: uint8 images (3, H, W), truth under `HE_CORE`, `known`, `ignore`, group and pixel
        size as in the set's recipe and data card.

    Raises:
        KeyError: no such set.
        FileNotFoundError: the folder, an image, a mask or a listed file is missing.
        OSError: a file is broken.
        ValueError: a mask without image, sizes that differ, unknown codes.
    """
    if name not in RECIPES:
        raise KeyError(f"no recipe for the data set {name!r}; there are {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    if not Path(root).is_dir():
        raise FileNotFoundError(f"the data folder {root} does not exist; point PANO_MED_DATA (or --data) to it")
    folder = Path(root) / recipe.folder
    folder = folder if folder.is_dir() else Path(root)
    for layout in recipe.layouts:
        if items := find(folder, layout.image, layout.mask, name):
            items = {item: items[item] for item in _wanted(name, recipe, layout, sorted(items))}
            return [sample for item in items for sample in _read(name, recipe, layout, item, *items[item], glass)]
    patterns = " or ".join(layout.image for layout in recipe.layouts)
    raise FileNotFoundError(f"{folder} holds no image of {name}; expected files like {patterns}")


def _wanted(name: str, recipe: Recipe, layout: Layout, found: list[str]) -> list[str]:
    """The items to read; with some of the written list there, all of it must be."""
    listed = set(written_split(name).names)
    for window in recipe.windows:
        listed = {item.removesuffix(f"_{window}") for item in listed}
    here = listed & set(found)
    if here and here != listed and not layout.partial:
        lost = sorted(listed - here)
        number = f"{len(lost)} of {len(listed)}"
        raise FileNotFoundError(f"{name} is incomplete: {number} images are missing, first {lost[0]}")
    return sorted(here) if here and recipe.only_listed else found


def _read(
    name: str, recipe: Recipe, layout: Layout, item: str, path: Path, masks: list[Path], groups: dict, glass: bool
) -> list[Sample]:
    image = read_rgb(path)
    image = np.ascontiguousarray(image[..., ::-1]) if layout.swapped else image
    labels = layout.codec(masks, recipe.codes)
    if labels.things.shape != image.shape[:2]:
        raise ValueError(f"{name}: mask {labels.things.shape} and image {image.shape[:2]} of {item} differ in size")
    group = written_split(name).group(item) or layout.group.format(**groups)
    sizes = [um for start, um in recipe.pixel_size_um.items() if group.startswith(start)]
    size = layout.pixel_size_um or next(iter(sizes), None)
    known = set(recipe.known)
    if recipe.glass or glass:
        labels, known = _with_glass(labels, glass_mask(image, size)), known | {"background"}
    ignore = recipe.borders(image, path.stem)
    ids = frozenset(HE_CORE[k].id for k in known)
    return [
        Sample(
            image=torch.from_numpy(np.ascontiguousarray(image[rows, columns].transpose(2, 0, 1))),
            truth=_panoptic(part, rows, columns, size),
            pixel_size_um=size,
            source=name,
            group=group,
            known=ids,
            ignore=torch.from_numpy(hidden[rows, columns].copy()) if hidden[rows, columns].any() else None,
            name=item + suffix,
        )
        for suffix, rows, columns in _windows(recipe, image.shape[:2])
        for part, hidden in [uncut(labels, ignore, rows, columns)]
    ]


def _with_glass(labels: Labels, glass: np.ndarray) -> Labels:
    stuff = np.zeros(glass.shape, np.int32) if labels.stuff is None else labels.stuff.copy()
    stuff[glass] = HE_CORE["background"].id
    return replace(labels, stuff=stuff)


def _windows(recipe: Recipe, size: tuple[int, int]) -> Iterator[tuple[str, slice, slice]]:
    corners = [(bottom, right) for _, _, bottom, right in recipe.windows.values()]
    if not corners or tuple(map(max, zip(*corners, strict=True))) != tuple(size):
        yield "", slice(None), slice(None)
        return
    for name, (top, left, bottom, right) in recipe.windows.items():
        yield f"_{name}", slice(top, bottom), slice(left, right)


def uncut(labels: Labels, ignore: np.ndarray, rows: slice, columns: slice) -> tuple[Labels, np.ndarray]:
    """Take out the things that the window's edge cuts and ignore their pixels: they belong to no part."""
    outside = np.ones(labels.things.shape, bool)
    outside[rows, columns] = False
    cut = np.intersect1d(labels.things[outside], labels.things[rows, columns])
    hidden = np.isin(labels.things, cut[cut > 0])
    return replace(labels, things=np.where(hidden, 0, labels.things)), ignore | hidden


def _panoptic(labels: Labels, rows: slice, columns: slice, size: float | None) -> Panoptic:
    """Number stuff first (by category), then things; a thing lies on top of its tissue."""
    things = labels.things[rows, columns]
    stuff = np.zeros_like(things) if labels.stuff is None else labels.stuff[rows, columns]
    present, dense = np.unique(things, return_inverse=True)
    first = max((c.id for c in HE_CORE.stuff), default=0)
    dense = dense.reshape(things.shape) + (0 if 0 in present else 1)
    numbers = present[present > 0].tolist()
    categories = {c.id: c.id for c in HE_CORE.stuff}
    categories |= {first + k: HE_CORE[labels.classes[number]].id for k, number in enumerate(numbers, 1)}
    return Panoptic.from_ids(np.where(things > 0, first + dense, stuff).astype(np.int32), categories, HE_CORE, size)
