"""From a panoptic truth to what the network learns from, partial labels included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Transform
from scipy.ndimage import find_objects
from torch import Tensor

from pano_med.types import Sample, Taxonomy

#: The dictionary keys that hold (C, H, W) tensors; geometry moves all three together.
SPATIAL = ("image", "ids", "ignore")


def to_dict(sample: Sample) -> dict[str, Any]:
    """The dictionary that our transforms work on.

    Returns:
        "image": (3, H, W) as in the sample, uint8 or float (`RandScaleCropd`, `ScaleTod` make it float32 0..1: turning
        a crop into floats is cheap, a whole slide region is not); "ids": (1, H, W) int32 segment ids, 0 = void;
        "ignore": (1, H, W) bool; "categories": segment id -> category id, `Taxonomy.VOID` for crowds; "taxonomy" (None
        where there is no truth); "known", "pixel_size_um", "name", "source" as in the sample.
    """
    truth, size = sample.truth, (1, *sample.size)
    ignore = torch.zeros(size, dtype=torch.bool) if sample.ignore is None else sample.ignore[None].bool()
    segments = () if truth is None else truth.segments
    return {
        "image": sample.image,
        # a copy, because torch cannot hold the read-only map of a Panoptic without a warning
        "ids": torch.zeros(size, dtype=torch.int32) if truth is None else torch.from_numpy(truth.ids.copy())[None],
        "ignore": ignore,
        "categories": {s.id: Taxonomy.VOID if s.iscrowd else s.category_id for s in segments},
        "taxonomy": None if truth is None else truth.taxonomy,
        "known": sample.known,
        "pixel_size_um": sample.pixel_size_um,
        "name": sample.name,
        "source": sample.source,
    }


def things_known(taxonomy: Taxonomy, known: frozenset[int]) -> bool:
    """True where every thing was drawn: `unclassed` is in `known` (drawn, perhaps not typed), or all things are."""
    unclassed = taxonomy.unclassed is not None and taxonomy.unclassed.id in known
    return unclassed or all(c.id in known for c in taxonomy.things)


def allowed_channels(category_id: int, taxonomy: Taxonomy, known: frozenset[int]) -> list[bool]:
    """The semantic channels that a pixel of this category may have: the rules of partial labels.

    "Things known" is `things_known`. A category in `known` was drawn exhaustively, so a pixel that is not drawn as
    such a category is none of it.

    =====================  ===================================  ==================================================
    the pixel is           things known                         things not known
    =====================  ===================================  ==================================================
    a classed thing        its channel                          its channel
    an unclassed thing     all things                           all things
    a stuff segment s      s                                    s, and the things not in `known` (nuclei that nobody
                                                                drew lie in tumour too)
    void                   the stuff not in `known`; all stuff  everything not in `known`
                           if all of it is in `known`
    ignored, or a crowd    everything                           everything
    =====================  ===================================  ==================================================

    Everything allowed means that nothing is known and nothing is learned there.

    Args:
        category_id: of the segment, `Taxonomy.VOID` for void. Ignored pixels and crowds are the caller's.
        taxonomy: the table.
        known: ids of the categories that were drawn exhaustively.

    Returns:
        K booleans in the order of `taxonomy.channels`.
    """
    stuff, things = ({c.id for c in group} for group in (taxonomy.stuff, taxonomy.things))
    undrawn_things = set() if things_known(taxonomy, known) else things - known
    if category_id == Taxonomy.VOID:
        allowed = (stuff - known) | undrawn_things or stuff
    elif taxonomy[category_id] == taxonomy.unclassed:
        allowed = things
    else:
        allowed = {category_id} if taxonomy[category_id].isthing else {category_id} | undrawn_things
    return [c.id in allowed for c in taxonomy.channels]


def panoptic_targets(
    ids: Tensor,
    categories: Mapping[int, int],
    taxonomy: Taxonomy,
    known: frozenset[int] = frozenset(),
    ignore: Tensor | None = None,
    min_pixels: int = 16,
) -> dict[str, Tensor]:
    """The training targets of one image, made new from its segment ids, so that any geometry may come before.

    A thing that the border or an ignored region cuts keeps its visible part; a thing in several pieces stays one.

    Args:
        ids: (H, W) integers, 0 = void.
        categories: segment id -> category id; `Taxonomy.VOID` for a crowd.
        taxonomy: the table of the categories.
        known: ids of the categories that were drawn exhaustively.
        ignore: (H, W) bool, True where nothing is known, or None.
        min_pixels: a thing with fewer visible pixels is too little to learn from and becomes ignored.

    Returns:
        "boxes" (N, 4) float32 xyxy, far edge exclusive; "labels" (N,) int64, 1..T in the order of `taxonomy.things`,
        T + 1 for `unclassed`; "masks" (N, H, W) bool, in the order of ids; "allowed" (K, H, W) bool, see
        `allowed_channels`; "ignore" (H, W) bool; "things_known" () bool, False = the image trains stuff only.

    Raises:
        ValueError: an id in the map has no category.
        KeyError: a category that the taxonomy lacks.
    """
    ignore = torch.zeros_like(ids, dtype=torch.bool) if ignore is None else ignore
    found, index = torch.unique(ids.masked_fill(ignore, 0), return_inverse=True)  # (U,), (H, W)
    segments = [_category(i, categories) for i in found.tolist()]
    is_thing = torch.tensor([c != Taxonomy.VOID and taxonomy[c].isthing for c in segments])
    is_crowd = torch.tensor([i != 0 and c == Taxonomy.VOID for i, c in zip(found.tolist(), segments, strict=True)])
    area = torch.bincount(index.flatten(), minlength=len(found))
    unknown = is_crowd | (is_thing & (area < min_pixels))  # (U,)
    ignore = ignore | unknown[index]
    table = torch.tensor([allowed_channels(c, taxonomy, known) for c in segments])  # (U, K)
    allowed = table.T.index_select(1, index.flatten()).view(-1, *ids.shape) | ignore  # (K, H, W)
    things = torch.nonzero(is_thing & ~unknown).flatten()  # (N,)
    order = [*(c.id for c in taxonomy.things), *([taxonomy.unclassed.id] if taxonomy.unclassed else [])]
    return {
        "boxes": _boxes(index)[things],
        "labels": torch.tensor([order.index(segments[i]) + 1 for i in things.tolist()], dtype=torch.int64),
        "masks": index.int()[None] == things.int()[:, None, None],
        "allowed": allowed,
        "ignore": ignore,
        "things_known": torch.tensor(things_known(taxonomy, known)),
    }


def _category(segment_id: int, categories: Mapping[int, int]) -> int:
    if segment_id == 0:
        return Taxonomy.VOID
    if segment_id not in categories:
        raise ValueError(f"each id in the map needs a category, segment {segment_id} has none in `categories`")
    return categories[segment_id]


def _boxes(index: Tensor) -> Tensor:
    """(U, 4) float32 xyxy of the numbers 0..U-1, each of which is somewhere in the (H, W) map."""
    slices = find_objects(index.numpy() + 1)  # SciPy counts from 1
    return torch.tensor([[x.start, y.start, x.stop, y.stop] for y, x in slices], dtype=torch.float32).view(-1, 4)


class PanopticTargetsd(Transform):
    """Adds "target", the `panoptic_targets` of a dictionary as `to_dict` makes it."""

    def __init__(self, min_pixels: int = 16) -> None:
        self.min_pixels = min_pixels

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if data["taxonomy"] is None:
            raise ValueError(f"targets need a truth, {data['name'] or 'the sample'} has none")
        ids, ignore = (plain(data[k])[0] for k in ("ids", "ignore"))
        target = panoptic_targets(ids, data["categories"], data["taxonomy"], data["known"], ignore, self.min_pixels)
        return {**data, "image": plain(data["image"]), "target": target}


def plain(tensor: Tensor) -> Tensor:
    """The tensor without MONAI's metadata, contiguous."""
    return torch.Tensor.as_subclass(tensor, torch.Tensor).contiguous()


def collate(pairs: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """(image, target) pairs as the two lists that the network takes; nothing is stacked, sizes may differ."""
    return [image for image, _ in pairs], [target for _, target in pairs]
