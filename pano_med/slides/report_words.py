"""What the page about a slide says in words, and how the seam certificate reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Added to the look that all reports share.
STYLE = """
code{white-space:nowrap;font-size:.85em}h3{font-size:1.05rem;margin:1.4rem 0 .4rem}h4{font-size:1rem;margin:.4rem 0}
figure{margin:.8rem 0}figcaption{font-size:.9rem}
svg{display:block;width:100%;max-width:32rem;font:13px system-ui,sans-serif;fill:var(--ink)}
svg .axis{fill:none;stroke:var(--ink)}svg .median{fill:none;stroke:var(--ink);stroke-width:2;stroke-dasharray:5 4}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr));gap:.4rem 1rem}
.tiles img{display:block;width:100%;height:auto;border:1px solid var(--line)}
.tiles figure{margin:.4rem 0}.wide td{overflow-wrap:break-word}.facts td{overflow-wrap:anywhere}
@media(max-width:40rem){.pictures{grid-template-columns:1fr 1fr}}
@media print{figure,table{break-inside:avoid}h2,h3{break-after:avoid}label,input{display:none}
 :root{--ink:#000;--paper:#fff}}
"""
NO_SEAMS = (
    "Nobody has looked at them yet. <code>pano-med seams DIR</code> shifts the grid of tiles at some places and "
    "compares what is found along the seams with what is found inside; then make this page again."
)
TISSUE = (
    "Areas show what the network painted, not what is there: small weights often take dense or pale collagen for "
    "tumour, and faint dirt on the glass for tissue. Compare them with the picture above; do not report them."
)
TILES = (
    "The tiles whose objects have the lowest mean scores. A low score means that the network was unsure; blur, folds, "
    "ink and unknown tissue are the usual reasons. Rows and columns are those of the slide's full resolution."
)
TYPES = "What follows shows what can be computed; it is not a finding."
IMPROBABLE = (
    "Nuclei of a type that makes up less than {below} of the nuclei in such tissue as lies within about {radius} µm "
    "around them, as counted on this slide on top of a prior of round figures. Each is a question: is the type wrong, "
    "is the tissue wrong, or is this the rare cell one looks for? "
    "<code>pano-med export DIR --to csv --reweight</code> lists them, with the type that fits the tissue best; "
    "nothing of the result is changed."
)


def seam_sentences(seams: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, str, str]]]:
    """The verdict in plain words, and rows (what, along seams, inside tiles).

    Args:
        seams: what `pano-med seams` wrote; figures that are missing read as a dash.
    """
    places = f"Looked at {seams.get('places', 0)} places by shifting the grid of tiles."
    if seams.get("one_tile"):
        return ["The slide is one tile, so there are no seams."], []
    passed = seams.get("verdict") == "pass"
    verdict = "Pass: along seams the map is as good as inside tiles." if passed else "Fail: seams show in the map."
    rows = [
        ("agreement with the shifted tiles (PQ)", _figure(seams, "band_pq"), _figure(seams, "interior_pq")),
        ("boundary that runs straight", _share(seams, "straight_edges_band"), _share(seams, "straight_edges_inside")),
        ("counted twice", _figure(seams, "duplicates", "{:,}"), ""),
        ("objects per area, against inside", _figure(seams, "density_ratio", "{:.2f} times"), ""),
    ]
    return [verdict, *(f"{r[:1].upper()}{r[1:]}." for r in seams.get("reasons", [])), places], rows


def _figure(seams: Mapping[str, Any], name: str, form: str = "{:.3f}") -> str:
    value = seams.get(name)
    return "–" if not isinstance(value, int | float) else form.format(value)


def _share(seams: Mapping[str, Any], name: str) -> str:
    value = seams.get(name)
    return "–" if not isinstance(value, int | float) else f"{100 * value:.1f} %"
