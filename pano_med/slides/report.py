"""One self-contained page about a segmented slide: figures, seams, places to look at. No torch, no network.

Nuclei are told first without their types; what rests on types stands under a heading that calls it a
demonstration where it is one. A plain result has no such part.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pano_med.formats import replacing
from pano_med.outputs import things_word
from pano_med.pictures import styles
from pano_med.report import PICTURES, data_uri, legend_item, number, page, percent, table
from pano_med.slides.consistency import BELOW, RADIUS_UM, consistency
from pano_med.slides.export import overview
from pano_med.slides.figures import histogram
from pano_med.slides.neighbours import NEAR_UM, neighbourhood
from pano_med.slides.reader import Slide
from pano_med.slides.report_words import IMPROBABLE, NO_SEAMS, STYLE, TILES, TISSUE, TYPES, seam_sentences
from pano_med.slides.store import THUMBNAIL, Result
from pano_med.slides.worst import picture, tile_box, worst_tiles
from pano_med.types import Category

#: Name of the page in a result folder.
FILE = "report.html"
#: At most so many failed tiles and objects that were left out are listed.
_MOST = 12
#: Stuff that is no tissue.
_GLASS = "background"


@dataclass(frozen=True)
class Figures:
    """What is counted on a slide.

    Attributes:
        counts: number of nuclei of each class name.
        areas_mm2: mm2 of each tissue, and of all things together ("under nuclei"), which lie on top of it.
        kinds: (N,) category id of each nucleus.
        sizes_um2: (N,) area of each.
        places_um: (N, 2) centre of each, in micrometres.
    """

    counts: dict[str, int]
    areas_mm2: dict[str, float]
    kinds: np.ndarray
    sizes_um2: np.ndarray
    places_um: np.ndarray

    @classmethod
    def of(cls, result: Result) -> Figures:
        """Count a result."""
        found = result.instances(["category_id", "area_um2", "row", "column"])
        kinds, sizes = found["category_id"].to_numpy(), found["area_um2"].to_numpy()
        counts = {c.name: int((kinds == c.id).sum()) for c in result.taxonomy.all if c.isthing}
        areas = {name: um2 / 1e6 for name, um2 in result.manifest["areas_um2"].items()}
        places = np.stack([found["row"].to_numpy(), found["column"].to_numpy()], -1) * result.mpp
        areas[f"under {things_word(counts)}"] = float(sizes.sum(dtype=float)) / 1e6
        return cls(counts, areas, kinds, sizes, places)

    @property
    def word(self) -> str:
        """What the things are called: nuclei, or what the weights find instead."""
        return things_word(self.counts)

    @property
    def tissue_mm2(self) -> float:
        """All that was looked at and is not glass."""
        return sum(mm2 for name, mm2 in self.areas_mm2.items() if name != _GLASS)

    def per_mm2(self, count: int) -> float | None:
        """Nuclei per mm2 of tissue, None without tissue."""
        return count / self.tissue_mm2 if self.tissue_mm2 else None


def write_report(result: Result, path: str | Path, slide: Slide | None = None) -> None:
    """Write the page, whole or not at all.

    Args:
        result: an opened folder.
        path: of the page.
        slide: the slide itself, for the pictures of tiles; None: they are drawn over white.

    Raises:
        ValueError: the slide is another one, or a `seams.json` that cannot be read.
        OSError: the page cannot be written.
    """
    there = result.manifest["slide"]
    if slide is not None and slide.fingerprint != there["fingerprint"]:
        raise ValueError(f"{slide.path} is not the slide of this result, which was {there['name']}; leave --slide out")
    text = html(result, slide)
    with replacing(path) as file:
        file.write(text.encode())


def html(result: Result, slide: Slide | None = None) -> str:
    """The page as text; arguments as `write_report`."""
    figures, seams = Figures.of(result), _seams(result)
    parts = [
        f"<style>{STYLE}</style>",
        _lead(result, figures),
        *(f'<p class="warn" role="alert"><b>Please note:</b> {escape(w)}</p>' for w in _warnings(result, seams)),
        _pictures(result),
        _things(figures),
        _tissue(figures),
        _certificate(seams),
        _tiles(result, slide, figures.word),
        _types(result, figures),
        f"<div class=facts>{table('Where this comes from', ('', ''), _facts(result))}</div>",
    ]
    return page(f"Slide {result.manifest['slide']['name']}", parts)


def _lead(result: Result, figures: Figures) -> str:
    return (
        f"<h1>Slide {escape(result.manifest['slide']['name'])}</h1><p>A network found {len(figures.kinds):,} "
        f"{escape(figures.word)} in {figures.tissue_mm2:,.2f} mm² of tissue. For research use only, not for "
        "diagnosis: nobody has checked these figures.</p>"
    )


def _warnings(result: Result, seams: dict[str, Any] | None) -> list[str]:
    tiles, found = result.manifest["tiles"], []
    if not result.done:
        found.append(f"the run was not finished: {tiles['done']} of {tiles['tissue']} tiles with tissue are done.")
    if tiles["failed"]:
        found.append(f"{len(tiles['failed'])} of {tiles['tissue']} tiles could not be read; nothing was counted there.")
    if result.manifest["too_large"]:
        found.append(f"{len(result.manifest['too_large'])} objects were larger than tiles overlap and were left out.")
    if seams and seams.get("verdict") != "pass":
        found.append("the seams between tiles are not as good as the rest, see below.")
    if result.manifest["slide"]["mpp_source"] != "file":
        found.append("the file does not say how large its pixels are; the person who ran this did. Areas rest on it.")
    return found


def _pictures(result: Result) -> str:
    look, height, width = styles(result.taxonomy), *result.size
    with Image.open(result.folder / THUMBNAIL) as thumbnail:
        plain = np.asarray(thumbnail.convert("RGB"))
    shown = [c for c in result.taxonomy.stuff if c.name in result.manifest["areas_um2"]]
    um = result.mpp
    return PICTURES.format(
        size=f"{width:,} x {height:,} px, {width * um / 1000:.2f} x {height * um / 1000:.2f} mm",
        outlines=data_uri(overview(result, legend=False)),
        plain=data_uri(plain),
        legend="".join(legend_item(c, look[c.id]) for c in shown),
    )


def _things(figures: Figures) -> str:
    total = len(figures.kinds)
    rows = [(figures.word, f"{total:,}", number(figures.per_mm2(total), 0))]
    counts = table(figures.word.capitalize(), ("", "count", "per mm² of tissue"), rows)
    return counts + histogram(figures.sizes_um2, "µm²", f"size of {figures.word}")


def _tissue(figures: Figures) -> str:
    whole = sum(figures.areas_mm2.values())
    rows = [(name, number(mm2, 3), percent(mm2, whole)) for name, mm2 in figures.areas_mm2.items()]
    found = table("Tissue", ("tissue", "mm²", "share of what was looked at"), rows)
    return f"{found}<p>{TISSUE}</p>"


def _seams(result: Result) -> dict[str, Any] | None:
    path = result.folder / "seams.json"
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a seam certificate ({error}); make it again with `pano-med seams`") from error


def _certificate(seams: dict[str, Any] | None) -> str:
    if seams is None:
        return f"<h2>Seams between tiles</h2><p>{NO_SEAMS}</p>"
    words, rows = seam_sentences(seams)
    said = f"<p><b>{escape(words[0])}</b></p>" + "".join(f"<p>{escape(w)}</p>" for w in words[1:])
    return f"<h2>Seams between tiles</h2>{said}{table('', ('', 'along seams', 'inside tiles'), rows)}"


def _tiles(result: Result, slide: Slide | None, word: str) -> str:
    failed = result.manifest["tiles"]["failed"]
    rows = [(_place(tile_box(result, f["tile"])), str(f["reason"])) for f in failed[:_MOST]]
    more = f"<p>And {len(failed) - _MOST:,} more.</p>" if len(failed) > _MOST else ""
    shown = "".join(
        f'<figure><img src="{data_uri(picture(result, box, slide))}" alt="a tile with its outlines"><figcaption>'
        f"mean score {tile.score:.2f} of {tile.count:,} {escape(word)}, {_place(box)}</figcaption></figure>"
        for tile, box in ((t, tile_box(result, t.number)) for t in worst_tiles(result))
    )
    unread = table("Tiles that could not be read", ("place", "why"), rows, level=3) + more
    return f"<h2>Where to look first</h2><p>{TILES}</p><div class='tiles pictures'>{shown}</div>{unread}"


def _place(box: tuple[float, float, float, float]) -> str:
    return f"row {box[0]:.0f}, column {box[1]:.0f}"


def _types(result: Result, figures: Figures) -> str:
    total, seen = len(figures.kinds), [c for c in result.taxonomy.all if c.isthing and figures.counts[c.name]]
    if len(result.taxonomy.things) < 2 or not any(c in result.taxonomy.things for c in seen):
        return ""
    numbers = [(c.name, figures.counts[c.name]) for c in seen]
    rows = [(name, f"{n:,}", percent(n, total), number(figures.per_mm2(n), 0)) for name, n in numbers]
    sizes = "".join(
        f"<div><h4>{escape(c.name)}</h4>{histogram(figures.sizes_um2[figures.kinds == c.id], 'µm²', 'size')}</div>"
        for c in seen
    )
    counts = table("Types", ("type", "count", "share", "per mm² of tissue"), rows, level=3)
    note = result.taxonomy.note
    told = f"Demonstration: types of nuclei</h2><p>{escape(note)} {TYPES}</p>" if note else "Types of nuclei</h2>"
    return f"<h2>{told}{counts}<div class=tiles>{sizes}</div>{_near(result, figures)}{_improbable(result)}"


def _near(result: Result, figures: Figures) -> str:
    """Tumour and inflammatory nuclei, where the taxonomy has them."""
    tumour, inflammatory = (_named(result.taxonomy.things, part) for part in ("neoplastic", "inflammatory"))
    if tumour is None or inflammatory is None:
        return ""
    rows = []
    for of, to in ((inflammatory, tumour), (tumour, inflammatory)):
        found = neighbourhood(figures.places_um, figures.kinds, of.id, to.id)
        if found is not None:
            what = f"{of.name}, with the next {to.name} within {NEAR_UM:.0f} µm"
            rows.append((what, percent(found.near, 1), percent(found.near_dealt, 1)))
            what, here, dealt = f"{of.name}: median distance to it", found.distance_um, found.distance_dealt_um
            rows.append((what, f"{here:.0f}\u00a0µm", f"{dealt:.0f}\u00a0µm"))
    return table("Tumour and inflammation", ("", "here", "types dealt at random"), rows, level=3)


def _named(things: Sequence[Category], part: str) -> Category | None:
    return next((c for c in things if part in c.name), None)


def _improbable(result: Result) -> str:
    judged = consistency(result)
    names = result.instances(["class"]).append_column("tissue", judged["tissue"]).filter(judged["flag"])
    groups = names.group_by(["class", "tissue"]).aggregate([([], "count_all")]).sort_by([("count_all", "descending")])
    rows = [(r["class"], r["tissue"], f"{r['count_all']:,}") for r in groups.to_pylist()]
    note = f"<p>{IMPROBABLE.format(below=f'{BELOW:.0%}'.replace('%', ' %'), radius=f'{RADIUS_UM:.0f}')}</p>"
    found = table("", ("nucleus", "in", "count"), rows) or "<p>None was found.</p>"
    return f"<h3>Improbable in their tissue</h3>{note}{found}"


def _facts(result: Result) -> list[tuple[str, str]]:
    slide, model, grid, tiles = (result.manifest[k] for k in ("slide", "model", "grid", "tiles"))
    source = {"file": "as the file says", "given": "as given by hand"}.get(slide["mpp_source"], slide["mpp_source"])
    return [
        ("use", "research use only, not for diagnosis"),
        ("slide", f"{slide['name']}, fingerprint {slide['fingerprint']}"),
        ("micrometres per pixel", f"{slide['mpp']:g} ({source}); segmented at {result.map_mpp:.4g}"),
        ("weights", f"{model['name']}, made for {model['mpp']:g} µm per pixel"),
        ("weights' SHA-256", str(model["sha256"])),
        ("tiles", f"{tiles['done']:,} of {tiles['tissue']:,} with tissue, of {tiles['all']:,} in all; "
                  f"{grid['tile']} px, overlapping by {grid['overlap']} px"),
        ("lowest score kept", f"{model['score']:g}"),
    ]  # fmt: skip
