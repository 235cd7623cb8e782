"""Segment a region, measure, write the five files and the report."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pano_med import __version__
from pano_med.demo.region import TEST_ROW, Quality, Region, quality
from pano_med.outputs import FILES, Summary, write_outputs
from pano_med.pictures import legend, mark_row, overlay, stack
from pano_med.predict import Segmented, Segmenter
from pano_med.report import Report, Score
from pano_med.types import Panoptic

try:
    import resource
except ImportError:  # Windows has no such module; the report then says that memory was not measured
    resource = None  # type: ignore[assignment]

ABOVE, BELOW = "above: seen in training", "below: never seen"
SILVER = (
    "The labels that these figures compare with were drawn by another network, not by hand, and hold a few errors. "
    f"They are judged on the lower part of the image (rows {TEST_ROW} and on), which training never saw; it is the "
    "same slide, so expect less on other slides."
)


@dataclass(frozen=True)
class Shown:
    """What the demo found and wrote.

    Attributes:
        summary: counts and areas.
        quality: on the unseen rows, or None without labels.
        seconds: of the segmentation, reading and writing not included.
        peak_mib: largest memory of the process so far, or None where the system does not tell.
        warnings: of the segmentation.
        files: the five files and report.html.
    """

    summary: Summary
    quality: Quality | None
    seconds: float
    peak_mib: float | None
    warnings: tuple[str, ...]
    files: tuple[Path, ...]


def show(region: Region, segmenter: Segmenter, folder: Path) -> Shown:
    """Run one region through everything.

    Raises:
        OSError: the folder cannot be written.
    """
    start = time.perf_counter()
    found = segmenter(region.image, region.pixel_size_um)
    seconds = time.perf_counter() - start
    scores = None if region.truth is None else quality(region.truth, found.panoptic)
    picture = _picture(region, found.panoptic)
    legend_ = legend(found.panoptic, picture.shape[1], 28)
    files = write_outputs(folder, region.name, region.image, found.panoptic, stack([picture, legend_]))
    shown = Shown(
        Summary.of(found.panoptic),
        scores,
        seconds,
        peak_memory_mib(),
        tuple(found.warnings),
        (*files.values(), folder / "report.html"),
    )
    _report(region, found, shown, picture).write(shown.files[-1])
    return shown


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far, in MiB; None where the system does not tell."""
    if resource is None:
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB


def _picture(region: Region, panoptic: Panoptic) -> np.ndarray:
    picture = overlay(region.image, panoptic)
    return picture if region.truth is None else mark_row(picture, TEST_ROW, ABOVE, BELOW)


def _report(region: Region, found: Segmented, shown: Shown, picture: np.ndarray) -> Report:
    return Report(
        title="What a computer sees in this tissue",
        lead="A program drew a line around each nucleus and coloured the tissue by its kind. Nobody corrected it.",
        image=region.image,
        picture=picture,
        taxonomy=found.panoptic.taxonomy,
        summary=shown.summary,
        warnings=shown.warnings,
        scores=_scores(shown.quality),
        scores_note=SILVER,
        files=[(f"{region.name}{ending}", what) for ending, what in FILES.items()],
        facts=_facts(region, shown),
    )


def _scores(found: Quality | None) -> list[Score]:
    if found is None:
        return []
    pq, sq, rq = found.nuclei
    scores = [
        Score(
            "nuclei found (RQ)", f"{rq:.2f}", f"1 = each of the {found.labelled} labelled nuclei found, none invented"
        ),
        Score(
            "outlines (SQ)", f"{sq:.2f}", "overlap of the nuclei that were found with their labels; 1 = the same pixels"
        ),
        Score("both together (PQ)", f"{pq:.2f}", "panoptic quality: the product of the two"),
    ]
    if found.typed is not None:
        words = "mean over kinds of nuclei; a wrong kind counts as an error"
        scores.append(Score("PQ with the right kind", f"{found.typed:.2f}", words))
    return scores


def _facts(region: Region, shown: Shown) -> list[tuple[str, str]]:
    memory = "not measured on this system" if shown.peak_mib is None else f"{shown.peak_mib:,.0f} MiB"
    um = shown.summary.pixel_size_um
    return [
        ("Image", region.source),
        ("Pixel size", "unknown" if um is None else f"{um:.3g} µm"),
        ("Program", f"pano-med {__version__}"),
        ("Time for this image", f"{shown.seconds:.1f} s"),
        ("Peak memory", memory),
    ]
