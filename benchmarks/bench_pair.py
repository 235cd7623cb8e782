"""One network against two on the validation part: nuclei PQ, and contradictions between the heads before any merge

Columns hold PQ or shares of pixels in place of seconds; of a share, less is better, so ratio = theirs / ours there too.
Run `python benchmarks/bench_pair.py [WEIGHTS or RUN]` for a pair that does not ship; `--cuts` shows PQ by score cut.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from scoring import UNSEEN, contradictions, counts, load_network, pq, validation

from pano_med.metrics import paired_bootstrap
from pano_med.predict import Segmenter
from pano_med.types import Sample

OURS, PAIR = "he-nano", "he-pair"
SHARES = {
    "on_stuff": "instance pixels that the semantic head calls stuff",
    "other_thing": "instance pixels that the semantic head gives to another thing class",
    "no_instance": "thing pixels of the semantic head that no instance covers",
    "contradicted": "thing pixels of either head on which the two disagree",
}


def run(pair: str = PAIR) -> list[dict[str, Any]]:
    """Rows for `benchmarks/run.py`; needs PANO_MED_DATA and the pair's weights (a name, a file or a run's folder)."""
    samples = validation(os.environ["PANO_MED_DATA"])
    segmenters = [Segmenter(load_network(place), "cpu") for place in (OURS, pair)]
    ours, theirs = (sum(contradictions(samples, s)) for s in segmenters)
    cuts = " and ".join(f"{s.rules.score:g}" for s in segmenters)
    note = f"{len(samples)} validation images, each at its score cut ({cuts}), before any merge"
    rows = [_row(text, getattr(ours, name), getattr(theirs, name), note, less=True) for name, text in SHARES.items()]
    return [_quality(samples, segmenters), *rows]


def _quality(samples: list[Sample], segmenters: list[Segmenter]) -> dict[str, Any]:
    unseen = [s for s in samples if s.source in UNSEEN]
    a, b = (counts(unseen, lambda image, mpp, s=s: s(image, mpp).panoptic) for s in segmenters)
    gain = paired_bootstrap(a, b, pq)
    note = f"{len(unseen)} images; gain {gain.value:.3f}, 95 % interval {gain.low:.3f} to {gain.high:.3f} (paired)"
    return _row("nuclei PQ, unseen patients", pq(a), pq(b), note, less=False)


def _row(what: str, ours: float, theirs: float, note: str, less: bool) -> dict[str, Any]:
    ratio = (theirs / ours if less else ours / theirs) if ours and theirs else None
    return {"what": what, "against": "lite0 + lite0 pair", "ours_s": ours, "theirs_s": theirs, "ratio": ratio,
            "note": note}  # fmt: skip


def main() -> None:
    """Print the rows for one pair, or its PQ by score cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", nargs="?", default=PAIR)
    parser.add_argument("--cuts", action="store_true", help="PQ of this one network at score cuts 0.2 to 0.8")
    args = parser.parse_args()
    if not args.cuts:
        for row in run(args.pair):
            print(f"{row['what']}: {row['ours_s']:.4f} against {row['theirs_s']:.4f} ({row['note']})")
        return
    loaded, samples = load_network(args.pair), validation(os.environ["PANO_MED_DATA"])
    unseen = [s for s in samples if s.source in UNSEEN]
    for tenth in range(4, 17):
        segmenter = Segmenter(loaded, "cpu", tenth / 20)
        print(f"score {tenth / 20:.2f}: PQ {pq(counts(unseen, lambda i, mpp, s=segmenter: s(i, mpp).panoptic)):.4f}")


if __name__ == "__main__":
    main()
