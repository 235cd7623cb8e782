"""Panoptic maps small enough to count by hand: written as letters, drawn as squares."""

from __future__ import annotations

import numpy as np

from pano_med.lessons.maps import titled
from pano_med.pictures.text import line_height, text_width, write
from pano_med.types import OKABE_ITO, Category, Panoptic, Taxonomy

#: Three classes are enough to see every rule of PQ at work.
TINY = Taxonomy(
    "tiny",
    (
        Category(1, "glass", False, OKABE_ITO["black"]),
        Category(2, "tissue", False, OKABE_ITO["orange"]),
        Category(3, "nucleus", True, OKABE_ITO["sky"]),
    ),
)
#: Letters of stuff and of void; any other letter is a nucleus. A capital letter is a crowd: nuclei nobody separated.
GLASS, TISSUE, VOID = ".", "t", "?"
_TRUTH, _PREDICTION = OKABE_ITO["orange"], OKABE_ITO["sky"]


def from_letters(text: str) -> Panoptic:
    """A map from lines of letters: `.` glass, `t` tissue, `?` void, every other letter one nucleus.

    A capital letter is a crowd. The id of a segment is 1 for glass, 2 for tissue, then 3, 4, ... for nuclei in
    alphabetical order (capitals after the small letters).

    Args:
        text: lines of equal length; blanks are ignored.

    Raises:
        ValueError: no letters, lines of different lengths, or something that is no letter.
    """
    lines = ["".join(line.split()) for line in text.strip().splitlines()]
    if not lines or not lines[0] or len({len(line) for line in lines}) > 1:
        raise ValueError(f"a map needs lines of one length, got the lengths {[len(line) for line in lines]}")
    found = {letter for line in lines for letter in line}
    nuclei = sorted((x for x in found if x not in (GLASS, TISSUE, VOID)), key=lambda x: (x.isupper(), x))
    if not all(x.isalpha() for x in nuclei):
        raise ValueError(f"a map is made of letters, '.' and '?', got {[x for x in nuclei if not x.isalpha()]}")
    ids = {VOID: 0, GLASS: 1, TISSUE: 2} | {letter: i for i, letter in enumerate(nuclei, 3)}
    array = np.array([[ids[letter] for letter in line] for line in lines])
    classes = {1: 1, 2: 2} | {ids[letter]: 3 for letter in nuclei}
    return Panoptic.from_ids(array, classes, TINY, crowds=[ids[x] for x in nuclei if x.isupper()])


def two_maps(text: str) -> tuple[Panoptic, Panoptic]:
    """Truth and prediction from lines of letters with a bar between them: `t a a | t p p`.

    Raises:
        ValueError: a line without exactly one bar, or as `from_letters`.
    """
    halves = [line.split("|") for line in text.strip().splitlines()]
    odd = [n for n, parts in enumerate(halves, 1) if len(parts) != 2]
    if odd:
        raise ValueError(f"each line needs one bar, truth | prediction; look at line {odd[0]}")
    truth, prediction = ("\n".join(parts) for parts in zip(*halves, strict=True))
    return from_letters(truth), from_letters(prediction)


def squares(panoptic: Panoptic, letters: str = "abcdefghijkl", cell: int = 44) -> np.ndarray:
    """A tiny map as coloured squares with a letter in each and thick lines between segments.

    Args:
        panoptic: a map in the taxonomy TINY.
        letters: of the nuclei, in the order of their ids; a crowd gets its capital.
        cell: pixels of a side of a square.

    Returns:
        (cell * H, cell * W, 3) uint8. Void is hatched and marked "?".
    """
    colors = {c.id: c.color if any(c.color) else (255, 255, 255) for c in panoptic.taxonomy.all}
    marks = {0: VOID, 1: GLASS, 2: TISSUE}
    for letter, s in zip(letters, panoptic.things, strict=False):
        marks[s.id] = letter.upper() if s.iscrowd else letter
    classes = panoptic.semantic()
    picture = np.full((*(n * cell for n in panoptic.size), 3), 255, np.uint8)
    for row, column in np.ndindex(panoptic.size):
        square = picture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        _fill(square, colors.get(int(classes[row, column])))
        _mark(square, marks[int(panoptic.ids[row, column])])
    return _ruled(picture, panoptic.ids, cell)


def overlap_squares(truth: np.ndarray, prediction: np.ndarray, cell: int = 44) -> np.ndarray:
    """Two masks on squares: "T" truth only, "P" prediction only, and a filled square where both are.

    Args:
        truth: (H, W) bool.
        prediction: (H, W) bool.
        cell: pixels of a side of a square.

    Returns:
        (cell * H, cell * W, 3) uint8.
    """
    looks = {0: (None, ""), 1: (_TRUTH, "T"), 2: (_PREDICTION, "P"), 3: ((90, 90, 90), "both")}
    which = truth + 2 * prediction.astype(int)
    picture = np.full((*(n * cell for n in which.shape), 3), 255, np.uint8)
    for row, column in np.ndindex(which.shape):
        square = picture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        color, text = looks[int(which[row, column])]
        if color is not None:
            _fill(square, color)
        _mark(square, text)
    return _ruled(picture, which, cell)


def truth_and_prediction(truth: Panoptic, prediction: Panoptic, cell: int = 44) -> np.ndarray:
    """Both maps as squares, side by side; true nuclei are a, b, c, ..., predicted ones p, q, r, ...

    Args, Returns: as `squares`.
    """
    pictures = [squares(truth, cell=cell), squares(prediction, "pqrsuvwxyz", cell)]
    return titled(pictures, ["truth", "prediction"], gap=cell)


def _fill(square: np.ndarray, color: tuple[int, int, int] | None) -> None:
    if color is None:
        rows, columns = np.ogrid[: square.shape[0], : square.shape[1]]
        square[(rows + columns) % 9 < 2] = 150
    else:
        square[:] = np.rint(0.45 * 255 + 0.55 * np.array(color)).astype(np.uint8)


def _mark(square: np.ndarray, text: str) -> None:
    size = max(10, round(square.shape[0] * (0.55 if len(text) < 2 else 0.36)))
    top = (square.shape[0] - line_height(size)) // 2
    write(square, text, max(0, top), (square.shape[1] - text_width(text, size)) // 2, size)


def _ruled(picture: np.ndarray, ids: np.ndarray, cell: int) -> np.ndarray:
    """Thin grey lines around squares, thick black ones between segments."""
    for row in range(0, picture.shape[0], cell):
        picture[row] = np.minimum(picture[row], 190)
    for column in range(0, picture.shape[1], cell):
        picture[:, column] = np.minimum(picture[:, column], 190)
    for row, column in np.argwhere(ids[1:] != ids[:-1]):
        picture[(row + 1) * cell - 2 : (row + 1) * cell + 2, column * cell : (column + 1) * cell + 1] = 0
    for row, column in np.argwhere(ids[:, 1:] != ids[:, :-1]):
        picture[row * cell : (row + 1) * cell + 1, (column + 1) * cell - 2 : (column + 1) * cell + 2] = 0
    picture[[0, 1, -1, -2]] = 0
    picture[:, [0, 1, -1, -2]] = 0
    return picture
