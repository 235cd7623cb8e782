"""Safe writing: a file is there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

#: What to tell a person for the error numbers that happen in practice.
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file is larger than this system allows; choose another folder",
    errno.EROFS: "the folder is read-only; choose another folder",
    errno.EACCES: "the folder is read-only for you; choose another folder",
    errno.EPERM: "the folder is read-only for you; choose another folder",
    errno.ENOENT: "its folder does not exist; create it first",
    errno.ENOTDIR: "its folder is a file; choose another folder",
    errno.EISDIR: "a folder has that name; choose another name",
}


def make_folder(path: str | Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        OSError: it can't be made; the message names it and says what to do.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        if isinstance(error, FileExistsError):
            reason = "a file has that name; choose another name"
        raise type(error)(f"cannot make the folder {path}: {reason}") from error


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` and rename it to `path` when the block ends well.

    If anything fails, the temporary file is removed and an older file at `path` is left as it was.

    Raises:
        OSError: it cannot be written; the message names the file and what to do.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        if error.errno is None:  # not from the system but a sentence already
            raise
        reason = _REASONS.get(error.errno, error.strerror)
        raise type(error)(f"cannot write {path}: {reason}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_png(path: str | Path, array: np.ndarray, pixel_size_um: float | None = None) -> None:
    """Write a picture as PNG, whole or not at all.

    Args:
        path: the file.
        array: (H, W) uint8, uint16 or bool, (H, W, 3) or (H, W, 4) uint8.
        pixel_size_um: kept in the file (pHYs chunk) where it is given.

    Raises:
        ValueError: not such an array.
        OSError: the file cannot be written.
    """
    array = np.asarray(array)
    grey = array.ndim == 2 and array.dtype in (np.uint8, np.uint16, np.bool_)
    if not grey and not (array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype == np.uint8):
        raise ValueError(f"a PNG needs (H, W), (H, W, 3) or (H, W, 4) uint8, got {array.shape} of {array.dtype}")
    if not array.size:
        raise ValueError(f"a PNG needs at least one pixel, got {array.shape} for {path}")
    dpi = {} if pixel_size_um is None else {"dpi": (25400 / pixel_size_um, 25400 / pixel_size_um)}
    with replacing(path) as file:
        Image.fromarray(np.ascontiguousarray(array)).save(file, format="PNG", **dpi)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
