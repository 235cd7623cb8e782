"""`pano-med slide`: ask what must be known, say what looks odd, then segment with a bar that tells the time left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pano_med.cli.app import say
from pano_med.outputs import things_word
from pano_med.predict import load_segmenter
from pano_med.slides import need_mpp, open_slide, tissue_mask
from pano_med.slides.begin import check_folder
from pano_med.slides.plausible import doubt, guess_mpp
from pano_med.slides.reader import Slide
from pano_med.slides.run import segment_slide
from pano_med.slides.store import Result
from pano_med.tiles import Piece
from pano_med.types import Panoptic

#: Pixels this many times as wide as the model's show a nucleus as a few pixels.
COARSE = 2.5


def run(slide: Path, out: Path, mpp: float | None, weights: str | None, device: str | None, resume: bool,
        types: bool, region: tuple[int, int, int, int] | None, as_json: bool, quiet: bool) -> int:
    """Do it; the exit code is 1 where a part of the slide could not be read."""
    with open_slide(slide, mpp) as opened:
        need_mpp(opened)
        check_folder(out, opened, resume)  # before the weights are loaded: what can't go on is told at once
        segmenter = load_segmenter(*[weights] if weights else [], device=device, types=types)
        if not (out / "manifest.json").is_file():
            _warn(opened, segmenter)
        console = Console(stderr=True, quiet=quiet)
        columns = (TextColumn(slide.name), BarColumn(), MofNCompleteColumn(), TextColumn("tiles"), TimeElapsedColumn(),
                   TextColumn("left"), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=300) as bar:
            task = bar.add_task("tiles", total=None)

            def show(done: int, total: int, _: int, __: Piece | None) -> None:
                bar.update(task, completed=done, total=total)

            result = segment_slide(opened, segmenter, out, region=region, resume=resume, on_tile=show)
    return _tell(result, as_json, quiet)


def _warn(slide: Slide, segmenter: object) -> None:
    """Say so where nuclei, the objective or the network speak against the slide's mpp; a wrong one costs the run."""

    def segment(image: np.ndarray, mpp: float) -> Panoptic:
        found: Panoptic = segmenter(image, mpp).panoptic  # type: ignore[operator]
        return found

    loaded, mpp = segmenter.loaded, need_mpp(slide)  # type: ignore[attr-defined]
    times = mpp / loaded.model_mpp
    if times > COARSE:
        say(f"warning: a pixel of {slide.name} is {mpp:.3g} um wide, {times:.2g} times what these weights are made for "
            f"({loaded.model_mpp:g}), so few nuclei will be found; if that is wrong, give the true size with --mpp")
    um = loaded.nucleus_um
    guess = None if um is None else guess_mpp(slide, tissue_mask(slide), segment, um)
    sentence = doubt(slide, guess)
    if sentence:
        say(f"warning: {sentence}")


def _tell(result: Result, as_json: bool, quiet: bool) -> int:
    manifest = result.manifest
    tiles, out = manifest["tiles"], result.folder
    failed = tiles["failed"]
    for tile in failed:
        say(f"tile {tile['tile']} was skipped: {tile['reason']}")
    if not tiles["tissue"]:
        say("warning: no tissue was found on this slide, so nothing was looked at")
    if manifest["too_large"]:
        um = manifest["grid"]["overlap"] * result.map_mpp
        n = len(manifest["too_large"])
        said = "1 object of {} um or more was" if n == 1 else f"{n} objects of {{}} um or more were"
        say(f"warning: {said.format(round(um))} left out: no tile sees it whole; {out / 'manifest.json'} says where")
    if result.taxonomy.note:
        say(f"warning: {result.taxonomy.note}")
    if as_json:
        facts = {k: manifest[k] for k in ("counts", "areas_um2", "tiles", "too_large")}
        print(json.dumps({"slide": manifest["slide"]["name"], "out": str(result.folder), **facts}, ensure_ascii=False))
    elif not quiet:
        things = sum(manifest["counts"].values())
        kinds = ", ".join(f"{n} {k}" for k, n in manifest["counts"].items() if n and len(manifest["counts"]) > 1)
        area = sum(manifest["areas_um2"].values()) / 1e6
        found = f"{things} {things_word(manifest['counts'])}{f' ({kinds})' if kinds else ''}"
        print(f"{manifest['slide']['name']}: {found}, {area:.3g} mm2 looked at; "
              f"the result is in {out}")
    return int(bool(failed))
