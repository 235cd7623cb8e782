"""Sample, LazySample, Instances and Prediction: the doors that hold torch tensors, without importing torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pano_med.types.panoptic import Panoptic, check_pixel_size
from pano_med.types.taxonomy import Taxonomy

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One image as people labelled it.

    Attributes:
        image: (3, H, W) torch tensor, RGB, uint8 0..255 or float 0..1.
        truth: what the annotators drew, or None.
        pixel_size_um: side of a pixel in micrometres, or None.
        source: data set, e.g. "tnbc".
        group: patient or case; splits never divide a group.
        known: ids of the categories that the annotators labelled *exhaustively*: what is not drawn as such a
            category is none of it. With the taxonomy's `unclassed` id in `known`, every thing was drawn but not typed.
        ignore: (H, W) bool torch tensor, True where nothing is known (padding, smears), or None.
        name: file or tile, for messages.
    """

    image: Tensor
    truth: Panoptic | None = None
    pixel_size_um: float | None = None
    source: str = ""
    group: str = ""
    known: frozenset[int] = frozenset()
    ignore: Tensor | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", frozenset(self.known))
        check_pixel_size(self.pixel_size_um)
        name = self.name or "the sample"
        if self.image.ndim != 3 or self.image.shape[0] != 3:
            raise ValueError(f"an image must be (3, H, W), {name} has shape {tuple(self.image.shape)}")
        drawn = None if self.truth is None else self.truth.size
        for what, size in (("truth", drawn), ("ignore", _shape(self.ignore))):
            if size is not None and tuple(size) != self.size:
                raise ValueError(f"{what} must cover the image {self.size}, {name} has {tuple(size)}")
        if self.truth is not None:
            strangers = sorted(self.known - {c.id for c in self.truth.taxonomy.all})
            if strangers:
                table = self.truth.taxonomy.name
                raise ValueError(f"`known` names categories {strangers} that taxonomy {table!r} lacks")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return tuple(self.image.shape[-2:])  # type: ignore[return-value]


@dataclass(frozen=True)
class LazySample:
    """A sample that is read each time it is needed, so that a large set is never held in memory.

    Attributes:
        read: gives the sample; raises OSError or ValueError for a file that cannot be used, which training then
            names, skips and counts.
        name: file or tile, for messages.
        source: data set, as in `Sample`.
        group: patient or case, as in `Sample`.
        classes: ids of the categories that its truth shows, where that is known without reading it; else None.
    """

    read: Callable[[], Sample]
    name: str
    source: str = ""
    group: str = ""
    classes: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if not callable(self.read):
            raise ValueError(f"a lazy sample is read by calling `read`, {self.name or 'this one'} has {self.read!r}")


@dataclass(frozen=True)
class Instances:
    """Things found in one image, not yet merged with stuff. N may be 0.

    Attributes:
        boxes: (N, 4) float, xyxy in pixels of the image.
        category_ids: (N,) int64, ids of things in the taxonomy.
        scores: (N,) float, 0..1.
        mask_logits: (N, M, M) float; the M x M grid spans the instance's own box, so M is small however large
            the image. Positive = inside.
    """

    boxes: Tensor
    category_ids: Tensor
    scores: Tensor
    mask_logits: Tensor

    def __post_init__(self) -> None:
        n = len(self.boxes)
        shapes = {k: tuple(getattr(self, k).shape) for k in ("boxes", "category_ids", "scores", "mask_logits")}
        m = shapes["mask_logits"]
        if shapes["boxes"] != (n, 4) or shapes["category_ids"] != (n,) or shapes["scores"] != (n,):
            raise ValueError(f"instances must have boxes (N, 4), category_ids (N,) and scores (N,), got {shapes}")
        if len(m) != 3 or m[0] != n or m[1] != m[2]:
            raise ValueError(f"mask logits must be (N, M, M) in their boxes' frames with N = {n}, got {m}")

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image before fusion.

    Attributes:
        semantic_logits: (K, H, W) float, one channel per entry of `taxonomy.channels`.
        instances: the things.
        taxonomy: the table both heads speak.
        pixel_size_um: side of a pixel in micrometres, or None.

    Raises:
        ValueError: the number of channels is not the taxonomy's.
    """

    semantic_logits: Tensor
    instances: Instances
    taxonomy: Taxonomy
    pixel_size_um: float | None = None

    def __post_init__(self) -> None:
        check_pixel_size(self.pixel_size_um)
        k = len(self.taxonomy.channels)
        shape = tuple(self.semantic_logits.shape)
        if len(shape) != 3 or shape[0] != k:
            raise ValueError(f"semantic logits must be ({k}, H, W) for taxonomy {self.taxonomy.name!r}, got {shape}")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return tuple(self.semantic_logits.shape[-2:])  # type: ignore[return-value]


def _shape(array: Any) -> tuple[int, ...] | None:
    return None if array is None else tuple(array.shape)
