"""Where there is tissue on a slide, so that nobody computes on glass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pano_med.slides.reader import Slide

#: Tissue takes its colours apart by at least this much: densest less clearest channel, in optical density, less the
#: tint of the glass. Glass of six sources at 8 um per pixel: 99 % of it below 0.016, without that correction; tissue:
#: 95 % above 0.03 in five of seven sources, the rest lies between tissue and is closed.
MIN_COLOUR = 0.02
#: Pixels whose brightest channel is below this were never lit: the black that scanners put where they did not scan.
UNLIT = 40
#: Blue and green ink absorb red more than green light. H&E and DAB absorb green more; the least ratio of green to red
#: in 1 of 10,000 pixels of seven sources is 0.78.
INK_RATIO = 0.75
INK_OD = 0.15
#: Glass is at most this dense and this tinted.
GLASS_OD, GLASS_COLOUR = 0.2, 0.05
#: Gaps narrower than twice this are closed; tissue is widened by as much, so that no nucleus is lost at its edge.
RIM_UM = 16.0
#: Smaller holes are filled (fat, vessels, slits), smaller specks dropped (dust, single cells).
MAX_HOLE_UM2, MIN_SPECK_UM2 = 50_000.0, 2_500.0
#: On a slide smaller than this nothing is too small to be tissue.
TINY_UM2 = 50_000.0
#: Stands in where the slide's own pixel size is unknown: 20x.
_DEFAULT_UM = 0.5


@dataclass(frozen=True)
class Tissue:
    """A coarse map of the tissue of a slide.

    Attributes:
        mask: (h, w) bool over the whole slide, True on tissue and where the file is damaged.
        mpp: micrometres per pixel of the mask.
        size: (H, W) of the slide in level-0 pixels.
    """

    mask: np.ndarray
    mpp: float
    size: tuple[int, int]

    @property
    def share(self) -> float:
        """Share of the slide that is tissue, 0..1."""
        return float(self.mask.mean())

    @property
    def area_mm2(self) -> float:
        """Area of the tissue in mm2."""
        return float(np.count_nonzero(self.mask)) * (self.mpp / 1000) ** 2

    def covers(self, top: float, left: float, height: float, width: float) -> float:
        """Share of a rectangle in level-0 pixels that is tissue, 0..1; beyond the slide there is none.

        Raises:
            ValueError: an empty rectangle.
        """
        if height <= 0 or width <= 0:
            raise ValueError(f"a rectangle needs a height and a width above 0, got {height:g} x {width:g}")
        per = self.size[0] / self.mask.shape[0], self.size[1] / self.mask.shape[1]
        rows, down = _overlaps(top / per[0], (top + height) / per[0], self.mask.shape[0])
        columns, across = _overlaps(left / per[1], (left + width) / per[1], self.mask.shape[1])
        covered = down @ self.mask[rows, columns] @ across
        return float(min(1.0, covered / (height / per[0] * width / per[1])))


def tissue_mask(slide: Slide, um_per_px: float = 8.0) -> Tissue:
    """Find the tissue.

    The rule, on the slide at `um_per_px`, in optical density OD = -log10((I + 1) / 256) less that of its glass: a
    pixel is tissue where its channels differ by `MIN_COLOUR` and it is neither unlit nor ink. Then gaps of 32 um are
    closed, holes below 0.05 mm2 filled, specks below 2500 um2 dropped, and the rest widened by 16 um. A hole is glass
    with tissue all around it; glass at the border of the slide is none. Grey, white and black have no colour and are
    never tissue, so a blank slide has none. Red ink looks like blood and stays. On a slide below 0.05 mm2 every
    coloured pixel counts, however small its speck: a few cells may be all there is.

    Args:
        slide: the slide; 0.5 um per pixel is assumed where its own is unknown.
        um_per_px: of the mask.
    """
    mpp = slide.mpp or _DEFAULT_UM
    size = tuple(max(1, round(n * mpp / um_per_px)) for n in slide.size)
    image, damaged = slide.overview(size)  # type: ignore[arg-type]
    um = slide.size[0] * mpp / size[0] if size[0] > size[1] else slide.size[1] * mpp / size[1]
    step = max(um, um_per_px / 2)  # a slide far below a pixel of the mask would make the discs enormous
    return Tissue(_cleaned(_coloured(image, step), step) | damaged, um, slide.size)


def _coloured(image: np.ndarray, um: float) -> np.ndarray:
    """(h, w) bool: lit, coloured like tissue, and not ink."""
    density = -np.log10((image.astype(np.float32) + 1) / 256)
    density -= _glass(image, density)
    colour = density.max(-1) - density.min(-1)
    if not _tiny(colour.shape, um):
        colour = ndimage.median_filter(colour, 3)
    lit = image.max(-1) >= UNLIT
    ink = (density[..., 1] < INK_RATIO * density[..., 0]) & (density[..., 0] > INK_OD)
    ink = _disc(ink, ndimage.binary_opening, RIM_UM / um)  # the thin ink of surgeons on an edge stays with its tissue
    found: np.ndarray = (colour > MIN_COLOUR) & lit & ~_disc(ink, ndimage.binary_dilation, RIM_UM / um)
    return found


def _glass(image: np.ndarray, density: np.ndarray) -> np.ndarray:
    """(3,) optical density of the glass: the clearest fifth of the pale, nearly colourless pixels; 0 without any."""
    dense = density.max(-1)
    pale = (dense < GLASS_OD) & (dense - density.min(-1) < GLASS_COLOUR) & (image.min(-1) < 255)
    if pale.mean() < 0.01:
        return np.zeros(3, np.float32)
    clearest = pale & (dense <= np.quantile(dense[pale], 0.2))
    glass: np.ndarray = np.median(density[clearest], axis=0)
    return glass


def _cleaned(mask: np.ndarray, um: float) -> np.ndarray:
    pad = int(np.ceil(RIM_UM / um)) + 1
    padded = np.pad(mask, pad)  # else closing would eat into what lies at the edge of the slide
    mask = _disc(padded, ndimage.binary_closing, RIM_UM / um)[pad:-pad, pad:-pad]
    holes = ndimage.binary_fill_holes(mask) & ~mask
    mask |= holes & ~_without_small(holes, MAX_HOLE_UM2 / um**2)
    if not _tiny(mask.shape, um):
        mask = _without_small(mask, MIN_SPECK_UM2 / um**2)
    return _disc(mask, ndimage.binary_dilation, RIM_UM / um)


def _tiny(shape: tuple[int, ...], um: float) -> bool:
    return float(np.prod(shape)) * um**2 < TINY_UM2


def _without_small(mask: np.ndarray, least: float) -> np.ndarray:
    spots, _ = ndimage.label(mask)
    large = np.bincount(spots.ravel()) >= least
    large[0] = False
    kept: np.ndarray = large[spots]
    return kept


def _disc(mask: np.ndarray, how: Callable[..., np.ndarray], radius: float) -> np.ndarray:
    """A morphological operation with a disc."""
    r = max(1, round(radius))
    y, x = np.mgrid[-r : r + 1, -r : r + 1]
    return how(mask, x * x + y * y <= r * r + 1)


def _overlaps(start: float, end: float, length: int) -> tuple[slice, np.ndarray]:
    """The whole pixels that a span touches, and how much of each it covers."""
    first, last = max(0, int(np.floor(start))), min(length, int(np.ceil(end)))
    edges = np.clip(np.arange(first, max(first, last) + 1), start, end)
    return slice(first, max(first, last)), np.diff(edges)
