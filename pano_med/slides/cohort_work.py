"""What one worker does for one slide of a cohort."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pano_med.formats import make_folder
from pano_med.predict import load_segmenter
from pano_med.slides.cohort_rows import DONE, FAILED, Row
from pano_med.slides.reader import open_slide
from pano_med.slides.run import segment_slide
from pano_med.slides.seam_certificate import read_verdict
from pano_med.slides.seams import certify
from pano_med.slides.store import Result

#: Where the tries are counted, one byte each, under the cohort's folder.
TRIES = "work"


@dataclass(frozen=True)
class Job:
    """One slide and how to segment it.

    Attributes:
        slide: path of the file, as every worker finds it.
        out: folder of the cohort, likewise.
        name: of the slide's own folder in it.
        mpp: micrometres per level-0 pixel, None = the file's.
        weights: name or path, None = ours.
        device: of torch, None = the fastest.
        places: at how many places the seams are certified; 0 = not at all.
        types: see `pano_med.predict.Segmenter`.
    """

    slide: str
    out: str
    name: str
    mpp: float | None = None
    weights: str | None = None
    device: str | None = None
    places: int = 0
    types: bool = False


def work(job: Job) -> Row:
    """Segment one slide, or go on where a dead worker left it. Whatever goes wrong becomes the row's reason."""
    began, tries = time.perf_counter(), _count_try(job)
    try:
        result = _segment(job)
    except Exception as error:  # one slide's failure is a row of the report, not the end of the others
        reason = " ".join(str(error).split()) or type(error).__name__
        return Row(job.slide, job.name, FAILED, tries=tries, reason=reason)
    seconds = round(time.perf_counter() - began, 2)
    return row_of(result, job.slide, job.name, seconds, tries)


def row_of(result: Result, slide: str, name: str, seconds: float | None, tries: int) -> Row:
    """The row of a finished slide: tissue is what is neither background nor void, nuclei included."""
    manifest = result.manifest
    stuff = sum(um2 for kind, um2 in manifest["areas_um2"].items() if kind != "background")
    things = sum(float(np.sum(batch["area_um2"].to_numpy())) for batch in result.batches(["area_um2"]))
    area = round((stuff + things) / 1e6, 4)
    return Row(slide, name, DONE, sum(manifest["counts"].values()), area, seconds, tries,
               read_verdict(result.folder))


def _segment(job: Job) -> Result:
    segmenter = _segmenter(job.weights, job.device, job.types)
    with open_slide(job.slide, job.mpp) as slide:
        folder = Path(job.out) / job.name
        result = segment_slide(slide, segmenter, folder, resume=True)
        if job.places:
            certify(result, slide, segmenter, job.places).write(folder)
        return result


@lru_cache(maxsize=1)
def _segmenter(weights: str | None, device: str | None, types: bool) -> Any:
    """The network stays loaded for the worker's next slide."""
    return load_segmenter(*[weights] if weights else [], device=device, types=types)


def _count_try(job: Job) -> int:
    """One byte more for each try: it outlives a worker that is killed, and needs no lock."""
    folder = Path(job.out) / TRIES
    make_folder(folder)
    with (folder / f"{job.name}.tries").open("ab") as file:
        file.write(b".")
        return file.tell()
