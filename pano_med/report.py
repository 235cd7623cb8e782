"""One self-contained HTML page about one segmented image, for people who never read code. No torch, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from pano_med.formats import replacing
from pano_med.outputs import Summary
from pano_med.pictures import Style, styles
from pano_med.pictures.styles import swatch
from pano_med.types import Category, Taxonomy

#: Longest side of a picture in the page; larger ones are shrunk, the overlay PNG beside the page is not.
MAX_SIDE = 2400


@dataclass(frozen=True)
class Score:
    """One figure of quality and what it means in plain words."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Report:
    """What the page says.

    Attributes:
        title: of the page.
        lead: one or two sentences: what this is.
        image: (H, W, 3) uint8, as it was given.
        picture: (H, W, 3) uint8, the same with outlines.
        taxonomy: names and colours of the classes.
        summary: counts and areas.
        warnings: what the reader must know first; empty = nothing unusual.
        scores: quality against labels, where there are any.
        scores_note: what those labels are.
        files: (file name, what it is for) of the files beside the page.
        facts: (name, value) rows at the end: source, licence, weights, version, time.
    """

    title: str
    lead: str
    image: np.ndarray
    picture: np.ndarray
    taxonomy: Taxonomy
    summary: Summary
    warnings: Sequence[str] = ()
    scores: Sequence[Score] = ()
    scores_note: str = ""
    files: Sequence[tuple[str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()

    def write(self, path: str | Path) -> None:
        """Write the page, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        with replacing(path) as file:
            file.write(self.html().encode())

    def html(self) -> str:
        """The page as text."""
        parts = [
            f"<h1>{escape(self.title)}</h1><p>{escape(self.lead)}</p>",
            "".join(f'<p class="warn" role="alert"><b>Please note:</b> {escape(w)}</p>' for w in self.warnings),
            self._pictures(),
            self._tables(),
            self._quality(),
            table("Files beside this page", ("file", "what it is for"), self.files),
            table("Where this comes from", ("", ""), self.facts),
        ]
        return page(self.title, parts)

    def _pictures(self) -> str:
        look = styles(self.taxonomy)
        height, width = self.image.shape[:2]
        size = f"{width} x {height} px"
        if self.summary.pixel_size_um is not None:
            um = self.summary.pixel_size_um
            size += f", {width * um / 1000:.2f} x {height * um / 1000:.2f} mm"
        return PICTURES.format(
            size=size,
            outlines=data_uri(self.picture),
            plain=data_uri(self.image),
            legend="".join(legend_item(c, look[c.id]) for c in self._shown()),
        )

    def _shown(self) -> list[Category]:
        s = self.summary
        return [c for c in self.taxonomy.all if s.counts.get(c.name) or s.areas_px.get(c.name)]

    def _tables(self) -> str:
        s = self.summary
        total = sum(s.counts.values())
        things = [(n, f"{k:,}", percent(k, total), number(s.per_mm2(k), 0)) for n, k in s.counts.items() if k]
        if len(s.counts) > 1 or not things:
            things.append(("all", f"{total:,}", percent(total, total), number(s.per_mm2(total), 0)))
        stuff = [(name, number(mm2, 3), f"{100 * share:.0f} %") for name, mm2, share in s.areas()]
        head = ("nuclei", "count", "share", "per mm² of tissue")
        return table("Nuclei", head, things) + table("Tissue", ("tissue", "mm²", "share of image"), stuff)

    def _quality(self) -> str:
        if not self.scores:
            return ""
        rows = [(s.name, s.value, s.meaning) for s in self.scores]
        scores = table("How good is it?", ("measure", "value", "in words"), rows)
        return f"{scores}<p>{escape(self.scores_note)}</p>"


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page of parts that are HTML already; the title is plain text."""
    return PAGE.format(title=escape(title), style=STYLE, body="\n".join(parts))


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], level: int = 2,
          links: Sequence[str] = ()) -> str:
    """A heading and a table of plain texts, all escaped; nothing where there are no rows.

    Args:
        title: of the heading; "" for none.
        head: of the columns.
        rows: a name and its cells.
        level: of the heading.
        links: where the name of each row leads, a relative path; none if no name leads anywhere.
    """
    if not rows:
        return ""
    first = f"<tr>{''.join(f'<th scope=col>{escape(h)}</th>' for h in head)}</tr>" if any(head) else ""
    names = [escape(name) for name, *_ in rows]
    if links:
        names = [f'<a href="{quote(link)}">{name}</a>' for link, name in zip(links, names, strict=True)]
    body = "".join(
        f"<tr><th scope=row>{name}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, (_, *cells) in zip(names, rows, strict=True)
    )
    heading = f"<h{level}>{escape(title)}</h{level}>" if title else ""
    return f"{heading}<div class=wide><table>{first}{body}</table></div>"


