"""Read the files of a data set, with one clear sentence for everything that can be wrong with them."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from PIL import Image
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

TIFF = (".tif", ".tiff")


def read_rgb(path: Path, index: int | None = None, column: str = "image") -> np.ndarray:
    """(H, W, 3) uint8 RGB; an alpha channel is dropped, grey is repeated.

    Args:
        path: an image; with `index` a stack: .npy (N, H, W, 3) or .parquet with encoded images in `column`.
        index: place in the stack.
        column: of a parquet file.

    Raises:
        OSError: not an image or cut short.
        ValueError: a stack of something else than RGB images.
    """
    if index is not None and path.suffix == ".npy":
        image = open_stack(path)[index]
        if image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"a stack of images must be (N, H, W, 3), {path} holds {image.shape} each")
        return np.array(image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255), np.uint8)  # also floats
    try:
        source = path if index is None else io.BytesIO(parquet_row(path, index, column)[0])
        with Image.open(source) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise OSError(f"cannot read the image {path}: {error}") from error


def read_labels(path: Path) -> np.ndarray:
    """(H, W) integer array from a PNG, JPEG, TIFF, npy or npz of one array; of a colour mask the brightest channel.

    Raises:
        OSError: unreadable.
        ValueError: not two-dimensional, or not whole numbers.
    """
    try:
        labels = _label_array(path)
    except (OSError, SyntaxError, ValueError, IndexError, tifffile.TiffFileError) as error:
        raise OSError(f"cannot read the mask {path}: {error}") from error
    if labels.ndim == 3 and labels.shape[2] in (3, 4):
        labels = labels[..., :3].max(-1)
    if labels.ndim != 2:
        raise ValueError(f"a mask must be (H, W), {path} holds shape {labels.shape}")
    if labels.dtype == bool:
        return labels.astype(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        whole = np.rint(labels)
        if not np.array_equal(whole, labels):
            raise ValueError(f"labels must be whole numbers, {path} holds fractions: it was resized with interpolation")
        labels = whole.astype(np.int32)
    return labels


def _label_array(path: Path) -> np.ndarray:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[arrays.files[0]])
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix in TIFF:  # Pillow knows no 32-bit unsigned TIFF
        return np.asarray(tifffile.imread(path))
    with Image.open(path) as image:
        return np.array(image.convert("RGB") if image.mode in ("RGB", "RGBA", "P") else image)


def read_channels(path: Path) -> np.ndarray:
    """(H, W, C) integers of a mask whose channels mean different things; grey has one.

    Raises:
        OSError: unreadable.
    """
    try:
        with Image.open(path) as image:
            return np.atleast_3d(np.array(image))
    except (OSError, SyntaxError) as error:
        raise OSError(f"cannot read the mask {path}: {error}") from error


def read_png_bytes(data: bytes, path: Path) -> np.ndarray:
    """(H, W) labels from an encoded image.

    Raises:
        OSError: not an image.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image)
    except (OSError, SyntaxError) as error:
        raise OSError(f"cannot read a mask in {path}: {error}") from error


def read_mat(path: Path, *names: str) -> list[np.ndarray]:
    """The arrays of these names from a MATLAB file.

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


def open_stack(path: Path) -> np.ndarray:
    """A .npy as it lies on the disk: pages are read when they are asked for.

    Raises:
        OSError: unreadable.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise OSError(f"cannot read the stack {path}: {error}") from error


def count(path: Path) -> int:
    """Number of images in a stack.

    Raises:
        OSError: unreadable.
    """
    return len(open_stack(path)) if path.suffix == ".npy" else int(_parquet(path).metadata.num_rows)


def parquet_row(path: Path, index: int, *columns: str) -> list[bytes]:
    """Cells of one row of a parquet file.

    Raises:
        OSError: unreadable.
        ValueError: a column is missing.
    """
    file = _parquet(path)
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise ValueError(f"{path} must hold the columns {', '.join(columns)}, it lacks {', '.join(missing)}")
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if index < rows:
            table = _row_group(path, path.stat().st_mtime_ns, group, columns)
            return [table.column(name)[index].as_py() for name in columns]
        index -= rows
    raise ValueError(f"{path} has no row {index}")


@lru_cache(maxsize=2)  # images and labels are read in turn, row after row
def _row_group(path: Path, changed: int, group: int, columns: tuple[str, ...]) -> pa.Table:
    return _parquet(path).read_row_group(group, list(columns))


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are kinds of these
        raise OSError(f"cannot read the table {path}: {error}") from error
