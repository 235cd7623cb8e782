"""Labels as plain pictures: binary masks, one file for each object, label images, region maps."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from pano_med.data.codecs.labels import Code, Codes, Labels, joined, one_class, stuff_of
from pano_med.data.files import read_channels, read_labels
from pano_med.data.items import Item

#: A JPEG or PNG mask counts as drawn above this value.
HALF = 127
#: Pixels that touch at an edge or a corner are neighbours.
EIGHT = np.ones((3, 3), int)


def one_file_per_object(item: Item, codes: Codes, size: tuple[int, int], above: int = HALF) -> Labels:
    """One binary image per object (Data Science Bowl 2018). Where masks overlap the first one keeps the pixel."""
    things = np.zeros(read_labels(item.masks[0]).shape, np.int32)
    for number, path in enumerate(item.masks, 1):
        mask = read_labels(path)
        if mask.shape != things.shape:
            raise ValueError(f"masks of one image must have one size, {path} has {mask.shape}, not {things.shape}")
        rows = np.flatnonzero(mask.any(1))
        if len(rows):
            view = things[rows[0] : rows[-1] + 1]
            view[(mask[rows[0] : rows[-1] + 1] > above) & (view == 0)] = number
    return one_class(things, codes)


def components(item: Item, codes: Codes, size: tuple[int, int], min_px: int = 1, above: int = HALF) -> Labels:
    """A binary mask; touching pixels (edge or corner) are one object.

    Args:
        item: its mask.
        codes: code 1 is the object; code 0, where there is one, is the region around.
        size: of the image.
        min_px: smaller parts are noise of the compression, not objects.
        above: a pixel counts as drawn above this value.
    """
    drawn = read_labels(item.masks[0]) > above
    things, _ = ndimage.label(drawn, EIGHT)
    areas = np.bincount(things.ravel())
    keep = areas >= min_px
    keep[0] = False
    things = np.where(keep[things], things, 0)
    if 0 not in codes.stuff:
        return one_class(things, codes)
    return one_class(things, codes, stuff=np.where(things > 0, 0, codes.stuff[0]).astype(np.int32))


def regions(item: Item, codes: Codes, size: tuple[int, int], binary: bool = False, above: int = HALF) -> Labels:
    """A map of region codes; with `binary`, 1 where the mask is above `above` and 0 elsewhere."""
    found = read_labels(item.masks[0])
    stuff, void = stuff_of((found > above).astype(np.uint8) if binary else found, codes, item.masks[0])
    return Labels(np.zeros(stuff.shape, np.int32), {}, stuff, void)


def label_image(item: Item, codes: Codes, size: tuple[int, int], void: str = "") -> Labels:
    """One number per object, all of one class.

    Args:
        item: its label image; with `void`, also a mask of vague areas.
        codes: code 1 is the object.
        size: of the image.
        void: a piece of the path of the vague areas' mask (drawn above 0); "" where there is none.
    """
    vague = [path for path in item.masks if void and void in path.as_posix()]
    (labels,) = _one(set(item.masks) - set(vague), item)
    things = read_labels(labels).astype(np.int32)
    hidden = [read_labels(path) > 0 for path in vague]
    for mask, path in zip(hidden, vague, strict=True):
        if mask.shape != things.shape:
            raise ValueError(f"masks of one image must have one size, {path} has {mask.shape}, not {things.shape}")
    return one_class(things, codes, void=joined(*hidden))


def _one(paths: set[Path], item: Item) -> list[Path]:
    if len(paths) != 1:
        raise ValueError(f"{item.name} must have one label image, it has {len(paths)}: {sorted(p.name for p in paths)}")
    return list(paths)


def seeded_classes(
    item: Item,
    codes: Codes,
    size: tuple[int, int],
    region_channel: int = 0,
    type_channel: int = 1,
    none: Code = 0,
    x: str = "coords_x",
    y: str = "coords_y",
) -> Labels:
    """Regions in one channel, classes of nuclei in another, and a CSV with the centre of each nucleus.

    Touching nuclei of one class are one component of the class map. Where a component holds several centres it is
    cut between them (watershed on the distance to the nearest centre); a component without centre is one nucleus.

    Args:
        item: its mask (PNG) and, where there is one, its CSV.
        codes: of regions and nuclei.
        size: of the image.
        region_channel: channel of the regions.
        type_channel: channel of the nuclei's classes.
        none: the code in `type_channel` of a pixel without nucleus.
        x: column of the centres' x in pixels.
        y: column of the centres' y.

    Raises:
        ValueError: unknown codes, a CSV without these columns.
    """
    path = next(p for p in item.masks if p.suffix != ".csv")
    mask = read_channels(path)
    if mask.shape[-1] <= max(region_channel, type_channel):
        raise ValueError(f"the mask must have channels for regions and nuclei, {path} has shape {mask.shape}")
    stuff, outside = stuff_of(mask[..., region_channel], codes, path)
    types = mask[..., type_channel]
    codes.check(np.unique(types).tolist(), {none, *codes.things}, "type", path)
    seeds = _seeds([p for p in item.masks if p.suffix == ".csv"], types.shape, x, y)
    things = np.zeros(types.shape, np.int32)
    classes: dict[int, int] = {}
    for code in np.unique(types).tolist():
        if code in codes.things:
            parts = _cut(types == code, seeds)
            first = len(classes)
            things[parts > 0] = parts[parts > 0] + first
            classes |= {first + number: codes.things[code] for number in range(1, int(parts.max()) + 1)}
    unclear = np.isin(types, [code for code in codes.void if isinstance(code, int) and code != none])
    return Labels(things, classes, stuff, joined(outside, unclear))


def _seeds(tables: Sequence[Path], shape: tuple[int, ...], x: str, y: str) -> np.ndarray:
    """(H, W) int32 with the number of a nucleus at its centre; centres beyond the image are left out."""
    seeds = np.zeros(shape, np.int32)
    for path in tables:
        rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
        if rows and not {x, y} <= set(rows[0]):
            raise ValueError(f"{path} must have the columns {x} and {y}, it has {list(rows[0])}")
        for number, row in enumerate(rows, 1):
            r, c = int(float(row[y])), int(float(row[x]))
            if 0 <= r < shape[0] and 0 <= c < shape[1]:
                seeds[r, c] = number
    return seeds


def _cut(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Number the nuclei of a mask 1..N, one for each centre inside, and one for each part without centre."""
    parts, count = ndimage.label(mask, EIGHT)
    inside = np.where(mask, seeds, 0)
    lonely = np.setdiff1d(np.arange(1, count + 1), parts[inside > 0])
    inside = np.where(np.isin(parts, lonely), parts + int(seeds.max()), inside)
    if not inside.any():
        return parts
    found = watershed(ndimage.distance_transform_edt(inside == 0), inside, mask=mask, connectivity=2)
    return np.unique(found, return_inverse=True)[1].reshape(mask.shape) + (0 if (found == 0).any() else 1)
