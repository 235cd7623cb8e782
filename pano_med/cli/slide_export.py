"""`pano-med export` and `pano-med slide-report`: a segmented slide for other programs and for people."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from pano_med.slides import open_slide
from pano_med.slides.beside import slide_of
from pano_med.slides.consistency import FILE as CONSISTENCY
from pano_med.slides.export import export
from pano_med.slides.regions import Region, qupath_origin
from pano_med.slides.report import FILE as REPORT
from pano_med.slides.report import write_report
from pano_med.slides.store import Result


def run_export(
    folder: Path, to: list[str], out: Path | None, region: str | None, crop: bool, reweight: bool, quiet: bool
) -> None:
    """Write the files and say which."""
    result = finished(folder)
    part = None if region is None else Region.parse(region, qupath_origin(result.manifest, crop))
    with Console(stderr=True, quiet=quiet).status(f"exporting to {', '.join(to)} ..."):
        files = export(result, to, out or folder, part, crop, reweight)
    if not quiet:
        for path in [*files, *([(out or folder) / CONSISTENCY] if reweight else [])]:
            print(path)


def run_report(folder: Path, out: Path | None, slide: Path | None, quiet: bool) -> None:
    """Write the page and say where."""
    result, path = Result(folder), out or folder / REPORT
    found = slide or slide_of(result)
    with ExitStack() as stack:
        opened = None if found is None else stack.enter_context(open_slide(found, result.mpp))
        stack.enter_context(Console(stderr=True, quiet=quiet).status("making the page ..."))
        write_report(result, path, opened)
    if not quiet:
        print(path)


def finished(folder: Path) -> Result:
    """The result in a folder.

    Raises:
        ValueError: its run was not finished.
        FileNotFoundError: there is none.
    """
    result = Result(folder)
    if not result.done:
        raise ValueError(
            f"{folder} is not finished, so its nuclei have no final numbers: go on with "
            "`pano-med slide SLIDE --out DIR --resume`, then export"
        )
    return result
