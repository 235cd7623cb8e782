"""Against peers: other ways to find nuclei, trained from the same data for the same time, on the same machine

    python benchmarks/bench_peers.py train NAME|all --minutes 60 --out runs/peers    resumable: Ctrl-C, then again
    python benchmarks/bench_peers.py score --out runs/peers                          resumable; writes peers.md
    python benchmarks/bench_peers.py score --out runs/peers --again                  times everything anew
    python benchmarks/bench_peers.py score --every 4 --out runs/peers                judges no more than a quarter anew

Each peer is a file in `benchmarks/peers/`. Only images whose nuclei were all drawn train peers that know nuclei only.
Times want a machine with nothing else to do. StarDist needs a Python of its own, see `peers/stardist.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers import OURS, PEERS
from peers.score import clock, judge, make_field
from peers.table import NUCLEI, markdown
from run import machine

from pano_med.formats import make_folder
from pano_med.training import Interrupted, TrainConfig
from pano_med.training.recipe import Ingredients, he_core

OUT = Path("runs/peers")


def run() -> list[dict[str, Any]]:
    """Rows for `benchmarks/run.py`: seconds per megapixel as last scored in runs/peers, one row per peer."""
    rows, stored = [], {n: json.loads(p.read_text()) for n in PEERS if (p := OUT / "scores" / f"{n}.json").exists()}
    seconds = {n: s["speed"]["seconds"] for n, s in stored.items() if "speed" in s}
    for name, peer in PEERS.items():
        if name != OURS:
            ours, theirs = seconds.get(OURS), seconds.get(name)
            note = "stored by `bench_peers.py score`" if ours and theirs else "not trained or not scored here"
            rows.append({"what": "nuclei of a megapixel, post-processing included", "against": peer.title,
                         "ours_s": ours, "theirs_s": theirs, "note": note,
                         "ratio": theirs / ours if ours and theirs else None})  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line; 130 after Ctrl-C, 1 where a peer failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("train", "score", "time"), help="`time` is what `score` runs for one peer")
    parser.add_argument("names", nargs="*", help=f"all, or of {', '.join(PEERS)}")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of all peers")
    parser.add_argument("--minutes", type=float, default=60.0, help="of training for each")
    parser.add_argument("--crop", type=int, default=256, help="side of a crop in pixels")
    parser.add_argument("--batch", type=int, default=4, help="crops in a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="score: the first of so many images, for slow peers")
    parser.add_argument("--again", action="store_true", help="score: time everything anew")
    parser.add_argument("--data", default=os.environ.get("PANO_MED_DATA"), help="data sets; default PANO_MED_DATA")
    args = parser.parse_args(argv)
    try:
        names = chosen(args.names)
        if args.do == "time":
            print(json.dumps(clock(names[0], args.out)))
            return 0
        if args.data is None:
            raise ValueError("real images are needed: set PANO_MED_DATA or --data to their folder")
        parts = he_core(args.data)
        if args.do == "train":
            config = TrainConfig(minutes=args.minutes, crop_size=args.crop, batch_size=args.batch, seed=args.seed)
            return train(names, parts, config, args.out)
        return score(names, parts, args.out, args.again, args.every)
    except (KeyboardInterrupt, Interrupted):
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        parser.exit(2, f"{error}\n")


def chosen(names: Sequence[str]) -> list[str]:
    """The peers that were asked for, all where none was.

    Raises:
        ValueError: a name that is none of them.
    """
    strange = sorted(set(names) - {*PEERS, "all"})
    if strange:
        raise ValueError(f"no peer is called {strange[0]!r}; there are {', '.join(PEERS)}, and all")
    return list(PEERS) if not names or "all" in names else list(dict.fromkeys(names))


def train(names: Sequence[str], parts: Ingredients, config: TrainConfig, out: Path) -> int:
    """Train each for its budget, or go on; one that fails is told, the next one begins."""
    failed = 0
    for name in names:
        peer = PEERS[name]
        reason = "there is nothing to train" if peer.train is None else peer.absent()
        if peer.train is None or reason:
            print(f"{name}: left out, {reason}", flush=True)
            continue
        print(f"{name}: {config.minutes:g} minutes, from {peer.start} weights", flush=True)
        try:
            peer.train(parts, config, out / name)
        except (ValueError, OSError, ImportError, FloatingPointError, RuntimeError) as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            failed = 1
    return failed


def score(names: Sequence[str], parts: Ingredients, out: Path, again: bool = False, every: int = 1) -> int:
    """Score what is trained, write and print the table.

    Raises:
        ValueError: `every` below 1.
    """
    if every < 1:
        raise ValueError(f"every image is the first of 1, got --every {every}")
    samples = [s for s in parts.validation if s.source in NUCLEI]
    make_folder(out)
    if not (out / "field.npy").exists():
        np.save(out / "field.npy", make_field(samples))
    scores, absent, failed = {}, {}, 0
    for name in PEERS:
        if name not in names:
            absent[name] = "not asked for"
            continue
        try:
            scores[name] = judge(PEERS[name], out, samples, again, every)
        except FileNotFoundError as error:
            absent[name] = str(error)
        except Exception as error:  # one broken peer does not cost the figures of the others
            absent[name], failed = f"failed: {type(error).__name__}: {' '.join(str(error).split())}", 1
    page = markdown(scores, absent, machine())
    (out / "peers.md").write_text(page, encoding="utf-8")
    print(page, f"wrote {out / 'peers.md'}", sep="\n")
    return failed


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="no training sample shows")
    sys.exit(main())
