"""`pano-med data ...`: the commands and their options; what they do stands in `cli.data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pano_med.cli.app import app
from pano_med.cli.commands import Json, Quiet, _positive

data_app = typer.Typer(
    help="Data sets: their cards, fetching and checking them, and your own images.", no_args_is_help=True
)
app.add_typer(data_app, name="data")

Name = Annotated[str, typer.Argument(help="A set of `pano-med data list`, or the path of a card.")]
Root = Annotated[
    Path | None, typer.Option(help="Folder of the data sets; default: PANO_MED_DATA, or the card's own folder.")
]


@data_app.command("list")
def list_cards(json: Json = False) -> None:
    """Name every data set that has a card."""
    from pano_med.cli.data import names

    names(json)


@data_app.command()
def show(name: Name, json: Json = False) -> None:
    """Show the card of a set: what it is, its licence, its classes, its faults. --json gives Croissant JSON-LD."""
    from pano_med.cli.data import show as run

    run(name, json)


@data_app.command()
def check(
    name: Name,
    root: Root = None,
    hashes: Annotated[bool, typer.Option("--hashes/--no-hashes", help="Recompute the sha256 of every file.")] = True,
    json: Json = False,
) -> None:
    """Compare a folder with its card: counts, hashes, pixel sizes, classes, leaks between parts, names of patients."""
    from pano_med.cli.data import check as run

    raise typer.Exit(run(name, root, hashes, json))


@data_app.command()
def fetch(
    name: Name,
    root: Root = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept licence and size without being asked.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a set: licence and size are shown first; a cut download goes on with the same command."""
    from pano_med.cli.data import fetch as run

    run(name, root, yes, quiet)


@data_app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds your images (in DIR/images) and their labels.")],
    patients: Annotated[
        str, typer.Option(help="A CSV of file name and patient, or a regular expression: '(case\\d+)_.*'.")
    ] = "",
    validation: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the images kept for validation; whole patients.")
    ] = 0.2,
    mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel; default: what the files say.", callback=_positive)
    ] = None,
    thing: Annotated[list[str] | None, typer.Option(help="A class that is objects; again for each.")] = None,
    stuff: Annotated[list[str] | None, typer.Option(help="A class that is a region; again for each.")] = None,
    rename: Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="A better name for a class.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same split.")] = 0,
) -> None:
    """Make a data set of your own images with label maps, QuPath GeoJSON or a COCO JSON; writes DIR/card.md."""
    from pano_med.cli.data import new as run

    run(folder, patients, validation, mpp, tuple(thing or ()), tuple(stuff or ()), rename or [], seed)
