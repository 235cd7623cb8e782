"""What is each part worth? Every arm of `pano_med.training.arms` with several seeds, and one table.

    python benchmarks/ablations.py --out runs/ablations [--arms "one-way pyramid" ...] [--seeds 0 1]
                                   [--steps 500 | --minutes 20] [--data DIR]

The runs follow each other, seed by seed. Finished ones are kept, an unfinished one goes on at its last checkpoint, so
Ctrl-C, a kill or a lost machine costs five minutes at most: give the same command again. OUT/results holds one JSON
per run, OUT/ablations.md the table (`ablation_table.py` says how its intervals are made). 500 steps of four crops of
256 px take about 20 minutes on two cores, validation included; "full" is always among the arms.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from ablation_table import flat, markdown, row_of
from run import machine

from pano_med.formats import make_folder, replacing
from pano_med.training import Scores, TrainConfig, predict_sample
from pano_med.training.arms import ARMS, FULL, find_arm, train, validation
from pano_med.training.batches import fingerprint
from pano_med.training.recipe import Ingredients, he_core
from pano_med.weights import imagenet_lite0

FORMAT = 1
STEPS = 500


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, do what is left, write the table; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="folder of the runs")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), metavar="ARM", help=f"of {', '.join(ARMS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, help=f"of each run; default {STEPS}")
    parser.add_argument("--minutes", type=float, help="of training for each run, instead of --steps")
    parser.add_argument("--crop", type=int, default=256, help="side of a training crop in pixels")
    parser.add_argument("--batch", type=int, default=4, help="crops in a step")
    parser.add_argument("--data", default=os.environ.get("PANO_MED_DATA"), help="data sets; default PANO_MED_DATA")
    args = parser.parse_args(argv)
    try:
        names = chosen(args.arms)
        if args.data is None:
            raise ValueError("real images are needed: set PANO_MED_DATA or --data to their folder")
        steps = STEPS if args.steps is None and args.minutes is None else args.steps
        config = TrainConfig(steps=steps, minutes=args.minutes, crop_size=args.crop, batch_size=args.batch)
        todo = [(arm, seed) for seed in dict.fromkeys(args.seeds) for arm in names]
        return ablate(todo, he_core(args.data), config, args.out, imagenet_lite0())
    except KeyboardInterrupt:
        print("\nstopped while the images were read; the same command begins again", flush=True)
        return 130
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        parser.exit(2, f"{error}\n")


def chosen(arms: Sequence[str]) -> list[str]:
    """The arms in the order of `ARMS`, with "full", which all are compared with.

    Raises:
        ValueError: a name that is none of them.
    """
    wanted = {FULL, *(find_arm(name).name for name in arms)}
    return [name for name in ARMS if name in wanted]


def ablate(todo: Sequence[tuple[str, int]], parts: Ingredients, config: TrainConfig, out: Path,
           pretrained: Mapping[str, torch.Tensor]) -> int:
    """Do every run of (arm, seed) that has no result yet, then write the table; 0, or 130 where it was stopped.

    Raises:
        ValueError: a result in `out` was made with other settings or images.
    """
    make_folder(out / "results")
    config = replace(config, source_weights=parts.weights)
    settings = {**config.to_dict(), "images": fingerprint([*parts.train, *parts.validation])}
    results = [r for r in (stored(result_file(out, *run), settings) for run in todo) if r]
    left = [run for run in todo if not result_file(out, *run).exists()]
    print(f"{len(todo)} runs, {len(left)} to do; {len(parts.train)} images to learn from, "
          f"{len(parts.validation)} to judge by", flush=True)  # fmt: skip
    while left:
        arm, seed = left[0]
        print(f"{arm}, seed {seed}: {find_arm(arm).question}", flush=True)
        try:
            result = measure(arm, parts, replace(config, seed=seed), out / folder_of(arm, seed), pretrained)
        except KeyboardInterrupt:  # Interrupted, or a Ctrl-C while it was judged
            print(f"\n{left_over(todo, left)}", flush=True)
            break
        result |= {"format": FORMAT, "arm": arm, "seed": seed, "settings": settings, "machine": machine()}
        with replacing(result_file(out, arm, seed)) as file:
            file.write(json.dumps(result).encode())
        print("  " + ", ".join(f"{k} {v:.3f}" for k, v in result["row"].items() if v is not None), flush=True)
        results.append(result)
        left.pop(0)
    if any(r["arm"] == FULL for r in results):
        page = markdown(results)
        with replacing(out / "ablations.md") as file:
            file.write(page.encode())
        print(page, f"wrote {out / 'ablations.md'}", sep="\n")
    return 130 if left else 0


def left_over(todo: Sequence[tuple[str, int]], left: Sequence[tuple[str, int]]) -> str:
    """What is left after an interruption, in one line."""
    arm, seed = left[0]
    return (f"stopped: {len(todo) - len(left)} of {len(todo)} runs are done, {len(left)} left, next {arm!r} with seed "
            f"{seed}; the same command goes on")


def measure(arm: str, parts: Ingredients, config: TrainConfig, folder: Path, pretrained: Mapping[str, torch.Tensor]
            ) -> dict[str, Any]:
    """Train one arm and judge it image by image."""
    model, fitted = train(arm, parts, config, folder, pretrained)
    images = []
    for sample in validation(parts, config.model_mpp):
        scores = Scores(model.taxonomy, find_arm(arm).to_map)
        scores.add(sample, predict_sample(model, sample, config.model_mpp))
        images.append({"name": sample.name, "source": sample.source, "group": sample.group, "counts": flat(scores)})
    row = row_of(np.sum([i["counts"] for i in images], axis=0), model.taxonomy)
    return {
        "row": {k: None if math.isnan(v) else v for k, v in row.items()},
        "parameters": sum(p.numel() for p in model.parameters()), "steps": fitted.steps,
        "seconds_per_step": median(step_seconds(folder / "log.csv")),
        "taxonomy": model.taxonomy.to_dict(), "images": images,
    }  # fmt: skip


def step_seconds(log: Path) -> Iterator[float]:
    """Seconds of each step of a run; their median hardly minds a busy machine's slow ones."""
    with log.open(encoding="utf-8") as file:
        yield from (float(row["seconds"]) for row in csv.DictReader(file))


def stored(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """A finished run's result, or None.

    Raises:
        ValueError: it was made with other settings or images, or is broken.
    """
    if not path.exists():
        return None
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        made = dict(result["settings"])
        theirs = {"images": made.pop("images"), "format": result["format"]}
        theirs |= TrainConfig.from_dict(made).to_dict()  # a field that is newer than the result has its default
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the result {path} is broken ({error}); remove it, and the run is judged again") from error
    other = sorted(k for k, v in {**settings, "format": FORMAT}.items() if theirs.get(k) != v)
    if other:
        raise ValueError(f"{path} was made with another {', '.join(other)}; give the same options as then, or another "
                         "--out")
    return result


def folder_of(arm: str, seed: int) -> str:
    """Name of a run's folder; a merge, which learns nothing, shares that of the network it merges."""
    return f"{find_arm(arm).trains_as.replace(' ', '-')}-{seed}"


def result_file(out: Path, arm: str, seed: int) -> Path:
    """Where a run's result is kept."""
    return out / "results" / f"{arm.replace(' ', '-')}-{seed}.json"


if __name__ == "__main__":
    sys.exit(main())
