"""Scores of a trained peer: matches of each validation image, and how long one fixed field takes; resumable."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scoring import counts

from pano_med.formats import replacing
from pano_med.training import at_mpp
from pano_med.types import Sample
from peers import PEERS, Method, Peer
from peers.budget import facts

#: The field that is timed: side in pixels and micrometres per pixel, the grid that ours works at.
SIDE, MPP = 1024, 0.25
#: Its tiles are of this set, whose images are at about that scale.
FIELD = "tnbc_breast_nuclei"
#: Repeats of a timing, fewer where one takes longer than a third of `ENOUGH` seconds.
REPEATS, ENOUGH = 5, 60.0
PROGRAM = Path(__file__).parents[1] / "bench_peers.py"


def key(number: int, sample: Sample) -> str:
    """What a sample is called in the file of scores."""
    return f"{number} {sample.source} {sample.name}"


def judge(peer: Peer, out: Path, samples: Sequence[Sample], again: bool = False, every: int = 1) -> dict[str, Any]:
    """Score a peer, or go on; what is stored belongs to the checkpoint that it names.

    Returns:
        {"trained": {"step", "total", "seconds"} or None, "parameters", "images": {key: [tp, fp, fn, sum of IoU]},
        "speed": {"seconds", "runs", "peak_mib"}}.

    Args:
        peer: trained, or with nothing to train.
        out: folder of all peers.
        samples: the validation part.
        again: time it again, on a machine that is quiet now.
        every: judge the first of so many images only, and what was judged before.
    """
    path, trained = out / "scores" / f"{peer.name}.json", spent(peer, out)
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known = {key(i, s) for i, s in enumerate(samples)}
    if not stored or stored["trained"] != trained or not set(stored["images"]) <= known:
        stored = {"trained": trained, "images": {}}
    left = [(i, s) for i, s in enumerate(samples) if i % every == 0 and key(i, s) not in stored["images"]]
    if left:
        method = peer.load(out / peer.name)
        stored["parameters"] = method.parameters
        try:
            for number, sample in left:
                stored["images"][key(number, sample)] = matches(method, sample)
                write(path, stored)
                print(f"\r{peer.name}: image {len(stored['images'])} of {len(samples)}", end="", file=sys.stderr)
        finally:
            method.close()
            print(file=sys.stderr)
    if again or "speed" not in stored:
        command = [sys.executable, str(PROGRAM), "time", peer.name, "--out", str(out)]
        stored["speed"] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
        write(path, stored)
    return stored


def spent(peer: Peer, out: Path) -> dict[str, Any] | None:
    """Steps and seconds of a peer's training; None where there is nothing to train.

    Raises:
        FileNotFoundError: it was not trained.
    """
    if peer.train is None:
        return None
    last = facts(out / peer.name)
    if last is None or not last["step"]:
        raise FileNotFoundError(f"not trained: {peer.absent() or f'`bench_peers.py train {peer.name}`'}")
    return {name: last[name] for name in ("step", "total", "seconds")}


def matches(method: Method, sample: Sample) -> list[float]:
    """True positives, false positives, false negatives and the sum of IoU of nuclei, regardless of type."""
    found = counts([sample], method.call)[0]
    return [float(getattr(found, name).sum()) for name in ("tp", "fp", "fn", "iou")]


def pq(rows: Sequence[Sequence[float]]) -> float:
    """PQ of nuclei over all images together; nan where neither side has any."""
    tp, fp, fn, iou = np.sum(rows, axis=0)
    whole = tp + fp / 2 + fn / 2
    return float(iou / whole) if whole else float("nan")


def write(path: Path, content: Any) -> None:
    """JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode())


def make_field(samples: Sequence[Sample]) -> np.ndarray:
    """(1024, 1024, 3) uint8: four validation images side by side at 0.25 um per pixel, so a megapixel of real tissue.

    Raises:
        ValueError: fewer than four images are large enough.
    """
    half, tiles = SIDE // 2, []
    for sample in (s for s in samples if s.source == FIELD):
        image = at_mpp(sample, MPP).image
        image = (image * 255).round().byte() if image.is_floating_point() else image
        if min(image.shape[1:]) >= half:
            tiles.append(image[:, :half, :half].permute(1, 2, 0).numpy())
    if len(tiles) < 4:
        raise ValueError(f"the timed field needs four images of {FIELD} of {half} px at {MPP} um, got {len(tiles)}")
    return np.concatenate([np.concatenate(tiles[i : i + 2], axis=1) for i in (0, 2)])


def clock(name: str, out: Path) -> dict[str, float]:
    """Fastest of some runs over the field, post-processing included, and the most memory held: {"seconds", ...}.

    The memory is that of the whole process (Python, libraries, weights); this runs in a process of its own.
    """
    image = np.load(out / "field.npy", allow_pickle=False)
    method = PEERS[name].load(out / name)
    method.call(np.ascontiguousarray(image[:256, :256]), MPP)  # libraries set up what they need once
    took: list[float] = []
    while len(took) < REPEATS and sum(took) + max(took, default=0) < ENOUGH:
        began = time.perf_counter()
        method.call(image, MPP)
        took.append(time.perf_counter() - began)
    status = Path("/proc/self/status")
    own = int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024 if status.exists() else float("nan")
    return {"seconds": min(took), "runs": len(took), "peak_mib": method.peak_mib() if method.peak_mib else own}
