"""What `pano-med data` does: cards shown, folders checked, sets fetched, own images made into a set."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from pano_med.cli.app import say
from pano_med.data.cards import UNKNOWN, Card, card, card_names, read_card
from pano_med.data.checking import Report
from pano_med.data.checking import check as check_set
from pano_med.data.croissant import croissant
from pano_med.data.fetch import fetch as fetch_set
from pano_med.data.new import Wishes
from pano_med.data.new import new as new_set


def find(name: str) -> Card:
    """The card of this name, or the card in this file.

    Raises:
        KeyError: no such set.
        FileNotFoundError: no such file.
        ValueError: the file is no card.
    """
    return read_card(name) if name.endswith(".md") else card(name)


def names(as_json: bool) -> None:
    """One line for each set: name, tiles, objects, stuff and things, how it is had."""
    rows = [_row(card(name)) for name in card_names()]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    table = [{key: key for key in rows[0]}, *({key: str(value) for key, value in row.items()} for row in rows)]
    widths = {key: max(len(row[key]) for row in table) for key in rows[0]}
    for row in table:
        cells = (row[k].ljust(w) if k in ("set", "had by") else row[k].rjust(w) for k, w in widths.items())
        print("  ".join(cells).rstrip())


def _row(it: Card) -> dict[str, Any]:
    return {
        "set": it.name,
        "tiles": it.counts["tiles"],
        "objects": it.counts["instances"],
        "stuff": it.own.num_stuff,
        "things": len(it.own.all) - it.own.num_stuff,
        "had by": it.front["download"]["how"],
    }


def show(name: str, as_json: bool) -> None:
    """The card for people: its text as it stands, after a summary of the table; or Croissant JSON-LD."""
    it = find(name)
    if as_json:
        print(json.dumps(croissant(it), ensure_ascii=False, indent=1))
        return
    licence = it.front["licence"]
    size = it.front["pixel_size_um"]
    print(it.prose)
    print(f"\nlicence: {licence['name']}; may be passed on: {_word(licence['redistribution'])}")
    print(f"cite: {it.front['citation']}")
    print(f"use: {it.front['intended_use']}; {it.front['out_of_scope']}")
    print(f"pixels: {size if size == UNKNOWN else f'{size} um'} ({it.front['pixel_size']})")
    print("counts: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in it.counts.items()))
    for kind in ("stuff", "thing"):
        own = [c.name for c in it.own.all if c.isthing == (kind == "thing")]
        print(f"{kind}: {', '.join(own) or 'none'}")
    print(f"labelled exhaustively: {', '.join(it.known) or 'nothing'}")
    for fault in it.front["label_faults"]:
        print(f"fault: {fault}")
    print(f"how to get it: {it.front['download']['how']}; {it.front['download']['note']}")
    print(f"card: {it.path}")


def _word(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, str(value))  # type: ignore[call-overload]


def check(name: str, root: Path | None, hashes: bool, as_json: bool) -> int:
    """Print what is there and what is wrong; 0 if nothing is wrong."""
    it = find(name)
    report = check_set(it, _root(it, root), hashes=hashes)
    if as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False))
    else:
        _tell(report)
    return 0 if report.ok else 1


def _tell(report: Report) -> None:
    print(f"{report.name}: " + ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in report.counts.items()))
    whole = sum(found["pixels"] for found in report.classes.values()) or 1
    there = {name: found for name, found in report.classes.items() if found["pixels"]}
    width = max((len(name) for name in there), default=0)
    for name, found in there.items():
        objects = f"{found['objects']:8d} objects" if found["objects"] else " " * 16
        print(f"  {name.ljust(width)} {objects}  {found['pixels'] / whole:7.2%} of the labelled pixels")
    for line in report.notes:
        print(f"note: {line}")
    for line in report.faults:
        print(f"FAULT: {line}")
    print("all as its card says" if report.ok else f"{len(report.faults)} faults")


def fetch(name: str, root: Path | None, yes: bool, quiet: bool) -> None:
    """Fetch a set after its terms were accepted."""
    it = find(name)

    def accept(terms: str) -> bool:
        print(terms)
        if yes:
            return True
        if not sys.stdin.isatty():
            raise ValueError(f"nobody is here to accept the terms of {it.name}; read them above and say --yes")
        return typer.confirm("Fetch it under these terms?")

    screen = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, console=screen, disable=quiet or not screen.is_terminal) as bar:
        folder = fetch_set(it, _root(it, root), accept, _bar(bar), say)
    print(f"{it.name} is in {folder}; check it: pano-med data check {name} --root {folder}")


def _bar(bar: Progress) -> Callable[[int, int | None], None]:
    task = bar.add_task("", total=None, visible=False)
    return lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def new(
    folder: Path,
    patients: str,
    validation: float,
    mpp: float | None,
    things: tuple[str, ...],
    stuff: tuple[str, ...],
    rename: Sequence[str],
    seed: int,
) -> None:
    """Make a data set of a folder and say how to train on it."""
    pairs = [text.partition("=") for text in rename]
    if wrong := [text for text, (old, _, fresh) in zip(rename, pairs, strict=True) if not (old and fresh)]:
        raise typer.BadParameter(f"--rename needs OLD=NEW, got {wrong[0]!r}")
    wishes = Wishes(things, stuff, {old: fresh for old, _, fresh in pairs}, patients, validation, mpp, seed)
    path = new_set(folder, wishes, say)
    it = read_card(path)
    print(f"{it.name}: {it.counts['tiles']} images, {it.counts['instances']} objects, {it.counts['groups']} groups")
    print(f"complete the card: {path}")
    print(f"train on it: pano-med train --data-set {path} --out run --minutes 30")


def _root(it: Card, root: Path | None) -> Path:
    """--root, else the folder of a card that lies in its set, else PANO_MED_DATA."""
    if root is not None:
        return root
    if it.path.stem == "card":
        return it.path.parent
    if not os.environ.get("PANO_MED_DATA"):
        raise typer.BadParameter("say where: --root, or set PANO_MED_DATA to the folder of the data sets")
    return Path(os.environ["PANO_MED_DATA"])
