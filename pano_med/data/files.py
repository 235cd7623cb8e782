"""Find and read the files of a data set, with one clear sentence for everything that can be wrong with them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat
from scipy.io.matlab import MatReadError


def find(folder: Path, image: str, mask: str, what: str) -> dict[str, tuple[Path, list[Path], dict[str, str]]]:
    """Pair each image below `folder` with its mask files.

    Args:
        folder: where the set lies.
        image: regular expression for an image's path below the folder; its named groups say which item it is.
        mask: the same for masks; a group `part` (one of several masks of an item) does not count for the pairing.
        what: name of the set, for messages.

    Returns:
        For each item name (its groups joined by "_"): image, masks in order of name, groups. Empty if no image
        matches.

    Raises:
        FileNotFoundError: an image without mask.
        ValueError: a mask without image, or two images of one item.
    """
    images: dict[tuple, tuple[Path, dict[str, str]]] = {}
    masks: dict[tuple, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if hit := re.fullmatch(image, relative):
            key = tuple(hit.groupdict().items())
            if key in images:
                raise ValueError(f"{what}: {images[key][0].name} and {path.name} are images of one item, keep one")
            images[key] = (path, hit.groupdict())
        elif hit := re.fullmatch(mask, relative):
            key = tuple((k, v) for k, v in hit.groupdict().items() if k != "part")
            masks.setdefault(key, []).append(path)
    if not images:
        return {}
    for key, (path, _) in images.items():
        if key not in masks:
            raise FileNotFoundError(f"{what}: image {path} has no mask; add it or remove the image")
    for key, paths in masks.items():
        if key not in images:
            raise ValueError(f"{what}: mask {paths[0]} has no image; add it or remove the mask")
    return {"_".join(groups.values()): (path, masks[key], groups) for key, (path, groups) in images.items()}


def read_rgb(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB; an alpha channel is dropped, grey is repeated.

    Raises:
        OSError: not an image or cut short.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise OSError(f"cannot read the image {path}: {error}") from error


def read_labels(path: Path) -> np.ndarray:
    """(H, W) integer array from a PNG, JPEG or npz of one array; of a colour mask the brightest channel.

    Raises:
        OSError: unreadable.
        ValueError: not two-dimensional.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                labels = arrays[arrays.files[0]]
        else:
            with Image.open(path) as image:
                colour = image.mode in ("RGB", "RGBA", "P")
                labels = np.asarray(image.convert("RGB")).max(-1) if colour else np.array(image)
    except (OSError, SyntaxError, ValueError, IndexError) as error:
        raise OSError(f"cannot read the mask {path}: {error}") from error
    if labels.ndim != 2:
        raise ValueError(f"a mask must be (H, W), {path} holds shape {labels.shape}")
    return labels


def read_mat(path: Path, *names: str) -> list[np.ndarray]:
    """The (H, W) arrays of these names from a MATLAB file.

    Raises:
        OSError: unreadable.
        ValueError: a name is missing.
    """
    try:
        arrays = loadmat(path)
    except (OSError, ValueError, TypeError, MatReadError) as error:
        raise OSError(f"cannot read the mask {path}: {error}") from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"{path} must hold {', '.join(names)}, it lacks {', '.join(missing)}")
    return [arrays[name] for name in names]