def legend_item(category: Category, style: Style) -> str:
    """A sample of the line or hatching, so that colour is never the only sign."""
    sample = data_uri(swatch(category, style, (24, 48)), "PNG")
    letter = "" if category.isthing or style.quiet else f"{style.letter} = "
    return f'<li><img class=sample src="{sample}" alt="">{escape(letter + category.name)}</li>'


def percent(part: float, whole: float) -> str:
    """A share in whole per cent; a dash where there is nothing to share."""
    return f"{100 * part / whole:.0f} %" if whole else "–"


def number(value: float | None, digits: int) -> str:
    """A number with thousands marked; "unknown" for None."""
    return "unknown" if value is None else f"{value:,.{digits}f}"


def data_uri(array: np.ndarray, kind: str = "JPEG") -> str:
    """A picture as text within the page; beyond `MAX_SIDE` it is shrunk."""
    picture = Image.fromarray(array)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=88)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


#: How every report looks, on a screen, a phone and paper.
STYLE = """
:root{--ink:#1b1b1b;--paper:#fff;--line:#d5d5d5;--soft:#f4f4f2}
@media (prefers-color-scheme:dark){:root{--ink:#ececec;--paper:#17181a;--line:#444;--soft:#232427}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:0 1rem 3rem;
 font:1.05rem/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
.ban{position:sticky;top:0;z-index:2;margin:0 -1rem;padding:.6rem 1rem;background:#8a1c1c;color:#fff;
 font-weight:700;text-align:center}
h1{font-size:1.6rem;line-height:1.25}h2{font-size:1.2rem;margin:2rem 0 .5rem}
.warn{border-left:.4rem solid #d55e00;background:var(--soft);padding:.6rem .8rem}
table{border-collapse:collapse;min-width:50%}.wide{overflow-x:auto}
th,td{text-align:left;vertical-align:top;padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line)}
td{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}th[scope=row]{font-weight:500;overflow-wrap:anywhere}
.frame{border:1px solid var(--line);overflow:auto;max-height:85vh}.frame img{display:block;width:100%;height:auto}
.frame .plain{display:none}
#plain:checked~.frame .plain{display:block}#plain:checked~.frame .drawn{display:none}
#large:checked~.frame img{width:auto;max-width:none}
label{display:inline-block;padding:.45rem .6rem .45rem 0}input{width:1.1rem;height:1.1rem;vertical-align:-.15rem}
ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.3rem 1.2rem}
li .sample{width:2rem;height:1rem;margin-right:.4rem;vertical-align:-.15rem}
@media print{.ban{position:static}.frame{max-height:none}}
"""

#: The picture with and without outlines; fields size, outlines, plain, legend.
PICTURES = """<h2>The picture</h2>
<input type=checkbox id=plain><label for=plain>&nbsp;without outlines</label>
<input type=checkbox id=large><label for=large>&nbsp;full size</label>
<div class=frame tabindex=0 role=group aria-label="the picture; scroll to move when it is shown at full size">
<img class=drawn src="{outlines}" alt="the tissue, each nucleus and region outlined in the colour of its class">
<img class=plain src="{plain}" alt="the same tissue as it was given, without outlines"></div>
<p>{size}</p><ul aria-label="what lines and colours mean">{legend}</ul>"""

#: The frame of a page; fields title, style, body.
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><style>{style}</style></head><body>
<p class=ban role=note>Not for diagnosis. Research and teaching only.</p>
<main>{body}</main></body></html>
"""
