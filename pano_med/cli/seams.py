"""`pano-med seams`: certify the seams of a segmented slide."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pano_med.cli.app import say
from pano_med.predict import load_segmenter
from pano_med.slides import open_slide
from pano_med.slides.beside import slide_of
from pano_med.slides.seam_certificate import Certificate
from pano_med.slides.seams import certify
from pano_med.slides.store import Result
from pano_med.weights import DEFAULT


def run(folder: Path, slide: Path | None, places: int, seed: int, weights: str | None, device: str | None,
        quiet: bool) -> int:
    """Do it; the exit code is 1 where the certificate is refused."""
    result = Result(folder)
    path = slide or slide_of(result)
    if path is None:
        raise FileNotFoundError(f"the slide {result.manifest['slide']['name']} is needed and does not lie beside "
                                f"{folder}: say where it is with --slide")
    segmenter = load_segmenter(weights or DEFAULT, device=device)
    bar = Progress(TextColumn("places"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                   disable=quiet or not sys.stderr.isatty())
    with open_slide(path, result.mpp) as opened, bar:
        task = bar.add_task("places", total=None)
        certificate = certify(result, opened, segmenter, places, seed,
                              lambda done, total: bar.update(task, completed=done, total=total))
    written = certificate.write(folder)
    for line in () if quiet else sentences(certificate):
        print(line)
    for reason in [*certificate.reasons, *certificate.skipped]:
        say(reason)
    if not quiet:
        print(f"{certificate.verdict}: written to {written}")
    return int(certificate.verdict != "pass")


def sentences(c: Certificate) -> list[str]:
    """The figures in words."""
    if c.seamless:
        return ["the whole slide is one tile: there is no seam"]
    return [
        f"{c.places} places, {c.objects[0]} nuclei in a band of {c.band_px} px along the seams, {c.objects[1]} inside",
        f"PQ between stitched and shifted tiles: {c.band_pq:.3f} in the band, {c.interior_pq:.3f} inside; difference "
        f"{c.difference}",
        f"boundary of nuclei that runs straight: {c.straight_band:.2%} along seams, {c.straight_inside:.2%} inside",
        f"nuclei that lie twice: {c.duplicates}; density along the seams {c.density_ratio} of what it should be",
    ]
