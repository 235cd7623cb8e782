"""Where the slide of a result is, for whoever was given the result alone."""

from __future__ import annotations

from pathlib import Path

from pano_med.slides.reader import fingerprint
from pano_med.slides.store import Result


def slide_of(result: Result) -> Path | None:
    """The file that a result was made from: beside its folder, one above, in it, or where we stand; None: not there.

    Another file of that name is not taken for it.
    """
    told, folder = result.manifest["slide"], result.folder.resolve()
    for place in (folder.parent, folder.parent.parent, folder, Path.cwd()):
        path = place / Path(told["name"]).name
        if path.is_file() and fingerprint(path) == told["fingerprint"]:
            return path
    return None
