"""One small function per way of writing labels down; each turns the mask files of one image into `Labels`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from pano_med.data.files import read_labels, read_mat
from pano_med.types import HE_CORE

#: JPEG ringing leaves specks in a mask: smaller components are not nuclei (a lymphocyte at 0.2 um/px has 700 px).
MIN_SPECK_PX = 30
#: A JPEG or PNG mask counts as drawn above this value.
HALF = 127


@dataclass(frozen=True)
class Labels:
    """The labels of one image in the project's own words.

    Attributes:
        things: (H, W) int, number of the object at each pixel, 0 = none.
        classes: category name of each object.
        stuff: (H, W) int, category id of the region at each pixel, 0 = not labelled; or None.
    """

    things: np.ndarray
    classes: Mapping[int, str]
    stuff: np.ndarray | None = None


Codes = Mapping[int, str]


def one_file_per_object(masks: Sequence[Path], codes: Codes) -> Labels:
    """One binary image per nucleus (Data Science Bowl 2018). Where masks overlap the first one keeps the pixel."""
    things = np.zeros(read_labels(masks[0]).shape, np.int32)
    for number, path in enumerate(masks, 1):
        mask = read_labels(path)
        if mask.shape != things.shape:
            raise ValueError(f"masks of one image must have one size, {path} has {mask.shape}, not {things.shape}")
        rows = np.flatnonzero(mask.any(1))
        if len(rows):
            view = things[rows[0] : rows[-1] + 1]
            view[(mask[rows[0] : rows[-1] + 1] > HALF) & (view == 0)] = number
    return _single_class(things, codes)


def components(masks: Sequence[Path], codes: Codes) -> Labels:
    """A binary mask; touching pixels (edge or corner) are one nucleus, specks of JPEG noise are dropped."""
    things, _ = ndimage.label(read_labels(masks[0]) > HALF, np.ones((3, 3), int))
    areas = np.bincount(things.ravel())
    keep = areas >= MIN_SPECK_PX
    keep[0] = False
    return _single_class(np.where(keep[things], things, 0), codes)


def instances_and_types(masks: Sequence[Path], codes: Codes) -> Labels:
    """A map of object numbers, then a map of type codes; an object's type is that of most of its pixels."""
    things, types = (read_labels(path).astype(np.int32) for path in masks)
    return Labels(things, _majority(things, types, codes, masks[1]))


def mat_panoptic(masks: Sequence[Path], codes: Codes) -> Labels:
    """A MATLAB file with `inst_map`, `type_map` and `sem_map`; region codes stand in `codes` as negative numbers."""
    things, types, regions = read_mat(masks[0], "inst_map", "type_map", "sem_map")
    names = {0: 0} | {-code: HE_CORE[name].id for code, name in codes.items() if code < 0}
    strangers = sorted(set(np.unique(regions).tolist()) - set(names))
    if strangers:
        raise ValueError(f"{masks[0]} has region codes {strangers}, known are {sorted(names)}")
    table = np.zeros(max(names) + 1, np.int32)
    table[list(names)] = list(names.values())
    return Labels(things, _majority(things, types, codes, masks[0]), table[regions])


def region(masks: Sequence[Path], codes: Codes) -> Labels:
    """A binary mask of one tissue; `codes` names what 1 (drawn) and 0 (the rest) mean."""
    drawn = read_labels(masks[0]) > HALF
    stuff = np.where(drawn, HE_CORE[codes[1]].id, HE_CORE[codes[0]].id).astype(np.int32)
    return Labels(np.zeros(drawn.shape, np.int32), {}, stuff)


def _single_class(things: np.ndarray, codes: Codes) -> Labels:
    return Labels(things, dict.fromkeys(np.unique(things[things > 0]).tolist(), codes[1]))


def _majority(things: np.ndarray, types: np.ndarray, codes: Codes, path: Path) -> dict[int, str]:
    if things.shape != types.shape:
        raise ValueError(f"maps of one image must have one size, {path.name} has {types.shape}, not {things.shape}")
    inside = things > 0
    pairs, counts = np.unique(np.stack([things[inside], types[inside]]), axis=1, return_counts=True)
    best: dict[int, tuple[int, int]] = {}
    for thing, code, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
        best[thing] = max(best.get(thing, (0, 0)), (count, code))
    strangers = sorted({code for _, code in best.values()} - set(codes))
    if strangers:
        raise ValueError(f"{path} has type codes {strangers}, known are {sorted(c for c in codes if c > 0)}")
    return {thing: codes[code] for thing, (_, code) in best.items()}
