"""Measure weights on their validation part and write what was found into their card.

Usage: `python benchmarks/model_card.py he-nano --data DIR`. WEIGHTS is a name, a .safetensors file or a run's folder.

The card is Markdown for people. What stands in it between the two marker lines below is replaced, all else stays as
it is; the same weights on the same images give the same bytes. One picture of failures and one of the scores'
reliability go to `--pictures`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from card_fields import MISDRAWN, Field, Once, measure, never_drawn, validation
from card_pictures import failures, png, reliability_figure, save_figure
from card_tables import (
    Calibrated,
    by_size,
    by_stain,
    by_type,
    calibrated,
    calibration,
    core,
    estimated,
    objects_name,
    quality,
)
from scoring import load_network

from pano_med.formats import replacing
from pano_med.types import Sample

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, measure, write the card and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a name, a .safetensors file or a run's folder")
    parser.add_argument("--data", default=os.environ.get("PANO_MED_DATA"), help="folder of images; else PANO_MED_DATA")
    parser.add_argument("--out", type=Path, help="the card; default the .md beside the weights")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "cards", help="default docs/cards")
    parser.add_argument("--score", type=float, help="cut on the score of things; default the card's")
    parser.add_argument("--images", type=int, help="only the first N images of each set: a trial, not for a card")
    args = parser.parse_args(argv)
    if not args.data:
        parser.error("say where the images are: --data DIR, or set PANO_MED_DATA")
    try:
        name, out = _names(args.weights, args.out)
        replaced(read_card(out), "")  # before the minutes of predicting
        fields, others = _fields(args.weights, args.data, args.score, args.images)
        args.pictures.mkdir(parents=True, exist_ok=True)
        text = sections(name, fields, fields[0].cut, args.pictures, out.parent, others)
        with replacing(out) as file:
            file.write(replaced(read_card(out), text).encode())
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    print(f"wrote {out}", file=sys.stderr)
    return 0


def read_card(path: Path) -> str:
    """The text of a card.

    Raises:
        FileNotFoundError: there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no card {path}; write its prose first, with the lines {BEGIN} and {END} "
                                "where the measured sections belong")
    return path.read_text(encoding="utf-8")


def replaced(card: str, text: str) -> str:
    """The card with `text` between its markers.

    Raises:
        ValueError: a marker is missing, stands twice, or they stand in the wrong order.
    """
    lines = [line.strip() for line in card.splitlines()]
    if lines.count(BEGIN) != 1 or lines.count(END) != 1 or lines.index(BEGIN) > lines.index(END):
        raise ValueError(f"a card must hold one line {BEGIN} and below it one line {END}, this one has "
                         f"{lines.count(BEGIN)} and {lines.count(END)}; put them where the measured sections belong")
    rows = card.splitlines()
    kept = [*rows[: lines.index(BEGIN) + 1], text, *rows[lines.index(END) :]]
    return "\n".join(kept) + "\n"


