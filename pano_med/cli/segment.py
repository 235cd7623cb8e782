"""`pano-med segment`: read, segment and write image by image; one bad file does not stop the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from pano_med.cli.app import EXPECTED, one_line, say
from pano_med.formats import make_folder, read_image
from pano_med.outputs import Summary, output_names, things_word, write_outputs
from pano_med.predict import Segmenter, load_segmenter


def run(
    images: list[Path],
    out: Path,
    mpp: float | None,
    weights: str | None,
    device: str | None,
    types: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Do it; the exit code is 1 where an image failed."""
    images = list({path.resolve(): path for path in images}.values())
    names = output_names(images)
    make_folder(out)  # before the weights are loaded: a read-only place is told at once
    segmenter = load_segmenter(*[weights] if weights else [], device=device, types=types)
    failed = 0
    with Console(stderr=True, quiet=quiet).status("") as status:
        for number, (path, name) in enumerate(zip(images, names, strict=True), 1):
            status.update(f"{number} of {len(images)}: {path.name}")
            try:
                row = _one(segmenter, path, out, name, mpp)
            except (*EXPECTED, RuntimeError) as error:
                failed += 1
                text = one_line(error)
                say(text if str(path) in text else f"{path}: {text}")
                continue
            for note in row["notes"]:
                if not quiet:
                    say(f"{path}: {note}")
            for warning in row["warnings"]:
                say(f"{path}: warning: {warning}")
            if as_json:
                print(json.dumps(row, ensure_ascii=False), flush=True)
            elif not quiet:
                print(_sentence(row), flush=True)
    if failed:
        say(f"{failed} of {len(images)} images failed")
    return int(bool(failed))


def _one(segmenter: Segmenter, path: Path, out: Path, name: str, mpp: float | None) -> dict[str, Any]:
    """Segment one file and write its five; what happened, ready for JSON."""
    image = read_image(path)
    found = segmenter(image.array, mpp or image.pixel_size_um)
    files = write_outputs(out, name, image.array, found.panoptic)
    return {
        "image": str(path),
        "name": name,
        "size": list(image.size),
        **Summary.of(found.panoptic).to_dict(),
        "seconds": round(found.seconds, 3),
        "pixel_size_from": "estimate" if found.mpp_source == "estimated" else "--mpp" if mpp else "file",
        "notes": list(image.notes),
        "warnings": list(found.warnings),
        "files": {ending: str(file) for ending, file in files.items()},
    }


def _sentence(row: dict[str, Any]) -> str:
    things = {k: v["count"] for k, v in row["things"].items()}
    kinds = ", ".join(f"{n} {k}" for k, n in things.items() if n and len(things) > 1)
    area = f"{row['area_mm2']:.3g} mm2, " if row["area_mm2"] is not None else ""
    total = sum(things.values())
    return f"{row['name']}: {total} {things_word(things)}{f' ({kinds})' if kinds else ''}, {area}{row['seconds']:.1f} s"
