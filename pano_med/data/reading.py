"""From the files of a data set to samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pano_med.data.borders import BORDERS
from pano_med.data.cards import Card, card
from pano_med.data.codecs import CODECS, Labels
from pano_med.data.codecs.labels import joined
from pano_med.data.files import read_rgb
from pano_med.data.glass import glass_mask
from pano_med.data.items import Item, Layout, find_items
from pano_med.data.splits import Split, dealt, part_of, written_of
from pano_med.types import Panoptic, Sample, Taxonomy

GLASS = "background"


#: Told of an image that cannot be read: its name and why.
OnBroken = Callable[[str, Exception], None]


def load(
    source: str | Card, root: str | Path, *, glass: bool = False, own: bool = False, part: str | None = None,
    on_broken: OnBroken | None = None,
) -> list[Sample]:  # fmt: skip
    """Read a data set.

    Args:
        source: name of a set that has a card, or a card.
        root: the folder that holds the set's folder, or the folder of the set itself (its public layout counts too).
        glass: also mark empty glass as background in sets that label nuclei only, and call background known there.
        own: True for the classes as they were published, instead of those of the card's `taxonomy`.
        part: "train", "validation" or "test" reads only this part of the split.
        on_broken: told of each image that is broken, which is then left out; None: the first one raises.

    Returns:
        Samples in order of name: uint8 images (3, H, W), truth, `known`, `ignore`, group and pixel size as in the
        set's card.

    Raises:
        KeyError: no such set.
        FileNotFoundError: the folder, an image, a mask or a listed file is missing.
        OSError: a file is broken.
        ValueError: a mask without image, sizes that differ, unknown codes.
    """
    return [sample for sample, _ in _read(source, root, glass, own, part, on_broken)]


def load_split(source: str | Card, root: str | Path, *, glass: bool = False, own: bool = False,
               on_broken: OnBroken | None = None) -> Split:  # fmt: skip
    """Read a data set and deal it into training and validation, by its own published split or the written one.

    Arguments as `load`.

    Raises:
        ValueError: a set without a split, an image that the split does not know; and as `load`.
    """
    split = Split([], [])
    for sample, part in _read(source, root, glass, own, None, on_broken):
        dealt(split, sample, part)
    return split


def items(source: str | Card, root: str | Path) -> tuple[list[Item], Layout, Path]:
    """The images of a set with their label files, nothing decoded; the layout that found them; the set's folder.

    Raises:
        KeyError: no such set.
        FileNotFoundError: the folder, an image, a mask or a listed file is missing.
        ValueError: a mask without image, two images of one item.
    """
    it = source if isinstance(source, Card) else card(source)
    if not Path(root).is_dir():
        raise FileNotFoundError(f"the data folder {root} does not exist; point PANO_MED_DATA (or --data) to it")
    folder = Path(root) / it.folder
    folder = folder if folder.is_dir() else Path(root)
    for layout in it.layouts:
        if found := find_items(folder, layout, it.name):
            return _wanted(it, layout, found), layout, folder
    patterns = " or ".join(layout.image for layout in it.layouts)
    raise FileNotFoundError(f"{folder} holds no image of {it.name}; expected files like {patterns}")


def _wanted(it: Card, layout: Layout, found: list[Item]) -> list[Item]:
    """The items to read; with some of the written list there, all of it must be."""
    listed = set(written_of(it).names)
    for window in it.windows:
        listed = {name.removesuffix(f"_{window}") for name in listed}
    here = listed & {item.name for item in found}
    if here and here != listed and not layout.partial:
        lost = sorted(listed - here)
        number = f"{len(lost)} of {len(listed)}"
        raise FileNotFoundError(f"{it.name} is incomplete: {number} images are missing, first {lost[0]}")
    return [item for item in found if item.name in here] if here and it.only_listed else found


def _read(
    source: str | Card, root: str | Path, glass: bool, own: bool, part: str | None, on_broken: OnBroken | None
) -> Iterator[tuple[Sample, str | None]]:
    it = source if isinstance(source, Card) else card(source)
    found, layout, _ = items(it, root)
    for item in found:
        group = written_of(it).group(item.name) or layout.group_of(item)
        if part and not it.windows and part_of(it, item.name, group, item.groups) != part:
            continue  # not decoded at all
        try:
            samples = samples_of(it, layout, item, group, glass, it.own if own else it.taxonomy)
        except (OSError, ValueError, EOFError) as error:
            if on_broken is None:
                raise
            on_broken(item.name, error)
            continue
        for sample in samples:
            place = part_of(it, sample.name, group, item.groups)
            if part in (None, place):
                yield sample, place


def samples_of(it: Card, layout: Layout, item: Item, group: str, glass: bool, taxonomy: Taxonomy) -> list[Sample]:
    """The samples of one item: one, or one for each window. Arguments and errors as `load`."""
    image = read_rgb(item.image, item.index)
    image = np.ascontiguousarray(image[..., ::-1]) if layout.swapped else image
    labels = CODECS[layout.codec](item, it.codes(taxonomy), image.shape[:2], **layout.options)
    size = layout.pixel_size_um or it.pixel_size(group)
    image, size = _fitted(image, labels.things.shape, layout, item, it.name, size)
    known = it.known_ids(taxonomy)
    if (it.glass or glass) and GLASS in taxonomy:
        background = taxonomy[GLASS].id
        labels, known = _with_glass(labels, glass_mask(image, size), background), known | {background}
    labels, ignore = _cleared(labels)
    if it.borders:
        ignore = ignore | BORDERS[it.borders](image, item.image.stem)
    return [
        Sample(
            image=torch.from_numpy(np.ascontiguousarray(image[rows, columns].transpose(2, 0, 1))),
            truth=_panoptic(part, rows, columns, size, taxonomy),
            pixel_size_um=size,
            source=it.name,
            group=group,
            known=known,
            ignore=torch.from_numpy(hidden[rows, columns].copy()) if hidden[rows, columns].any() else None,
            name=item.name + suffix,
        )
        for suffix, rows, columns in _windows(it, image.shape[:2])
        for part, hidden in [uncut(labels, ignore, rows, columns)]
    ]


def _fitted(
    image: np.ndarray, shape: tuple[int, ...], layout: Layout, item: Item, name: str, size: float | None
) -> tuple[np.ndarray, float | None]:
    """The image in the size of its labels. Labels are never resized: interpolation invents ids."""
    if shape == image.shape[:2]:
        return image, size
    if not layout.resize_image:
        raise ValueError(f"{name}: mask {shape} and image {image.shape[:2]} of {item.name} differ in size")
    wide = np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BOX))
    return wide, None if size is None else size * image.shape[1] / shape[1]


def _cleared(labels: Labels) -> tuple[Labels, np.ndarray]:
    """Objects that the taxonomy has no place for become void; void is not judged and teaches nothing."""
    nameless = [number for number, category in labels.classes.items() if category == Taxonomy.VOID]
    hidden = joined(labels.void, np.isin(labels.things, nameless) if nameless else None)
    if hidden is None:
        return labels, np.zeros(labels.things.shape, bool)
    things = np.where(np.isin(labels.things, nameless), 0, labels.things)
    stuff = None if labels.stuff is None else np.where(hidden, Taxonomy.VOID, labels.stuff)
    return replace(labels, things=things, stuff=stuff), hidden & (things == 0)


def _with_glass(labels: Labels, glass: np.ndarray, background: int) -> Labels:
    stuff = np.zeros(glass.shape, np.int32) if labels.stuff is None else labels.stuff.copy()
    stuff[glass] = background
    return replace(labels, stuff=stuff)


def _windows(it: Card, size: tuple[int, int]) -> Iterator[tuple[str, slice, slice]]:
    corners = [(bottom, right) for _, _, bottom, right in it.windows.values()]
    if not corners or tuple(map(max, zip(*corners, strict=True))) != tuple(size):
        yield "", slice(None), slice(None)
        return
    for name, (top, left, bottom, right) in it.windows.items():
        yield f"_{name}", slice(top, bottom), slice(left, right)


def uncut(labels: Labels, ignore: np.ndarray, rows: slice, columns: slice) -> tuple[Labels, np.ndarray]:
    """Take out the things that the window's edge cuts and ignore their pixels: they belong to no part."""
    outside = np.ones(labels.things.shape, bool)
    outside[rows, columns] = False
    cut = np.intersect1d(labels.things[outside], labels.things[rows, columns])
    hidden = np.isin(labels.things, cut[cut > 0])
    return replace(labels, things=np.where(hidden, 0, labels.things)), ignore | hidden


def _panoptic(labels: Labels, rows: slice, columns: slice, size: float | None, taxonomy: Taxonomy) -> Panoptic:
    """Number stuff first (by category), then things; a thing lies on top of its tissue."""
    things = labels.things[rows, columns]
    stuff = np.zeros_like(things) if labels.stuff is None else labels.stuff[rows, columns]
    present, dense = np.unique(things, return_inverse=True)
    first = max((c.id for c in taxonomy.stuff), default=0)
    dense = dense.reshape(things.shape) + (0 if 0 in present else 1)
    numbers = present[present > 0].tolist()
    categories = {c.id: c.id for c in taxonomy.stuff}
    categories |= {first + k: labels.classes[number] for k, number in enumerate(numbers, 1)}
    crowds = [first + k for k, number in enumerate(numbers, 1) if number in labels.crowds]
    ids = np.where(things > 0, first + dense, stuff).astype(np.int32)
    return Panoptic.from_ids(ids, categories, taxonomy, size, crowds=crowds)
