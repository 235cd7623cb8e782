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
Types = Annotated[bool, typer.Option("--types", help="Tell types of nuclei, too; they are a demonstration.")]
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
    types: Types = False,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing; use what is on this machine.")] = False,
) -> None:
    """Segment a real H&E region, show the figures and write report.html for your browser."""
    from pano_med.cli.demo import run

    run(out, weights, device, types, offline)


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
    types: Types = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Segment images; each leaves five files in --out.

    NAME_panoptic.png and NAME_panoptic.json (COCO panoptic), NAME_overlay.png, NAME.geojson (QuPath) and
    NAME_segments.csv. NAME is the image's file name without its ending; where two images share it, their folder's name
    goes in front (a/x.png and b/x.png give a_x and b_x), then the ending behind. Files of an earlier run are replaced.
    """
    from pano_med.cli.segment import run

    raise typer.Exit(run(images, out, mpp, weights, device, types, json, quiet))


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
    data_set: Annotated[
        Path | None, typer.Option(help="Card of one data set to train on, such as `pano-med data new` writes.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time budget instead of steps.", callback=_positive)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, as it was begun.")] = False,
    model: Annotated[str, typer.Option(help="efficientps, or two_networks (the baseline).")] = "efficientps",
    weights: Annotated[str | None, typer.Option(help="Begin from these weights instead of ImageNet's.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A source to use, again for each; default: all.")] = None,
    tiles: Annotated[int, typer.Option(min=0, help="Synthetic tiles.")] = 32,
    batch_size: Annotated[int, typer.Option(min=1, help="Crops per step.")] = 4,
    crop_size: Annotated[int, typer.Option(min=32, help="Side of a crop in pixels.")] = 256,
    mpp: Annotated[
        float | None,
        typer.Option(help="Pixel size in um that the network works at; default: 0.25, or a data set's own.",
                     callback=_positive),
    ] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate.", callback=_positive)] = 7e-4,
    accumulate: Annotated[int, typer.Option(min=1, help="Forward passes per step, for larger batches.")] = 1,
    precision: Annotated[str, typer.Option(help="auto, 32-true, bf16-mixed or 16-mixed.")] = "auto",
    val_every: Annotated[int, typer.Option(min=0, help="Steps between validations; 0 = at the end.")] = 0,
    patience: Annotated[int, typer.Option(min=0, help="End after so many validations without gain; 0 = never.")] = 0,
    balance_classes: Annotated[bool, typer.Option("--balance-classes", help="Rare things as often as common.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same run.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, or any accelerator that Lightning knows.")] = "auto",
    devices: Annotated[int, typer.Option(min=-1, help="GPUs (or processes on a CPU) to share; -1 = all.")] = 1,
) -> None:
    """Train on real and synthetic tiles; Ctrl-C keeps a checkpoint, --resume goes on from it."""
    from pano_med.cli.train import Plan, run

    options = {
        "steps": steps,
        "minutes": minutes,
        "batch_size": batch_size,
        "crop_size": crop_size,
        **({"model_mpp": mpp} if mpp else {}),
        "lr": lr,
        "accumulate": accumulate,
        "precision": precision,
        "val_every": val_every,
        "patience": patience,
        "balance_classes": balance_classes,
        "seed": seed,
        "accelerator": device,
        "devices": devices,
    }
    run(out, data, resume, Plan(model, weights, tuple(only or ()), tiles, str(data_set) if data_set else None), options)


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is installed, what is missing and how to get it."""
    from pano_med.cli.doctor import run

    raise typer.Exit(run(json))