def sections(name: str, fields: Sequence[Field], cut: float, pictures: Path, home: Path,
             others: Sequence[Field] = ()) -> str:
    """The measured part of a card; draws its pictures.

    Args:
        name: of the weights; the pictures are called after it.
        fields: the validation part, measured.
        cut: on the score, as shipped.
        pictures: existing folder of the pictures.
        home: folder of the card, for links.
        others: images of sets that no training drew from, measured; a table of their own.
    """
    things = [f for f in fields if f.drawn]
    if not things:
        raise ValueError("a card tells of things, and no image of this validation part has all of them drawn")
    judged, what = core(fields), objects_name(things[0].found.taxonomy)
    scores, seen = calibrated(judged), any(not f.unseen for f in fields)
    guessed = estimated(things)
    sizes = f" Pixel sizes are given; those of {', '.join(guessed)} are estimates." if guessed else ""
    parts = [
        f"## Measured\nWritten by `python benchmarks/model_card.py {name}` on {len(fields)} validation images at a cut "
        f"of {cut:g} on the score. Ranges in brackets are 95 % (bootstrap over images); with few images or groups they "
        f"are too narrow.{sizes}",
        "### Quality by data set\nPQ is SQ times RQ, all images of a row together. A group is a patient, or a cluster "
        "of look-alike fields where patients are unknown; \"groups drawn\" is the 95 % range when whole groups are "
        "drawn, which is the honest one for new patients. A region is one object in each image, so with few images its "
        "PQ is coarse; IoU counts all its pixels together."
        + (" \\* Training saw another part of the same slide." if seen else "")
        + _misdrawn(fields),
        quality(fields, cut),
        *_others(others, cut),
        *_types([*fields, *others]),
        f"### Do the scores mean what they say?\nOn the images of {_names_of(judged)}.",
        f"![Share of things that match a true {what} against their score, with 95 % ranges and the number of things "
        f"below]({_link(_reliability(name, scores, what, cut, pictures), home)})",
        calibration(judged, scores, cut),
        "### By stain\nThe look is measured: \"density\" is the mean optical density (natural logarithm) of tissue, "
        "\"haematoxylin\" its share of the dye, the rest being eosin (Ruifrok & Johnston 2001). PQ of the things, type "
        "ignored.",
        by_stain(fields, cut),
        f"### By size, shape and crowding\nOn the images of {_names_of(judged)}. \"Found\" is matched at IoU above "
        "0.5. The gap goes from outline to outline of the labels; 0 = they touch.",
        by_size(judged, cut),
        *_failed(name, judged, cut, pictures, home),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _names(weights: str, out: Path | None) -> tuple[str, Path]:
    path = Path(weights)
    name = path.stem if path.suffix == ".safetensors" else path.name
    beside = path.with_suffix(".md") if path.suffix == ".safetensors" else ROOT / "pano_med" / "weights" / f"{name}.md"
    return name, out or beside


def _fields(weights: str, data: str, score: float | None, most: int | None) -> tuple[list[Field], list[Field]]:
    """The validation part and the sets that no training drew from, measured."""
    loaded = load_network(weights)
    segmenter = Once(loaded, score=score, types=True)
    parts = [_first(read(loaded.taxonomy, data), most) for read in (validation, never_drawn)]
    samples = [s for part in parts for s in part]
    fields = []
    for i, sample in enumerate(samples, 1):
        print(f"{i} of {len(samples)}: {sample.source}, {sample.name}", file=sys.stderr, flush=True)
        fields.append(measure(segmenter, sample))
    return fields[: len(parts[0])], fields[len(parts[0]) :]


def _first(samples: Sequence[Sample], most: int | None) -> list[Sample]:
    ordered = sorted(samples, key=lambda s: (s.source, s.group, s.name))
    if most is None:
        return ordered
    return [s for i, s in enumerate(ordered) if [t.source for t in ordered[:i]].count(s.source) < most]


def _others(fields: Sequence[Field], cut: float) -> list[str]:
    """A table of sets that no training drew from: other patients for tissue and types too."""
    if not fields:
        return []
    guessed = estimated(fields)
    sizes = f" Pixel sizes of {' and '.join(guessed)} are estimates." if guessed else ""
    return [
        f"### Sets that no training drew from\n{len(fields)} images, all of patients and slides that the weights never "
        "saw, so tissue and types are judged here without help from the same slide. Few patients, and neither cut nor "
        f"anything else was chosen on them.{sizes} No other section counts them.",
        quality(fields, cut),
    ]


def _types(fields: Sequence[Field]) -> list[str]:
    """Which types the found things were told; nothing where no label has types."""
    found = by_type(fields)
    said = "### Which type was told?\nThings that match a labelled one (IoU above 0.5), by the type of the label."
    return [said, found] if found else []


def _misdrawn(fields: Sequence[Field]) -> str:
    bad = [f.sample for f in fields if f.misdrawn]
    if not bad:
        return ""
    said = "; ".join(sorted({f"{s.source}, {MISDRAWN[s.source]}...{s.name[-4:]}" for s in bad}))
    return (f" \"Misdrawn\" are {len(bad)} images whose labels do not lie on the nuclei ({said}; see the data card); "
            "the sections below leave them out.")  # fmt: skip


def _names_of(fields: Sequence[Field]) -> str:
    return " and ".join(sorted({f.sample.source for f in fields}))


def _reliability(name: str, measured: Calibrated, what: str, cut: float, pictures: Path) -> Path:
    path = pictures / f"{name}_reliability.png"
    save_figure(reliability_figure(measured, what, cut), path)
    return path


def _failed(name: str, fields: Sequence[Field], cut: float, pictures: Path, home: Path) -> list[str]:
    drawn = failures(fields, cut)
    if drawn is None:
        return []
    path = pictures / f"{name}_failures.png"
    path.write_bytes(png(drawn.picture))
    what = objects_name(fields[0].found.taxonomy)
    return [
        "### Failures in pictures\nThe fields of lowest PQ, one of each group (at least 5 objects), each cut to the "
        "part with most mistakes. Left the image, middle the labels, right the prediction. Thin white lines: matched. "
        f"Thick lines with a cross: a {what} that was missed. Thick lines with a triangle: a predicted one that "
        "matches none.",
        f"![The worst validation fields: image, labels with misses marked, prediction with false ones marked; below "
        f"them typical mistakes enlarged]({_link(path, home)})",
        "\n".join(f"- {line}" for line in drawn.captions),
        "Images: " + ". ".join(drawn.credits) + ".",
    ]


def _link(path: Path, home: Path) -> str:
    return Path(os.path.relpath(path.resolve(), home.resolve())).as_posix()


if __name__ == "__main__":
    sys.exit(main())
