"""PictureUpload: a picture of your own, from your computer into the notebook, whatever file it turns out to be."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from pano_med.formats import ImageFile, read_image
from pano_med.widgets.base import Picture, code
from pano_med.widgets.layer import as_rgb, image_bytes

#: Largest file taken; a whole slide is larger and belongs to the command line.
MOST_BYTES = 512 * 2**20
#: Longest side of the preview, in pixels.
_PREVIEW = 480


class PictureUpload(Picture):
    """Choose or drop a picture; until then, and wherever a file is no picture, a given one is used.

    `ipywidgets.FileUpload` sends a file in one message, which closes the connection above 10 MB (1 MB on Colab) and
    says nothing. Here the file travels in small pieces, each answered before the next is sent.

    Args:
        image: (H, W, 3) uint8, the picture that is used until one is chosen.
        pixel_size_um: its pixel size in micrometres, or None.
        side: longest side in pixels of what `picture` returns; of larger ones the middle, or the whole made smaller.

    Raises:
        ValueError, TypeError: `image` is no picture, or `side` is below 64.
    """

    _esm, _css = code("upload").values()
    preview = traitlets.Bytes().tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)
    refused = traitlets.Unicode().tag(sync=True)
    take = traitlets.Enum(["middle", "whole"], "middle").tag(sync=True)
    large = traitlets.Bool(False).tag(sync=True)
    pixel_size = traitlets.Float(None, allow_none=True).tag(sync=True)

    def __init__(self, image: np.ndarray, pixel_size_um: float | None = None, side: int = 768, title: str = "") -> None:
        if side < 64:
            raise ValueError(f"the longest side must be at least 64 pixels, got {side}")
        self._side, self._name = side, ""
        self._file = ImageFile(as_rgb(image), pixel_size_um)
        self._coming: _Coming | None = None
        super().__init__(title=title, pixel_size=pixel_size_um)
        self.observe(self._show, "take")
        self.on_msg(self._message)
        self._show()

    @property
    def picture(self) -> ImageFile:
        """What to go on with: array, pixel size and notes; at most `side` pixels long.

        The pixel size is the one in the field, which a file that knows its own fills in.
        """
        array, factor = (_middle if self.take == "middle" else _smaller)(self._file.array, self._side)
        size = self.pixel_size if self.pixel_size and np.isfinite(self.pixel_size) and self.pixel_size > 0 else None
        return ImageFile(array, None if size is None else size * factor, self._file.notes)

    @property
    def own(self) -> bool:
        """Whether the picture is one that was uploaded."""
        return bool(self._name)

    def still(self) -> np.ndarray:
        """The picture that is used, small."""
        return _smaller(self.picture.array, _PREVIEW)[0]

    def alt(self) -> str:
        """What the picture is."""
        return f"The picture that is used: {self._name or 'the one that comes with the lesson'}."

    def load(self, path: str | Path) -> None:
        """Take a file from this machine, as if it had been chosen; what is wrong with it is said, not raised."""
        path = Path(path)
        self._take(path, path.name)

    # -- pieces -----------------------------------------------------------------------------------------------

    def _message(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        if content.get("kind") == "begin":
            self._begin(str(content["name"]), int(content["size"]), int(content["id"]))
        elif content.get("kind") == "part" and self._coming and content.get("id") == self._coming.id:
            self._coming.add(bytes(buffers[0]))
            self._ask()

    def _begin(self, name: str, size: int, number: int) -> None:
        self._forget()
        if size > MOST_BYTES:
            self._refuse(
                f"{name} has {size / 2**20:,.0f} MB, and {MOST_BYTES // 2**20} MB is the most this page takes; "
                "export a region of it as PNG or JPEG, or use `pano-med segment` on the file"
            )
            self.send({"kind": "done", "id": number})
            return
        self._coming = _Coming(number, name, size)
        self._ask()

    def _ask(self) -> None:
        """Ask the page for the next piece; read the file when all are here."""
        coming = self._coming
        assert coming is not None
        if coming.have < coming.size:
            self.send({"kind": "more", "id": coming.id, "have": coming.have})
            return
        try:
            self._take(coming.path, coming.name)
        finally:
            self.send({"kind": "done", "id": coming.id})
            self._forget()

    def _forget(self) -> None:
        if self._coming is not None:
            self._coming.close()
            self._coming = None

    # -- reading ----------------------------------------------------------------------------------------------

    def _take(self, path: Path, name: str) -> None:
        if path.is_file() and path.stat().st_size == 0:
            self._refuse(f"{name} is empty (0 bytes); perhaps it was not copied to the end: get it again")
        elif path.is_file() and _is_pdf(path):
            self._refuse(f"{name} is a PDF: it holds pages, not one picture; export the picture as PNG, JPEG or TIFF")
        else:
            try:
                found = read_image(path)
            except (OSError, ValueError) as error:
                self._refuse(str(error).replace(str(path), name))
            else:
                self._file, self._name, self.refused = found, name, ""
                self.pixel_size = found.pixel_size_um
                self._show()

    def _refuse(self, why: str) -> None:
        """Say why a file is not taken, and go on with the picture before."""
        self.refused = f"{why}. Still in use: {self._name or 'the picture of this lesson'}."

    def _show(self, _: Any = None) -> None:
        h, w = self._file.size
        self.large = max(h, w) > self._side
        used = self.picture
        self.preview = image_bytes(self.still())
        parts = [f"{self._name or 'The picture of this lesson'}: {h} x {w} pixels (rows x columns)"]
        if self.large:
            rows, columns = used.size
            how = "its middle" if self.take == "middle" else "the whole, made smaller,"
            parts.append(f"{how} is used here, {rows} x {columns}; `pano-med segment` takes it as it is")
        parts += self._file.notes
        self.said = "; ".join(parts) + "."


class _Coming:
    """A file on its way, kept in a folder of its own."""

    def __init__(self, number: int, name: str, size: int) -> None:
        self.id, self.name, self.size, self.have = number, name, size, 0
        self._folder = tempfile.TemporaryDirectory(prefix="pano-med-")
        self.path = Path(self._folder.name) / f"upload{Path(name).suffix[:8]}"
        self._file = self.path.open("wb")

    def add(self, piece: bytes) -> None:
        self._file.write(piece)
        self.have += len(piece)
        if self.have >= self.size:
            self._file.close()

    def close(self) -> None:
        self._file.close()
        self._folder.cleanup()


def _middle(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The middle of an image, at most `side` long; its pixels keep their size."""
    rows, columns = (slice((n - min(n, side)) // 2, (n - min(n, side)) // 2 + min(n, side)) for n in image.shape[:2])
    return image[rows, columns], 1.0


def _smaller(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The whole image, at most `side` long, and how much larger its pixels have become."""
    factor = max(image.shape[:2]) / side
    if factor <= 1:
        return image, 1.0
    step = max(1, int(factor / 2))  # Pillow averages the rest; so a huge image is not resized as a whole
    h, w = (max(1, round(n / factor)) for n in image.shape[:2])
    small = Image.fromarray(np.ascontiguousarray(image[::step, ::step]))
    return np.asarray(small.resize((w, h), Image.Resampling.BOX)), factor


def _is_pdf(path: Path) -> bool:
    with path.open("rb") as file:
        return b"%PDF" in file.read(1024)
