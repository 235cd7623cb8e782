"""A data set that is too large for memory: every image is read when a step wants it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from pano_med.data import Card, card
from pano_med.data.items import Item, Layout
from pano_med.data.reading import items, samples_of
from pano_med.data.splits import TRAIN, VALIDATION, part_of, written_of
from pano_med.types import LazySample, Sample


class LazySplit(NamedTuple):
    """Samples to learn from and samples to check on, not read yet."""

    train: list[LazySample]
    validation: list[LazySample]


def lazy_split(source: str | Card, root: str | Path, *, glass: bool = False) -> LazySplit:
    """As `pano_med.data.load_split`, but nothing is decoded before it is needed.

    Args:
        source: name of a set that has a card, or a card.
        root: the folder that holds the set's folder, or the folder of the set itself.
        glass: as in `pano_med.data.load`.

    Raises:
        ValueError: a set that is cut into windows: those are few and large, `load_split` reads them once; or an image
            that the split does not know.
        FileNotFoundError: the set or a file of it is missing.
    """
    it = source if isinstance(source, Card) else card(source)
    if it.windows:
        raise ValueError(f"{it.name} is cut into windows, which are read once and kept; use load_split for it")
    found, layout, _ = items(it, root)
    split = LazySplit([], [])
    for item in found:
        group = written_of(it).group(item.name) or layout.group_of(item)
        part = part_of(it, item.name, group, item.groups)
        if part is None:
            raise ValueError(f"the split of {it.name} has no place for {item.name!r} (group {group!r}); add it there")
        wanted = {TRAIN: split.train, VALIDATION: split.validation}.get(part)
        if wanted is not None:
            wanted.append(LazySample(partial(_read, it, layout, item, group, glass), item.name, it.name, group))
    return split


def _read(it: Card, layout: Layout, item: Item, group: str, glass: bool) -> Sample:
    return samples_of(it, layout, item, group, glass, it.taxonomy)[0]
