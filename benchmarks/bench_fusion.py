"""Fusion box by box against the full canvas: time, equality, peak extra memory.

Run `python benchmarks/bench_fusion.py`. The full canvas is streamed, one instance at a time, because 1,000 of them
stacked at 2048 x 2048 would take tens of gigabytes. It uses the same score cut, NMS and paste, so what is compared is
the way of filling the canvas. Ratios hold for one run on one machine; both sides use the same number of threads.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pano_med.fusion import Fused, FusionRules, fuse, fused_logits
from pano_med.fusion.candidates import select
from pano_med.fusion.paste import paste, windows
from pano_med.types import Category, Instances, Prediction, Taxonomy

SIDE, CLASSES, INSTANCES, STACKED = 2048, 8, 1000, 50
TAXONOMY = Taxonomy("bench", tuple(Category(i + 1, f"class {i}", i >= CLASSES // 2, (0, 0, 0)) for i in range(CLASSES)))


def prediction(instances: int, side: int = SIDE) -> Prediction:
    """Round things of 20 to 60 px strewn over the image, noise on every logit; the same for the same numbers."""
    rng = torch.Generator().manual_seed(0)
    centre = torch.rand(instances, 2, generator=rng) * side
    half = torch.rand(instances, 2, generator=rng) * 20 + 10
    grid = (torch.arange(28) - 13.5) / 14
    dome = 4 * (1 - (grid[:, None] ** 2 + grid**2))
    masks = dome + torch.randn(instances, 28, 28, generator=rng)
    ids = torch.randint(CLASSES // 2, CLASSES, (instances,), generator=rng) + 1
    scores = torch.rand(instances, generator=rng) * 0.49 + 0.51
    semantic = torch.empty(CLASSES, side, side).normal_(generator=rng)
    return Prediction(semantic, Instances(torch.cat([centre - half, centre + half], 1), ids, scores, masks), TAXONOMY)


def canvases(p: Prediction, rules: FusionRules) -> Any:
    """(instance, FL over the whole image) of every instance that survives the cuts, best score first."""
    spans, found = windows(p.instances.boxes, p.size), p.instances
    occupied = torch.zeros(p.size, dtype=torch.bool)
    for index in select(found, rules).after_nms:
        ml_a, inside = torch.zeros(p.size), torch.zeros(p.size, dtype=torch.bool)
        if spans[index].is_empty:
            continue
        ml_a[spans[index].slices], inside[spans[index].slices] = paste(found.mask_logits[index], spans[index]), True
        mask = ml_a > 0
        area = int(mask.sum())
        if area == 0 or int((mask & occupied).sum()) / area > rules.overlap:
            continue
        occupied |= mask
        ml_b = torch.where(inside, p.semantic_logits[p.taxonomy.channel(int(found.category_ids[index]))], 0)
        fl = fused_logits(ml_a, ml_b)
        yield index, fl if rules.outside == "zero" else torch.where(inside, fl, -torch.inf)


def streamed(p: Prediction, rules: FusionRules) -> Tensor:
    """(H, W) winner: stuff channel, or the number of stuff channels + index of the instance; one canvas at a time."""
    best, winner = p.semantic_logits[: p.taxonomy.num_stuff].max(0)
    for index, fl in canvases(p, rules):
        winner = torch.where(fl > best, p.taxonomy.num_stuff + index, winner)
        best = torch.maximum(best, fl)
    return winner


def stacked(p: Prediction, rules: FusionRules) -> Tensor:
    """The same winner from all canvases at once, as the method is published."""
    indices, layers = zip(*canvases(p, rules), strict=True)
    num_stuff = p.taxonomy.num_stuff
    names = torch.tensor([*range(num_stuff), *(num_stuff + i for i in indices)])
    return names[torch.cat([p.semantic_logits[:num_stuff], torch.stack(layers)]).argmax(0)]


def winner_of(fused: Fused) -> np.ndarray:
    """The map of `fuse` in the numbers of `streamed`."""
    taxonomy = fused.panoptic.taxonomy
    table = {s.id: taxonomy.channel(s.category_id) for s in fused.panoptic.stuff}
    return fused.panoptic.lookup(table | {s: taxonomy.num_stuff + i for i, s in fused.kept.items()})


def timed(work: Any, repeats: int = 1) -> tuple[float, Any]:
    """Median wall time in seconds of some repeats, the cold first one included, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        out = work()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2], out


