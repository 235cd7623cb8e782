"""The numbers and choices of both merges, as frozen dataclasses that check themselves."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

#: 2048 px of a 1024 x 2048 street scene, the paper's area limit, as a share of the image.
PAPER_STUFF_FRACTION = 2048 / (1024 * 2048)
#: 4096 px of a 480 x 640 photograph, the limit of Kirillov et al. (2019), as a share of the image.
COCO_STUFF_FRACTION = 4096 / (480 * 640)


@dataclass(frozen=True)
class MergeRules:
    """What both merges share: which instances may compete, and what becomes of the rest of the image.

    Attributes:
        score: 0..1, instances at or below this score are dropped.
        nms: 0..1, of two boxes of one class whose IoU exceeds this, the one with the lower score is dropped; 1 = off.
        overlap: 0..1, an instance is dropped when more than this share of its mask is taken by better ones.
        leftovers: what a pixel becomes where the semantic head sees a thing but no instance took the pixel: "stuff"
            gives it to the best stuff class, "void" to nobody.
        min_stuff_um2: a stuff class that covers less than this in the whole image becomes void; used where the pixel
            size is known. None = use the fraction there too. 100 um2 is about one large nucleus.
        min_stuff_fraction: 0..1, the same limit as a share of the image, used where the pixel size is not known.
            0 keeps every stuff class.

    Raises:
        ValueError: a number out of its range or an unknown choice.
    """

    score: float = 0.5
    nms: float = 0.5
    overlap: float = 0.5
    leftovers: Literal["stuff", "void"] = "stuff"
    min_stuff_um2: float | None = 100.0
    min_stuff_fraction: float = PAPER_STUFF_FRACTION

    def __post_init__(self) -> None:
        for name in ("score", "nms", "overlap", "min_stuff_fraction"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"`{name}` must lie between 0 and 1, got {value}")
        if self.min_stuff_um2 is not None and not (isfinite(self.min_stuff_um2) and self.min_stuff_um2 >= 0):
            raise ValueError(f"`min_stuff_um2` must be an area of 0 um2 or more, or None, got {self.min_stuff_um2}")
        _check_choice("leftovers", self.leftovers, ("stuff", "void"))

    def passes(self, scores: Tensor) -> Tensor:
        """(N,) bool: which scores survive the score cut."""
        return scores > self.score

    def stuff_limit_px(self, size: tuple[int, int], pixel_size_um: float | None) -> float:
        """Smallest area in pixels that a stuff class may have in an image of this (H, W) and pixel size."""
        if pixel_size_um is not None and self.min_stuff_um2 is not None:
            return self.min_stuff_um2 / pixel_size_um**2
        return self.min_stuff_fraction * size[0] * size[1]


@dataclass(frozen=True)
class FusionRules(MergeRules):
    """The choices of the two-stage panoptic fusion (EfficientPS, Mohan and Valada 2021).

    The defaults are the rule of the paper with one exception: an instance competes inside its box only
    (`outside="never"`). `paper()` is the letter of the paper. The code that its authors published differs from the
    paper in more ways; each is an option here, and `official_code()` sets them all:

    ================== ============== =============================================================================
    option             official code  what it does there
    ================== ============== =============================================================================
    `mask_gain`        4              mask logits count four times as much as semantic logits
    `outside`          "zero"         FL is 0 outside the box, so an instance wins far from its box wherever every
                                      stuff logit is negative (the paper's padding says the same)
    `shrink_box`       True           the semantic logit counts in a box one row and one column smaller than the mask's
    `keep_empty`       True           an instance without a single positive mask logit still competes
    `leftovers`        "void"         thing pixels of the semantic head that no instance took are left unlabelled
    `min_stuff_um2`    None           the area limit is in pixels: 2048 of 1024 x 2048
    ================== ============== =============================================================================

    Attributes:
        outside: "never" = an instance competes inside its box only; "zero" = it competes with FL 0 elsewhere.
        mask_gain: factor on the mask logits before they meet the semantic logits, above 0.
        shrink_box: take the semantic logit as 0 in rows below trunc(y1 + 1) and columns below trunc(x1 + 1), that is
            in the first row and column of a box on whole pixels. (The code also ends its box at round(y2 - 1) + 1;
            the pixels whose centres lie in the box never reach that far.)
        keep_empty: let an instance compete whose mask holds no pixel (its box must hold a pixel centre).
        confine_positive: let an instance compete only where the sum of its mask and semantic logit is positive. FL
            is not monotone: FL(-10, -10) = -0.0018 beats a stuff logit of -0.5 although both heads are sure that
            there is nothing. A sum of 0 is not positive, so this also undoes `outside="zero"`.
    """

    outside: Literal["never", "zero"] = "never"
    mask_gain: float = 1.0
    shrink_box: bool = False
    keep_empty: bool = False
    confine_positive: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("outside", self.outside, ("never", "zero"))
        if not (isfinite(self.mask_gain) and self.mask_gain > 0):
            raise ValueError(f"`mask_gain` must be a positive number, got {self.mask_gain}")

    @classmethod
    def paper(cls) -> FusionRules:
        """The letter of the paper: FL is 0 outside the box, the area limit counts pixels."""
        return cls(outside="zero", min_stuff_um2=None)

    @classmethod
    def official_code(cls) -> FusionRules:
        """What the published code of the authors does, see the table above."""
        return cls(
            outside="zero", mask_gain=4.0, shrink_box=True, keep_empty=True, leftovers="void", min_stuff_um2=None
        )


@dataclass(frozen=True)
class HeuristicRules(MergeRules):
    """The choices of the heuristic merge (Kirillov et al. 2019, "Panoptic Segmentation", section 5).

    Two details differ from `FusionRules`: an instance *at* the score cut is kept, and by default a pixel where the
    semantic head sees a thing that no instance took is void. The rule itself has no NMS; it expects detections that
    went through it, for which a second pass at the same value changes nothing.
    """

    leftovers: Literal["stuff", "void"] = "void"
    min_stuff_fraction: float = COCO_STUFF_FRACTION

    def passes(self, scores: Tensor) -> Tensor:
        """(N,) bool: which scores survive the score cut."""
        return scores >= self.score


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}, got {value!r}")
