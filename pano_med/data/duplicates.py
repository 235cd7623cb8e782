"""The same tissue twice: pictures that are one picture but for scale, compression, brightness, a turn or a flip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

#: Sides of the two thumbnails: the small one finds candidates among all pairs, the large one judges them.
SMALL, LARGE = 16, 64
#: Correlation of the small and of the large thumbnails of one picture; compression and scale leave 0.98 and more.
CANDIDATE, SAME = 0.93, 0.95
#: A thumbnail whose grey varies less than this shows nothing to recognise (empty glass).
FLAT = 2.0
_CHUNK = 1024


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(LARGE, LARGE) float32 mean grey of an (H, W, 3) uint8 image, whatever its shape."""
    small = Image.fromarray(image).convert("L").resize((LARGE, LARGE), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def near_duplicates(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> list[tuple[int, int, float]]:
    """Pairs that show the same picture, also turned by 90 degrees or mirrored.

    Every pair is compared by the correlation of 16 x 16 means (a matrix product for each of the eight positions),
    and what passes `CANDIDATE` again at 64 x 64. Flat pictures have no duplicates.

    Args:
        a: thumbnails, see `thumbnail`.
        b: others.

    Returns:
        (place in `a`, place in `b`, correlation) of each pair of at least `SAME`, the best position, in order.
    """
    if not len(a) or not len(b):
        return []
    first, second = np.stack(a), np.stack(b)
    best: dict[tuple[int, int], float] = {}
    coarse = _unit(_shrunk(first))
    for turned in _positions(second):
        other = _unit(_shrunk(turned))
        for start in range(0, len(first), _CHUNK):
            rows, columns = np.nonzero(coarse[start : start + _CHUNK] @ other.T >= CANDIDATE)
            if len(rows):
                rows = rows + start
                fine = np.einsum("ij,ij->i", _unit(first[rows]), _unit(turned[columns]))
                for i, j, value in zip(rows.tolist(), columns.tolist(), fine.tolist(), strict=True):
                    if value >= SAME:
                        best[i, j] = max(value, best.get((i, j), 0.0))
    return [(i, j, value) for (i, j), value in sorted(best.items())]


def _positions(pictures: np.ndarray) -> list[np.ndarray]:
    turns = [np.rot90(pictures, k, (1, 2)) for k in range(4)]
    return [*turns, *(t[:, :, ::-1] for t in turns)]


def _shrunk(pictures: np.ndarray) -> np.ndarray:
    step = LARGE // SMALL
    return pictures.reshape(-1, SMALL, step, SMALL, step).mean((2, 4))


def _unit(pictures: np.ndarray) -> np.ndarray:
    """(N, D) with mean 0 and length 1; a flat picture becomes 0."""
    flat = pictures.reshape(len(pictures), -1)
    centred = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    seen = length > FLAT * np.sqrt(flat.shape[1])
    return np.where(seen, centred / np.where(seen, length, 1), 0)
