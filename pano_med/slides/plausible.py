"""Is the pixel size of a slide believable? Its objective and its nuclei tell, before an hour is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pano_med.slides.reader import Slide
from pano_med.slides.source import SlideReadError
from pano_med.slides.tissue import Tissue
from pano_med.types import Panoptic

#: (H, W, 3) uint8 and its micrometres per pixel -> the nuclei in it, as things of a map of the same size.
Segment = Callable[[np.ndarray, float], Panoptic]
#: Side of a patch in level-0 pixels, and the share of it that must be tissue, where there is such a patch.
PATCH, FULL = 512, 0.8
#: So many patches are read, all over the tissue, and those of these ranks in haematoxylin are used: the very darkest
#: are folds, ink and lymph follicles, the pale ones have few nuclei.
READ, RANKS = 24, (0.95, 0.85, 0.75)
#: Fewer nuclei than this say nothing.
MIN_NUCLEI = 30
#: A guess this many times off the stated size is a reason to ask. Measured with he-nano on six tissues (skin, cervix,
#: ovary's nests and stroma, breast, mouth): where the true size is stated, the guess is 0.69 to 1.44 times it, for
#: nuclei differ, and none is doubted; half the true size is doubted in four of six, twice the true size in three.
#: The errors that pass are those that leave nuclei at a size that the network knows.
FACTOR = 1.6
#: A guess that lies farther from the size it was made at than this factor is made again, at the guess: nuclei that are
#: shown too large or too small are measured badly.
AGAIN = 1.25
#: An objective says its nominal magnification; scanners keep within this factor of 10 um / magnification.
OBJECTIVE_FACTOR = 1.5
#: Red absorbs haematoxylin, hardly eosin: below this it is a nucleus, most likely.
_BLUE = 150
#: Nominal magnifications; 10x is 1 um per pixel.
_POWERS = np.array([1.25, 2.5, 5, 10, 20, 40, 80])


@dataclass(frozen=True)
class Guess:
    """What the nuclei say.

    Attributes:
        mpp: micrometres per level-0 pixel.
        nuclei: how many it rests on.
    """

    mpp: float
    nuclei: int


def guess_mpp(slide: Slide, tissue: Tissue, segment: Segment, nucleus_um: float = 7.0,
              start: float = 0.25) -> Guess | None:
    """Guess the pixel size of a slide from the median diameter of the nuclei in three patches of its tissue.

    They are measured at the stated size; where hardly any are found there, at twice and half of it. A guess far from
    that size is made once more, at the guess. Those are one or two steps of `pano_med.predict.estimate_mpp`: further
    steps would drive a slide of small nuclei away from its true size, as they did on a real one (0.81 um after three
    steps, 0.499 um true).

    Args:
        slide: the slide.
        tissue: its tissue.
        segment: see `Segment`.
        nucleus_um: median diameter of the nuclei that the network was trained on.
        start: assumption where the slide's own pixel size is unknown; the guess is then always made twice.

    Returns:
        None where there is no tissue, or too few nuclei in it.
    """
    patches = _patches(slide, tissue)
    guess = _guess(patches, segment, nucleus_um, slide.mpp or start)
    if guess and (slide.mpp is None or not 1 / AGAIN <= guess.mpp / slide.mpp <= AGAIN):
        guess = _guess(patches, segment, nucleus_um, guess.mpp) or guess
    return guess


def doubt(slide: Slide, guess: Guess | None = None) -> str | None:
    """One sentence where objective or nuclei speak against the slide's pixel size, or are all that is known of it.

    Args:
        slide: the slide.
        guess: of `guess_mpp`.

    Returns:
        None where there is nothing to say: the guess is within a factor of `FACTOR`, and the objective fits.
    """
    seen = "" if guess is None else (f"{slide.name} looks like {_power(guess.mpp)} (about {guess.mpp:.2g} um per "
                                     f"pixel, guessed from {guess.nuclei} nuclei)")  # fmt: skip
    if slide.mpp is None:
        return f"the size of its pixels is unknown; {seen}" if seen else None
    who, check = "the file says" if slide.mpp_source == "file" else "you say", "give the true size with --mpp"
    usual = 10 / slide.objective if slide.objective else slide.mpp
    if not 1 / OBJECTIVE_FACTOR <= usual / slide.mpp <= OBJECTIVE_FACTOR:
        return (f"{slide.name} was scanned at {slide.objective:g}x, which is usually {usual:.2g} um per pixel, "
                f"{who} {slide.mpp:.3g}; if that is wrong, {check}")
    if guess is None or 1 / FACTOR <= guess.mpp / slide.mpp <= FACTOR:
        return None
    return f"{seen}, {who} {_power(slide.mpp)} ({slide.mpp:.3g}); if the nuclei are right, {check}"


def _guess(patches: list[np.ndarray], segment: Segment, nucleus_um: float, stated: float) -> Guess | None:
    for mpp in (stated, 2 * stated, stated / 2):
        areas = [s.area for patch in patches for s in segment(patch, mpp).things]
        if len(areas) >= MIN_NUCLEI:
            return Guess(nucleus_um / float(np.median(2 * np.sqrt(np.array(areas) / np.pi))), len(areas))
    return None


def _patches(slide: Slide, tissue: Tissue) -> list[np.ndarray]:
    """(PATCH, PATCH, 3) uint8 each; at most one for each rank, none where nothing can be read."""
    height, width = slide.size
    places = [(top, left) for top in range(0, max(1, height - PATCH + 1), PATCH)
              for left in range(0, max(1, width - PATCH + 1), PATCH)]  # fmt: skip
    covers = {(top, left): tissue.covers(top, left, PATCH, PATCH) for top, left in places}
    full = [place for place in places if covers[place] >= FULL]
    full = full or sorted((p for p in places if covers[p]), key=lambda p: -covers[p])[: len(RANKS)]
    patches = []
    for i in np.unique(np.linspace(0, len(full) - 1, READ).round().astype(int)) if full else ():
        top, left = full[i]
        try:
            patches.append(slide.region(top, left, PATCH, PATCH))
        except SlideReadError:
            continue  # the others will do
    patches.sort(key=lambda pixels: float((pixels[::4, ::4, 0] < _BLUE).mean()))
    return [patches[i] for i in sorted({int(rank * len(patches)) for rank in RANKS})] if patches else []


def _power(mpp: float) -> str:
    """The nearest nominal magnification, as people say it."""
    return f"{_POWERS[np.abs(np.log(_POWERS * mpp / 10)).argmin()]:g}x"
