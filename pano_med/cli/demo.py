"""`pano-med demo`: fetch or fall back, show, print the table."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pano_med.cli.app import say
from pano_med.demo import NotFetched, Quality, Region, Shown, fetch_hgsc, he_region, ihc_region, show
from pano_med.formats import make_folder
from pano_med.outputs import Summary
from pano_med.predict import load_segmenter


def run(out: Path, weights: str | None, device: str | None, types: bool, offline: bool) -> None:
    """Do it all."""
    start = time.perf_counter()
    make_folder(out)
    segmenter = load_segmenter(*[weights] if weights else [], device=device, types=types)
    region = _region(offline)
    with Console(stderr=True).status(f"segmenting {region.name} ..."):
        shown = show(region, segmenter, out)
    _print(region, shown)
    print(f"\n{time.perf_counter() - start:.0f} s in all. Open this in your browser:\n{shown.files[-1].resolve()}")


def _region(offline: bool) -> Region:
    try:
        with Console(stderr=True).status("fetching the sample (39 MB, once) ..."):
            return he_region(fetch_hgsc(offline=offline))
    except NotFetched as error:
        say(f"{error}; showing scikit-image's IHC picture instead, a stain that the weights were not made for")
        return ihc_region()


def _print(region: Region, shown: Shown) -> None:
    console = Console(highlight=False)
    console.print(f"{region.name}: {region.source}", soft_wrap=True)
    console.print(_nuclei(shown.summary))
    console.print(_tissue(shown.summary))
    memory = "" if shown.peak_mib is None else f", peak memory {shown.peak_mib:,.0f} MiB"
    height, width = region.image.shape[:2]
    console.print(f"{height} x {width} px in {shown.seconds:.1f} s{memory}", soft_wrap=True)
    if shown.quality:
        console.print(_words(shown.quality), soft_wrap=True)
    for warning in shown.warnings:
        say(f"warning: {warning}")
    console.print("Not for diagnosis.")
    for file in shown.files:
        console.print(f"  {file}", soft_wrap=True)


def _nuclei(summary: Summary) -> Table:
    table = Table("nuclei", "count", "per mm2 of tissue", box=None, padding=(0, 2, 0, 0))
    rows = [(k, n) for k, n in summary.counts.items() if n]
    if len(summary.counts) > 1 or not rows:
        rows.append(("all", sum(summary.counts.values())))
    for name, count in rows:
        density = summary.per_mm2(count)
        table.add_row(name, f"{count:,}", "unknown" if density is None else f"{density:,.0f}")
    return table


def _tissue(summary: Summary) -> Table:
    table = Table("tissue", "mm2", "share", box=None, padding=(0, 2, 0, 0))
    for name, area, share in summary.areas():
        table.add_row(name, "unknown" if area is None else f"{area:.3f}", f"{share:.0%}")
    return table


def _words(quality: Quality) -> str:
    pq, sq, rq = quality.nuclei
    kinds = "" if quality.typed is None else f", mean PQ by kind {quality.typed:.3f}"
    return (
        f"On rows that training never saw (same slide, {quality.labelled} labelled nuclei): "
        f"nuclei PQ {pq:.3f} (SQ {sq:.3f}, RQ {rq:.3f}){kinds}; "
        "the labels were drawn by another network"
    )