def speed(rules: FusionRules, name: str, instances: int = INSTANCES, side: int = SIDE) -> dict[str, Any]:
    """`fuse` against the streamed canvas, with the result compared pixel by pixel."""
    p = prediction(instances, side)
    ours, fused = timed(lambda: fuse(p, rules), 3)
    theirs, expected = timed(lambda: streamed(p, rules))
    differ = int((winner_of(fused) != expected.numpy()).sum())
    return {
        "what": f"fuse, {instances} instances, {side} x {side} x {CLASSES}, {name}",
        "against": "full canvas, one instance at a time",
        "ours_s": ours,
        "theirs_s": theirs,
        "ratio": theirs / ours,
        "note": f"{differ} of {side * side} pixels differ; {torch.get_num_threads()} threads",
    }


def equality(rules: FusionRules, name: str, instances: int = STACKED, side: int = SIDE) -> dict[str, Any]:
    """`fuse` against all canvases stacked."""
    p = prediction(instances, side)
    ours, fused = timed(lambda: fuse(p, rules), 3)
    theirs, expected = timed(lambda: stacked(p, rules))
    differ = int((winner_of(fused) != expected.numpy()).sum())
    return {
        "what": f"fuse, {instances} instances, {side} x {side} x {CLASSES}, {name}",
        "against": "full canvas, everything stacked",
        "ours_s": ours,
        "theirs_s": theirs,
        "ratio": theirs / ours,
        "note": f"{differ} of {side * side} pixels differ",
    }


def memory(instances: int = INSTANCES, side: int = SIDE) -> dict[str, Any]:
    """Peak resident memory of `fuse` above what was there before it, in a process of its own (Linux)."""
    command = [sys.executable, str(Path(__file__)), "--peak", str(instances), str(side)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    logits = CLASSES * side * side * 4
    extra = int(out.split()[-1])
    return {
        "what": f"peak extra memory of fuse, {instances} instances, {side} x {side} x {CLASSES}",
        "against": "twice the semantic logits",
        "ours_s": None,
        "theirs_s": None,
        "ratio": 2 * logits / extra,
        "note": f"{extra / 2**20:.0f} MiB extra, logits {logits / 2**20:.0f} MiB; ratio = limit / ours",
    }


def peak(instances: int, side: int) -> int:
    """Bytes by which the resident peak during `fuse` exceeds the resident size just before."""
    fuse(prediction(3, 64))  # libraries load and warm up on their own account
    p = prediction(instances, side)
    Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the peak so far
    before = _status_kib("VmRSS")
    fuse(p)
    return (_status_kib("VmHWM") - before) * 1024


def _status_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def run(instances: int = INSTANCES, side: int = SIDE) -> list[dict[str, Any]]:
    """All rows: what, against, ours_s, theirs_s, ratio, note. About two minutes at full size."""
    every_area = FusionRules(min_stuff_um2=None, min_stuff_fraction=0.0)
    zero = FusionRules(outside="zero", min_stuff_um2=None, min_stuff_fraction=0.0)
    few = min(STACKED, instances)
    return [
        speed(every_area, 'outside "never"', instances, side),
        equality(every_area, 'outside "never"', few, side),
        equality(zero, 'outside "zero"', few, side),
        memory(instances, side),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        print(peak(int(sys.argv[2]), int(sys.argv[3])))
    else:
        for row in run():
            print(row)
