"""The panoptic map drawn over its image."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from pano_med.pictures.borders import dashes, inner_border
from pano_med.pictures.layout import scale_bar, stack
from pano_med.pictures.legend import legend as make_legend
from pano_med.pictures.styles import Style, blend, hatching, styles
from pano_med.pictures.text import WHITE, fitting_size, text_width, write
from pano_med.types import Panoptic

#: Parts of tissue smaller than this share of the picture get no letter.
_LETTER_SHARE = 0.01


def overlay(
    image: np.ndarray,
    panoptic: Panoptic,
    *,
    scale: int = 1,
    thickness: int | None = None,
    fill: float = 0.16,
    hatch: bool = False,
    letters: bool = True,
    bar: bool = True,
    legend: bool = False,
) -> np.ndarray:
    """Draw contours of things, light fills of stuff, letters and a scale bar over an image.

    Contours are the outermost pixels *inside* each thing. No class is told by colour alone: lines differ in their
    dashes, tissue carries letters (and hatching on request).

    Args:
        image: (H, W, 3) uint8.
        panoptic: the map of the same size.
        scale: how many times the picture is enlarged; 2 or 3 shows nuclei well.
        thickness: pixels of a contour in the enlarged picture; None: scale + 1.
        fill: opacity of tissue, 0..1.
        hatch: draw tissue with hatching too.
        letters: mark tissue regions with their letters.
        bar: draw a scale bar where the pixel size is known.
        legend: append the legend below.

    Returns:
        (scale * H, scale * W, 3) uint8, taller with a legend.

    Raises:
        ValueError: image and map differ in size, or the scale is below 1.
        TypeError: the image is not (H, W, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise TypeError(f"an overlay needs an (H, W, 3) uint8 image, got {image.shape} of {image.dtype}")
    if image.shape[:2] != panoptic.size:
        raise ValueError(f"image and map must have one size, got {image.shape[:2]} and {panoptic.size}")
    if scale < 1 or (thickness is not None and thickness < 1):
        raise ValueError(f"scale and thickness must be at least 1, got {scale} and {thickness}")
    look, picture = styles(panoptic.taxonomy, fill), enlarge(image, scale)
    width = thickness or scale + 1
    _draw_stuff(picture, panoptic, look, scale, width, hatch)
    _draw_things(picture, panoptic, look, scale, width)
    if letters:
        _draw_letters(picture, panoptic, look, scale)
    if bar and panoptic.pixel_size_um is not None:
        picture = scale_bar(picture, panoptic.pixel_size_um / scale)
    if legend:
        picture = stack([picture, make_legend(panoptic, picture.shape[1], fitting_size(picture))])
    return picture


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """A copy of an (H, W, 3) image, `scale` times as large (bicubic)."""
    if scale == 1:
        return image.copy()
    size = (image.shape[1] * scale, image.shape[0] * scale)
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BICUBIC))


def _repeat(ids: np.ndarray, scale: int) -> np.ndarray:
    return ids if scale == 1 else ids.repeat(scale, 0).repeat(scale, 1)


def _draw_things(picture: np.ndarray, panoptic: Panoptic, look: dict[int, Style], scale: int, width: int) -> None:
    number = {s.id: i for i, s in enumerate(panoptic.things, 1)}
    ids = _repeat(panoptic.lookup(number), scale)
    border = inner_border(ids, width)
    line = dashes(border, ids, {number[s.id]: look[s.category_id] for s in panoptic.things}, width)
    colors, gaps = (
        np.array([(0, 0, 0), *(getattr(look[s.category_id], part) for s in panoptic.things)], np.uint8)
        for part in ("color", "gap")
    )
    blend(picture, inner_border((ids == 0).view(np.uint8)), WHITE, 0.3)  # a rim outside lifts dark lines off
    picture[border] = gaps[ids[border]]
    picture[line] = colors[ids[line]]


def _draw_stuff(
    picture: np.ndarray, panoptic: Panoptic, look: dict[int, Style], scale: int, width: int, hatch: bool
) -> None:
    classes = _repeat(panoptic.lookup({s.id: s.category_id for s in panoptic.stuff}), scale)
    edges = inner_border(classes, (width + 1) // 2, ignore=classes == 0)  # borders on nuclei are the nuclei's
    for category_id in sorted({s.category_id for s in panoptic.stuff}):
        style, here = look[category_id], classes == category_id
        if style.fill:
            blend(picture, here, style.color, style.fill)
        if hatch or style.quiet:
            lines = here & hatching(here.shape, style.hatch, 14 * width, width)
            blend(picture, lines, (150, 150, 150) if style.quiet else style.color, 0.35 if style.quiet else 0.6)
        if not style.quiet:
            blend(picture, here & edges, style.color, 0.9)


def _draw_letters(picture: np.ndarray, panoptic: Panoptic, look: dict[int, Style], scale: int) -> None:
    size = round(1.3 * fitting_size(picture))
    classes, things = panoptic.lookup({s.id: s.category_id for s in panoptic.stuff}), _things(panoptic)
    for category_id in sorted({s.category_id for s in panoptic.stuff}):
        if look[category_id].quiet:
            continue
        letter = look[category_id].letter
        for row, column in _deep_points(classes == category_id, things, size / scale):
            top, left = row * scale - size // 2, column * scale - text_width(letter, size) // 2
            write(picture, letter, round(top), round(left), size, halo=True)


def _things(panoptic: Panoptic) -> np.ndarray:
    return panoptic.lookup(dict.fromkeys((s.id for s in panoptic.things), 1)) > 0


def _deep_points(mask: np.ndarray, things: np.ndarray, room: float) -> list[tuple[float, float]]:
    """The (row, column) farthest from the edge of each large part of a tissue; nuclei within count as tissue."""
    step = max(1, min(mask.shape) // 400)  # a coarse look is enough
    solid, own = np.pad((mask | things)[::step, ::step], 1), np.pad(mask[::step, ::step], 1)
    parts, _ = ndimage.label(solid)
    depth = ndimage.distance_transform_edt(solid) * step
    clear = ndimage.distance_transform_edt(own)  # letters should not lie on nuclei
    found = []
    for part in np.flatnonzero(np.bincount(parts[own]) >= _LETTER_SHARE * own.size):
        here = parts == part
        deep = here & own & (depth > max(0.6 * room, 0.5 * depth[here].max()))
        if deep.any():
            place = np.unravel_index(np.where(deep, clear, -1).argmax(), clear.shape)
            found.append(((place[0] - 0.5) * step, (place[1] - 0.5) * step))
    return found
