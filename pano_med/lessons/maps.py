"""One panoptic map, drawn as its parts: what a semantic map knows, what instances know, what both know together."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from pano_med.pictures import inner_border, legend, stack
from pano_med.pictures.text import fitting_size, line_height, text_width, write
from pano_med.types import OKABE_ITO, Panoptic

#: Colours of single things, one after the other; the black line between neighbours does not depend on them.
_CYCLE = np.array([OKABE_ITO[name] for name in ("orange", "sky", "green", "yellow", "blue", "vermillion")], np.uint8)
#: More things than this carry no numbers: nobody could read them.
_MOST_NUMBERS = 12
_OPACITY = 0.6


def semantic_picture(image: np.ndarray, panoptic: Panoptic, scale: int = 1) -> np.ndarray:
    """Every pixel in the colour of its class, with names; neighbours of one class run together.

    Things carry their names if there are few.

    Args:
        image: (H, W, 3) uint8.
        panoptic: a map of the same size.
        scale: how many times the picture is enlarged.

    Returns:
        (scale * H, scale * W, 3) uint8; void stays grey and hatched.
    """
    classes = panoptic.semantic()
    picture, few = _filled(image, classes, _class_colors(panoptic), scale), len(panoptic.things) <= _MOST_NUMBERS
    names = {c.id: c.name for c in panoptic.taxonomy.all if (classes == c.id).any() and (few or not c.isthing)}
    return _labelled(picture, classes, names, scale)


def instance_picture(image: np.ndarray, panoptic: Panoptic, scale: int = 1) -> np.ndarray:
    """Each thing in a colour of its own with a black outline, numbered if there are few; of the rest nothing is known.

    Args, Returns: as `semantic_picture`.
    """
    number = {s.id: i for i, s in enumerate(panoptic.things, 1)}
    ids = panoptic.lookup(number)
    colors = {i: tuple(_CYCLE[i % len(_CYCLE)]) for i in number.values()}
    picture = _outlined(_filled(image, ids, colors, scale, hatch=False), ids, scale)
    names = {i: str(i) for i in number.values()} if len(number) <= _MOST_NUMBERS else {}
    return _labelled(picture, ids, names, scale)


def panoptic_picture(image: np.ndarray, panoptic: Panoptic, scale: int = 1) -> np.ndarray:
    """Every pixel in the colour of its class, each thing with an outline and, if there are few, name and number.

    Args, Returns: as `semantic_picture`.
    """
    classes = panoptic.semantic()
    things = panoptic.lookup({s.id: i for i, s in enumerate(panoptic.things, 1)})
    picture = _filled(image, classes, _class_colors(panoptic), scale)
    picture = _outlined(picture, things, scale)
    few = len(panoptic.things) <= _MOST_NUMBERS
    names = {s.id: panoptic.taxonomy[s.category_id].name for s in panoptic.stuff}
    names |= {s.id: f"{panoptic.taxonomy[s.category_id].name} {i}" for i, s in enumerate(panoptic.things, 1) if few}
    return _labelled(picture, panoptic.ids, names, scale)


def three_maps(image: np.ndarray, panoptic: Panoptic, scale: int = 1) -> np.ndarray:
    """Semantic, instance and panoptic side by side, with titles; a legend below where things carry no names.

    Args, Returns: as `semantic_picture`.
    """
    pictures = [draw(image, panoptic, scale) for draw in (semantic_picture, instance_picture, panoptic_picture)]
    row = titled(pictures, ["semantic: which class?", "instance: which object?", "panoptic: both"])
    if len(panoptic.things) <= _MOST_NUMBERS:
        return row
    return stack([row, legend(panoptic, row.shape[1], _title_size(pictures[0]))])


def three_steps(image: np.ndarray, panoptic: Panoptic) -> np.ndarray:
    """Separate, paint, classify: borders, then a colour for each segment, then classes, with a legend.

    Small images are enlarged, so that outlines stay thin.

    Args:
        image: (H, W, 3) uint8.
        panoptic: a map of the same size.

    Returns:
        (H', W', 3) uint8.
    """
    scale = max(1, 800 // max(panoptic.size))
    pictures = [draw(image, panoptic, scale) for draw in (separated_picture, painted_picture, panoptic_picture)]
    row = titled(pictures, ["1. separate", "2. paint", "3. classify"])
    return stack([row, legend(panoptic, row.shape[1], _title_size(pictures[0]))])


def titled(pictures: list[np.ndarray], titles: list[str], gap: int = 10) -> np.ndarray:
    """Pictures of one size in a row on white, each under a title that can be read from the last row of a room."""
    size = _title_size(pictures[0])
    columns = []
    for picture, title in zip(pictures, titles, strict=True):
        head = np.full((line_height(size) + 6, picture.shape[1], 3), 255, np.uint8)
        write(head, title, 2, 2, size)
        columns += [np.concatenate([head, picture]), np.full((len(head) + len(picture), gap, 3), 255, np.uint8)]
    return np.concatenate(columns[:-1], 1)


def _title_size(picture: np.ndarray) -> int:
    return max(16, picture.shape[1] // 18)


def separated_picture(image: np.ndarray, panoptic: Panoptic, scale: int = 1) -> np.ndarray:
    """Step 1 of three: only the borders between segments, white with a black rim.

    Args, Returns: as `semantic_picture`.
    """
    picture, ids = _grey(image, scale), _enlarged(panoptic.ids, scale)
    line = inner_border(ids + 1, scale)
    picture[ndimage.binary_dilation(line, iterations=scale)] = 0
    picture[line] = 255
    return picture


def painted_picture(image: np.ndarray, panoptic: Panoptic, scale: int = 1) -> np.ndarray:
    """Step 2 of three: each segment in a colour that only tells it from its neighbours; no class is known yet.

    Args, Returns: as `semantic_picture`.
    """
    number = {s.id: i for i, s in enumerate(panoptic.segments, 1)}
    ids = panoptic.lookup(number)
    colors = {i: tuple(_CYCLE[i % len(_CYCLE)]) for i in number.values()}
    return _outlined(_filled(image, ids, colors, scale), ids, scale)


def _class_colors(panoptic: Panoptic) -> dict[int, tuple[int, int, int]]:
    """Class colours for filled pictures; black, the colour of empty glass, becomes white."""
    return {c.id: c.color if any(c.color) else (255, 255, 255) for c in panoptic.taxonomy.all}


def _grey(image: np.ndarray, scale: int) -> np.ndarray:
    """(H, W, 3) uint8: the image without colour and a little pale, so that colours on it mean something."""
    size = (image.shape[1] * scale, image.shape[0] * scale)
    grey = Image.fromarray(np.ascontiguousarray(image)).convert("L").resize(size, Image.Resampling.BICUBIC)
    return np.repeat((90 + np.asarray(grey)[..., None] * 0.6).astype(np.uint8), 3, -1)


def _enlarged(ids: np.ndarray, scale: int) -> np.ndarray:
    return ids.repeat(scale, 0).repeat(scale, 1)


def _filled(
    image: np.ndarray, ids: np.ndarray, colors: dict[int, tuple[int, int, int]], scale: int, hatch: bool = True
) -> np.ndarray:
    table = np.zeros((max([0, *colors]) + 1, 3), np.uint8)
    for number, color in colors.items():
        table[number] = color
    picture, large = _grey(image, scale), _enlarged(ids, scale)
    known = large > 0
    picture[known] = np.rint((1 - _OPACITY) * picture[known] + _OPACITY * table[large[known]]).astype(np.uint8)
    if hatch:
        rows, columns = np.ogrid[: large.shape[0], : large.shape[1]]
        picture[~known & ((rows + columns) % (8 * scale) < scale + 1)] = 60
    return picture


def _outlined(picture: np.ndarray, ids: np.ndarray, scale: int) -> np.ndarray:
    picture[inner_border(_enlarged(ids, scale), scale)] = 0
    return picture


def _labelled(picture: np.ndarray, ids: np.ndarray, names: dict[int, str], scale: int) -> np.ndarray:
    """Write each name at the deepest point of its region; large regions first, and no name over another."""
    size, taken = round(2.2 * fitting_size(picture)), np.zeros(picture.shape[:2], bool)
    for number in sorted(names, key=lambda n: -np.count_nonzero(ids == n)):
        depth = ndimage.distance_transform_edt(np.pad(ids == number, 1))[1:-1, 1:-1] * scale
        row, column = np.unravel_index(depth.argmax(), depth.shape)
        width, height = text_width(names[number], size), line_height(size)
        left = int(np.clip(column * scale - width // 2, 2, max(2, picture.shape[1] - width - 4)))
        top = int(np.clip(row * scale - height // 2, 2, max(2, picture.shape[0] - height - 2)))
        place = np.s_[top : top + height, left : left + width]
        if depth.max() > 0.45 * size and not taken[place].any():
            write(picture, names[number], top, left, size, halo=True)
            taken[place] = True
    return picture