@app.command()
def seams(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A result of `pano-med slide`.")],
    slide: Annotated[Path | None, typer.Option(help="Its slide; default: the file of its name beside DIR.")] = None,
    places: Annotated[int, typer.Option(min=1, help="How many places to look at; each costs about a tile.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same places.")] = 0,
    weights: Weights = None,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Certify the seams of a segmented slide: as good as the inside of tiles, or not. Writes DIR/seams.json."""
    from pano_med.cli.seams import run

    raise typer.Exit(run(folder, slide, places, seed, weights, device, quiet))


@app.command()
def cohort(
    folder: Annotated[Path, typer.Argument(help="Folder of slides; those in folders below it count too.")],
    out: Out,
    scheduler: Annotated[
        str | None, typer.Option(help="Address (tcp://HOST:8786) or file of a running dask scheduler.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine; default: as cores and memory allow.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on: finished slides are not done again.")] = False,
    places: Annotated[int, typer.Option(min=0, help="Places at which seams are certified; 0 = not at all.")] = 0,
    mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of all slides; default: the file's.", callback=_positive)
    ] = None,
    weights: Weights = None,
    device: Device = None,
    types: Types = False,
    quiet: Quiet = False,
) -> None:
    """Segment every slide of a folder, on this machine or on a cluster; one that fails does not stop the others."""
    from pano_med.cli.cohort import run

    raise typer.Exit(run(folder, out, scheduler, workers, resume, places, types, mpp, weights, device, quiet))


@app.command()
def explore(
    slide: Annotated[
        Path | None, typer.Argument(help="A slide, or a result of `pano-med slide`; default: choose in the page.")
    ] = None,
    weights: Weights = None,
    mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of the slide; default: the file's.", callback=_positive)
    ] = None,
    device: Device = None,
    types: Types = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in your browser.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 = any free one.")] = 0,
) -> None:
    """Look at a slide as a page in your browser; nuclei are found where you look. The page is for this machine only."""
    from pano_med.cli.explore import run

    raise typer.Exit(run(slide, weights, device, types, mpp, browser, port))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A result of `pano-med slide`.")],
    to: Annotated[list[str], typer.Option(help="qupath, coco, csv, parquet or png; again for each.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the files; default: DIR.")] = None,
    region: Annotated[
        str | None,
        typer.Option(help="TOP,LEFT,HEIGHT,WIDTH in level-0 pixels, or a GeoJSON file of polygons drawn in QuPath."),
    ] = None,
    crop: Annotated[bool, typer.Option("--crop/--no-crop", help="Whether QuPath shows the bounds only.")] = True,
    reweight: Annotated[
        bool, typer.Option("--reweight", help="Add classes re-weighted by the tissue around; originals stay.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a segmented slide for QuPath, as COCO panoptic, CSV, Parquet or an overview picture."""
    from pano_med.cli.slide_export import run_export

    run_export(folder, to, out, region, crop, reweight, quiet)


@app.command("slide-report")
def slide_report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A result of `pano-med slide`.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The page; default: DIR/report.html.")] = None,
    slide: Annotated[Path | None, typer.Option(help="Its slide; default: the file of its name beside DIR.")] = None,
    quiet: Quiet = False,
) -> None:
    """Make one page about a segmented slide: figures, seams, where to look first. It opens in any browser."""
    from pano_med.cli.slide_export import run_report

    run_report(folder, out, slide, quiet)


@app.command()
def slide(
    slide: Annotated[Path, typer.Argument(help="SVS, NDPI, MRXS, SCN, DICOM, OME-TIFF, TIFF or a plain image.")],
    out: Out,
    mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of the slide; default: the file's.", callback=_positive)
    ] = None,
    weights: Weights = None,
    device: Device = None,
    types: Types = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished result in --out.")] = False,
    region: Annotated[
        tuple[int, int, int, int] | None,
        typer.Option(help="TOP LEFT HEIGHT WIDTH in the slide's pixels: only tiles that touch it.", show_default=False),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Segment a whole slide into the folder --out: a map as OME-Zarr, every nucleus as a row, a manifest.

    Glass is skipped. Everything is written as it goes: after Ctrl-C or a crash, --resume goes on.
    """
    from pano_med.cli.slide import run

    raise typer.Exit(run(slide, out, mpp, weights, device, resume, types, region, json, quiet))


@app.command()
def bundle(
    weights: Annotated[str, typer.Argument(help="Shipped weights by name, or your own .safetensors.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the bundle; new or empty.")],
) -> None:
    """Write weights as a MONAI bundle, which `python -m monai.bundle run` loads and runs."""
    from pano_med.predict.bundle import write_bundle

    print(write_bundle(weights, out))
