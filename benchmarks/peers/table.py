"""The table of all peers: PQ by set with intervals, the difference from ours, time, memory; absent ones say why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scoring import NUCLEI, UNSEEN

from pano_med.metrics import Interval, bootstrap, paired_bootstrap
from peers import OURS, PEERS
from peers.score import MPP, SIDE, pq

DRAWS = 1000
MEGAPIXELS = SIDE**2 / 1e6
MM2 = (SIDE * MPP / 1000) ** 2
SETS = {"unseen patients": UNSEEN, **{name: (name,) for name in NUCLEI}}
HEADS = ("what", "starts from", *SETS, "difference from ours, unseen patients", "s / MP", "s / mm²", "times ours",
         "peak MiB", "parameters", "minutes trained")  # fmt: skip
Scores = Mapping[str, Any]


def markdown(scores: Mapping[str, Scores], absent: Mapping[str, str], machine: str) -> str:
    """The page.

    Args:
        scores: of each peer that was scored, as `score.judge` gives them.
        absent: of each other peer, why there are none.
        machine: where the times were taken.
    """
    lines = [f"| {' | '.join(HEADS)} |", f"|---|---|{'---:|' * (len(HEADS) - 2)}"]
    for name, peer in PEERS.items():
        cells = cells_of(name, scores) if name in scores else [absent[name], *[""] * (len(HEADS) - 3)]
        lines.append(f"| {' | '.join([peer.title, *([peer.start] if name in scores else ['']), *cells])} |")
    return "\n".join(["# Peers", "", *lines, "", *reading(scores, absent), "", machine, ""])


def cells_of(name: str, scores: Mapping[str, Scores]) -> list[str]:
    """Everything behind the start of a peer's row."""
    mine, ours = scores[name], scores.get(OURS)
    speed = mine["speed"]
    cells = [str(over(mine, sources)) if rows_of(mine, sources) else "" for sources in SETS.values()]
    if len(mine["images"]) < max(len(s["images"]) for s in scores.values()):
        cells[0] += f" ({len(rows_of(mine, UNSEEN))} images)"
    gain = difference(mine, ours, UNSEEN) if ours and name != OURS else None
    cells.append(f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" if gain else "")
    cells += [_short(speed["seconds"] / MEGAPIXELS), _short(speed["seconds"] / MM2)]
    cells.append(f"{speed['seconds'] / ours['speed']['seconds']:.2f}" if ours else "")
    trained = mine["trained"]
    cells += [f"{speed['peak_mib']:,.0f}", f"{mine['parameters']:,}"]
    return [*cells, f"{trained['seconds'] / 60:.1f} ({trained['step']:,} steps)" if trained else "0"]


def rows_of(scores: Scores, sources: Sequence[str], also: Scores | None = None) -> list[list[float]]:
    """The matches of the images of some sets that another peer was judged on too, in the order of the images."""
    both = scores["images"] if also is None else scores["images"].keys() & also["images"].keys()
    items = sorted(((k, v) for k, v in scores["images"].items() if k in both), key=lambda item: int(item[0].split()[0]))
    return [row for name, row in items if name.split()[1] in sources]


def over(scores: Scores, sources: Sequence[str]) -> Interval:
    """PQ over some sets and its interval, images drawn."""
    return bootstrap(rows_of(scores, sources), pq, samples=DRAWS)


def difference(theirs: Scores, ours: Scores, sources: Sequence[str]) -> Interval:
    """Theirs - ours on the images that both were judged on, drawn together; below 0 = ours is better."""
    return paired_bootstrap(rows_of(theirs, sources, ours), rows_of(ours, sources, theirs), pq, samples=DRAWS)


def reading(scores: Mapping[str, Scores], absent: Mapping[str, str]) -> list[str]:
    """Who leads in what, in sentences, the unwelcome ones included."""
    lines = ["PQ of nuclei regardless of type, pooled over a set's images [95 % bootstrap over images]; the same "
             "crops, batches, threads and budget for all; AdamW for all but StarDist (Adam), HoVer-Net and StarDist at "
             "rates of their own; nobody's thresholds were tuned, but ours weighs masks as he-nano does, "
             "which was chosen on these images. Peers that start from random weights would gain "
             "from ImageNet's, which are downloads. Ours and the pairs spend steps on tissue without nuclei. Times: "
             f"fastest run over one field of {SIDE} x {SIDE} px at {MPP} um, from uint8 pixels to a map, "
             "post-processing included; memory: the whole process. A row with a number of images was judged on these "
             "alone, evenly spread, and so was its difference."]  # fmt: skip
    ours = scores.get(OURS)
    if ours is None:
        return [*lines, "", f"Ours is {absent[OURS]}, so nothing can be compared."]
    for name, theirs in scores.items():
        if name != OURS:
            lines.append(f"- {PEERS[name].title}: {verdict(theirs, ours)}")
    if "hovernet" in scores:
        times = scores["hovernet"]["speed"]["seconds"] / ours["speed"]["seconds"]
        lines.append(f"- HoVer-Net takes {times:.0f} times as long as ours; {'the' if times >= 60 else 'short of the'} "
                     f"goal of 60 times{' is reached' if times >= 60 else ''}.")  # fmt: skip
    return [*lines[:1], "", *lines[1:]]


def verdict(theirs: Scores, ours: Scores) -> str:
    """Who is better and who is faster."""
    gain = difference(theirs, ours, UNSEEN)
    sure = "" if gain.high < 0 or gain.low > 0 else " (the interval holds 0)"
    better = f"{'ours' if gain.value < 0 else 'theirs'} has the higher PQ{sure}"
    if gain.value == 0 or math.isnan(gain.value):
        better = "equal PQ"
    times = theirs["speed"]["seconds"] / ours["speed"]["seconds"]
    faster = f"ours is {times:.1f} times as fast" if times >= 1 else f"theirs is {1 / times:.1f} times as fast"
    leads = gain.value < 0 and times > 1
    return f"{better}, {faster}{'' if leads else '; ours does not lead in both'}."


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
