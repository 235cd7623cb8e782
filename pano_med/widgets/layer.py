"""Images and panoptic maps as what a page can draw: PNG bytes and plain tables."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from pano_med.pictures import styles
from pano_med.types import OKABE_ITO, Panoptic, Taxonomy

#: Ids travel as 24-bit colours.
_MOST_IDS = 1 << 24
#: Pictures above this many pixels travel as JPEG; below, every pixel is exact.
_EXACT = 1 << 20
#: A page holds every pixel of image and map; more than this makes a browser slow.
_MOST_PIXELS = 6000 * 6000
#: Regions of stuff smaller than this share of the picture carry no letter.
_LETTER_SHARE = 0.01


def png(rgb: np.ndarray) -> bytes:
    """An (H, W, 3) uint8 picture as PNG, lossless."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "PNG", compress_level=4)
    return file.getvalue()


def image_bytes(rgb: np.ndarray) -> bytes:
    """An (H, W, 3) uint8 picture as PNG, or as JPEG where it is larger than a megapixel."""
    if rgb.shape[0] * rgb.shape[1] <= _EXACT:
        return png(rgb)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "JPEG", quality=90, subsampling=0)
    return file.getvalue()


def id_png(ids: np.ndarray) -> bytes:
    """An (H, W) map of ids as a lossless PNG: id = R + 256 G + 65536 B.

    Args:
        ids: integers from 0 to 2^24 - 1.

    Raises:
        TypeError: not an (H, W) integer array.
        ValueError: an id beyond 24 bits.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"ids must be an (H, W) integer array, got shape {ids.shape} of {ids.dtype}")
    if ids.size and (ids.min() < 0 or ids.max() >= _MOST_IDS):
        raise ValueError(f"ids must lie within 0..{_MOST_IDS - 1} (24 bits), got {ids.min()}..{ids.max()}")
    return png(np.stack([ids >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8))


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An image as (H, W, 3) uint8; a grey one gets three equal channels, an alpha channel is dropped.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8.

    Raises:
        TypeError: another type or shape.
        ValueError: an image without pixels.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise TypeError(
            f"the image must be uint8 (0..255), got {image.dtype}; "
            "skimage.util.img_as_ubyte turns floats from 0 to 1 into it"
        )
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise TypeError(f"the image must be (H, W, 3), or (H, W) if it is grey, got shape {image.shape}")
    if image.size == 0:
        raise ValueError(f"the image has no pixels, its shape is {image.shape}")
    return np.repeat(image, 3, -1) if image.shape[2] == 1 else image[..., :3]


def check_pair(image: np.ndarray, panoptic: Panoptic, name: str = "panoptic") -> None:
    """Raise unless `panoptic` is a Panoptic of the image's size, and both fit into a page.

    Raises:
        TypeError: not a Panoptic.
        ValueError: sizes differ, or more than 36 megapixels.
    """
    if image.shape[0] * image.shape[1] > _MOST_PIXELS:
        raise ValueError(
            f"a widget holds at most {_MOST_PIXELS // 10**6} megapixels, the image has {image.shape[0]} x "
            f"{image.shape[1]} pixels; show a crop, or every second pixel of image and map"
        )
    if not isinstance(panoptic, Panoptic):
        raise TypeError(
            f"`{name}` must be a pano_med.types.Panoptic, got {type(panoptic).__name__}; "
            "Panoptic.from_ids makes one from an array of ids and their categories"
        )
    if image.shape[:2] != panoptic.size:
        raise ValueError(
            f"image and `{name}` must have one size (H, W), got {image.shape[:2]} and {panoptic.size}; "
            "crop or resize one of them, maps by nearest neighbour"
        )


def shrunk(image: np.ndarray, panoptic: Panoptic, longest: int) -> tuple[np.ndarray, Panoptic]:
    """Image and map with every second (third, ...) pixel left out until no side is longer than `longest`."""
    step = -(-max(panoptic.size) // longest)
    if step <= 1:
        return image, panoptic
    kinds, size = {s.id: s.category_id for s in panoptic.segments}, panoptic.pixel_size_um
    ids = panoptic.ids[::step, ::step]
    coarse = Panoptic.from_ids(ids, kinds, panoptic.taxonomy, None if size is None else size * step)
    picture = Image.fromarray(np.ascontiguousarray(image)).resize(ids.shape[::-1], Image.Resampling.BOX)
    return np.asarray(picture), coarse


def categories(taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """How the page draws each class of a taxonomy: colour, letter, line, hatching."""
    look = styles(taxonomy)
    return [
        {
            "id": c.id,
            "name": c.name,
            "isthing": c.isthing,
            "color": list(c.color),
            "gap": list(look[c.id].gap),
            "letter": look[c.id].letter,
            "line": list(look[c.id].line),
            "hatch": list(look[c.id].hatch),
            "quiet": look[c.id].quiet,
            "fill": c.color != OKABE_ITO["purple"],  # reddish purple does not show on the pink of eosin: hatched
        }
        for c in taxonomy.all
    ]


def layer(panoptic: Panoptic) -> dict[str, Any]:
    """A panoptic map as a dict that a synced traitlets.Dict carries and `pano.loadLayer` reads.

    Segments are numbered 1, 2, 3, ... in the order of `panoptic.segments`, whatever their ids, so ids beyond 24 bits
    are no trouble.

    Returns:
        ids: PNG bytes of the numbers; categories: see `categories`; segments: columns id, category (index into
        categories), score, area (px), row and col (of its middle, always inside), place (row, col, row, col of its
        box, far edges exclusive); labels: [number, row, col] where a letter may stand in stuff; note: of the
        taxonomy.
    """
    number = {s.id: i for i, s in enumerate(panoptic.segments, 1)}
    dense = panoptic.lookup(number)
    index = {c.id: i for i, c in enumerate(panoptic.taxonomy.all)}
    boxes = ndimage.find_objects(dense, len(number)) if number else []
    middles = _middles(dense, boxes)
    return {
        "ids": id_png(dense),
        "categories": categories(panoptic.taxonomy),
        "segments": {
            "id": [s.id for s in panoptic.segments],
            "category": [index[s.category_id] for s in panoptic.segments],
            "score": [None if s.score is None else float(s.score) for s in panoptic.segments],
            "area": [int(s.area) for s in panoptic.segments],
            "row": [row for row, _ in middles],
            "col": [col for _, col in middles],
            "place": [[b[0].start, b[1].start, b[0].stop, b[1].stop] for b in boxes],
        },
        "labels": _labels(panoptic, number),
        "note": panoptic.taxonomy.note,
    }


def _labels(panoptic: Panoptic, number: dict[int, int]) -> list[list[float]]:
    step = max(1, min(panoptic.size) // 250)  # a coarse look is enough
    ids, things = panoptic.ids[::step, ::step], {s.id for s in panoptic.things}
    solid = np.isin(ids, list(things))
    return [
        [number[s.id], row * step, col * step]
        for s in panoptic.stuff
        if s.area >= _LETTER_SHARE * panoptic.ids.size
        for row, col in _letter_places(ids == s.id, solid)
    ]


def _letter_places(own: np.ndarray, things: np.ndarray) -> list[tuple[float, float]]:
    """(row, col) deep inside each large part of a tissue, where nuclei within count as tissue but carry no letter."""
    parts, _ = ndimage.label(np.pad(own | things, 1))
    depth = ndimage.distance_transform_edt(parts > 0)
    clear = ndimage.distance_transform_edt(np.pad(own, 1))
    large = np.bincount(parts[np.pad(own, 1)]) >= _LETTER_SHARE * own.size
    found = []
    for part in np.flatnonzero(large):
        room = np.where((parts == part) & (clear > 1), np.minimum(depth, 4 * clear), 0)
        if room.any():
            row, col = np.unravel_index(room.argmax(), room.shape)
            found.append((float(row - 1), float(col - 1)))
    return found


def _middles(dense: np.ndarray, boxes: list[tuple[slice, slice]]) -> list[tuple[float, float]]:
    """The centroid of each segment, or its deepest point where the centroid lies outside, as in a crescent."""
    count = len(boxes)
    area = np.maximum(np.bincount(dense.ravel(), minlength=count + 1), 1)
    axes = (np.broadcast_to(axis, dense.shape).ravel() for axis in np.ogrid[: dense.shape[0], : dense.shape[1]])
    centroids = np.stack([np.bincount(dense.ravel(), axis, count + 1) / area for axis in axes], -1)[1:]
    rows, columns = np.rint(centroids).astype(int).T
    outside = np.flatnonzero(dense[rows, columns] != np.arange(1, count + 1))
    for i in outside:
        step = max(1, min(part.stop - part.start for part in boxes[i]) // 250)
        depth = ndimage.distance_transform_edt(np.pad(dense[boxes[i]][::step, ::step] == i + 1, 1))
        if depth.any():
            place = np.array(np.unravel_index(depth.argmax(), depth.shape)) - 1
            centroids[i] = place * step + [part.start for part in boxes[i]]
    return [(float(row), float(col)) for row, col in centroids.round(2)]
