"""The commands and their options; what they do stands in the modules they import when they run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from pano_med.cli.app import app

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if needed.")]
Weights = Annotated[str | None, typer.Option(help="Shipped weights by name, or your own .safetensors; default: ours.")]
Device = Annotated[str | None, typer.Option(help="cpu, or any device name that torch knows; default: the fastest.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for scripts.")]


def _positive(value: float | None) -> float | None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise typer.BadParameter(f"{value} is not a positive number")
    return value


@app.command()
def demo(
    out: Out = Path("demo_out"),
    weights: Weights = None,
    device: Device = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing; use what is on this machine.")] = False,
) -> None:
    """Segment a real H&E region, show the figures and write report.html for your browser."""
    from pano_med.cli.demo import run

    run(out, weights, device, offline)


@app.command()
def segment(
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, TIFF, SVS, BMP, WebP, GIF, PPM or JPEG 2000.")],
    out: Out,
    mpp: Annotated[
        float | None,
        typer.Option(help="Micrometres per pixel; default: the file's own, else estimated.", callback=_positive),
    ] = None,
    weights: Weights = None,
    device: Device = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Segment images; each leaves five files in --out.

    NAME_panoptic.png and NAME_panoptic.json (COCO panoptic), NAME_overlay.png, NAME.geojson (QuPath) and
    NAME_segments.csv. NAME is the image's file name without its ending; where two images share it, their folder's name
    goes in front (a/x.png and b/x.png give a_x and b_x), then the ending behind. Files of an earlier run are replaced.
    """
    from pano_med.cli.segment import run

    raise typer.Exit(run(images, out, mpp, weights, device, json, quiet))


@app.command()
def evaluate(
    truth: Annotated[Path, typer.Option(help="Folder of true maps: COCO panoptic JSON files and their PNGs.")],
    prediction: Annotated[Path, typer.Option(help="Folder of predicted maps of the same images.")],
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    known: Annotated[
        list[str] | None,
        typer.Option(
            help="A class that the truth draws exhaustively; again for each. What is unlabelled is then wrong."
        ),
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV of name,group: intervals then draw whole groups, e.g. patients.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Compare predicted with true maps: PQ and the field's other conventions side by side."""
    from pano_med.cli.evaluate import run

    raise typer.Exit(run(truth, prediction, json, known or [], groups, quiet))


@app.command()
def train(
    out: Out,
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: PANO_MED_DATA.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget instead of steps.", callback=_positive)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, as it was begun.")] = False,
    model: Annotated[str, typer.Option(help="efficientps, or two_networks (the baseline).")] = "efficientps",
    weights: Annotated[str | None, typer.Option(help="Begin from these weights instead of ImageNet's.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A source to use, again for each; default: all.")] = None,
    tiles: Annotated[int, typer.Option(min=0, help="Synthetic tiles.")] = 32,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops per step.")] = 4,
    crop_size: Annotated[int, typer.Option(min=32, help="Side of a crop in pixels.")] = 256,
    lr: Annotated[float, typer.Option(help="Peak learning rate.", callback=_positive)] = 7e-4,
    precision: Annotated[str, typer.Option(help="auto, 32-true or bf16-mixed.")] = "auto",
    val_every: Annotated[int, typer.Option(min=0, help="Steps between validations; 0 = at the end.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same run.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, or any accelerator that Lightning knows.")] = "auto",
) -> None:
    """Train on real and synthetic tiles; Ctrl-C keeps a checkpoint, --resume goes on from it."""
    from pano_med.cli.train import Plan, run

    options = {
        "steps": steps,
        "minutes": minutes,
        "batch_size": batch_size,
        "crop_size": crop_size,
        "lr": lr,
        "precision": precision,
        "val_every": val_every,
        "seed": seed,
        "accelerator": device,
    }
    run(out, data, resume, Plan(model, weights, tuple(only or ()), tiles), options)


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is installed, what is missing and how to get it."""
    from pano_med.cli.doctor import run

    raise typer.Exit(run(json))
