"""SlideChooser: which slide on this machine, from a start folder downwards, without a line of code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from pano_med.widgets.base import code

#: Endings of what can be opened; what a file really is, its reader finds out.
ENDINGS = (".svs", ".ndpi", ".mrxs", ".scn", ".dcm", ".tif", ".tiff", ".vms", ".vmu", ".bif", ".svslide", ".png",
           ".jpg", ".jpeg", ".bmp", ".webp", ".jp2")


class NoPixelSize(ValueError):
    """The slide is fine, but nobody knows how large its pixels are; the chooser then asks."""


class SlideChooser(anywidget.AnyWidget):
    """Folders and slides below a start folder. Only what is listed can be opened: no path comes from the page.

    Args:
        start: folder to begin in; nothing above it is shown.
        choose: called with the file and the micrometres per pixel that the person gave, or None. What it raises
            (OSError, ValueError) is shown as a sentence; `NoPixelSize` asks for the number.
        again: called when the person wants to choose another.

    Attributes:
        folder: where the person is, from the start folder on.
        entries: what is listed there.
        chosen: name of the open file, or "".
        said: what was wrong, or "".
        asks: name of the file whose pixel size is asked for, or "".
    """

    _esm, _css = code("slide_chooser").values()
    title = traitlets.Unicode("").tag(sync=True)
    folder = traitlets.Unicode("").tag(sync=True)
    entries = traitlets.List(traitlets.Dict()).tag(sync=True)
    chosen = traitlets.Unicode("").tag(sync=True)
    said = traitlets.Unicode("").tag(sync=True)
    asks = traitlets.Unicode("").tag(sync=True)

    def __init__(self, start: str | Path, choose: Callable[[Path, float | None], None],
                 again: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._start = self._here = Path(start).resolve()
        self._choose, self._again = choose, again
        self.on_msg(self._message)
        self._list()

    def take(self, path: str | Path, mpp: float | None = None) -> None:
        """Open a file as if the person had chosen it; what is wrong with it is shown."""
        path = Path(path)
        self.said = self.asks = ""
        try:
            self._choose(path, mpp)
        except NoPixelSize as error:
            self._asked, self.asks, self.said = path, path.name, _words(error)
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            self.said = _words(error)
        else:
            self.chosen = path.name

    def _message(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        kind, name = content.get("kind"), str(content.get("name", ""))
        listed = {(e["name"], e["kind"]) for e in self.entries}
        if kind == "again":
            self.chosen = ""
            self._again()
            self._list()
        elif kind == "open" and content.get("mpp") is not None and name == self.asks:
            self.take(self._asked, float(content["mpp"]))
        elif kind == "open" and (name, "slide") in listed:
            self.take(self._here / name)
        elif kind == "enter" and (name, "folder") in listed:
            self._list(self._here / name)
        elif kind == "enter" and (name, "up") in listed:
            self._list(self._here.parent)

    def _list(self, folder: Path | None = None) -> None:
        """Show a folder; where it can't be read, stay and say so."""
        folder = folder or self._here
        try:
            found = sorted(folder.iterdir(), key=lambda p: p.name.lower())
        except OSError as error:
            self.said = f"The folder {folder.name} can't be read: {_words(error)}"
            return
        shown = [p for p in found if not p.name.startswith(".")]
        folders = [{"name": p.name, "kind": "folder"} for p in shown if p.is_dir()]
        slides = [{"name": p.name, "kind": "slide"} for p in shown
                  if p.is_file() and p.suffix.lower() in ENDINGS and os.access(p, os.R_OK)]  # fmt: skip
        up = [] if folder == self._start else [{"name": "..", "kind": "up"}]
        self._here, self.said, self.asks = folder, "", ""
        self.folder = str(Path(self._start.name, *folder.parts[len(self._start.parts) :]))
        self.entries = [*up, *folders, *slides]


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
