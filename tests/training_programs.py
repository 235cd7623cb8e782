"""Training runs that need processes of their own: several at once, and some that are killed. Run as a program."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from training_fakes import FakeNet, FakePipeline, samples

from pano_med import weights
from pano_med.synthetic import he_tile
from pano_med.training import TrainConfig, checkpoint, fit
from pano_med.types import HE_CORE, Sample

#: The moments inside the writing of a checkpoint at which a run is killed: the function, before or after it, and the
#: call. Calls 1 to 3 of `_settle` belong to step 0; then each step has two, and validation adds three.
MOMENTS = (
    ("save_file", "half", 4), ("_settle", "before", 6), ("_settle", "after", 7), ("write_text", "before", 4),
    ("write_text", "after", 4), ("save_file", "half", 7), ("_settle", "after", 14), ("write_text", "before", 7),
)  # fmt: skip


def tiles(count: int) -> list[Sample]:
    """Painted H&E; in every third one nobody drew the nuclei."""
    return [_tile(seed, HE_CORE.stuff if seed % 3 == 2 else HE_CORE.categories) for seed in range(count)]


def _tile(seed: int, known: tuple) -> Sample:
    tile = he_tile(seed, (128, 128))
    image = torch.from_numpy(tile.image.transpose(2, 0, 1).copy())
    return Sample(image, tile.truth, tile.truth.pixel_size_um, "painted", f"g{seed}", {c.id for c in known},
                  name=f"tile{seed}")


def dealt(folder: str, devices: str, batch_size: str, accumulate: str) -> None:
    """Three steps of the shipped network on twelve crops in all, dealt to processes and passes as asked."""
    config = TrainConfig(steps=3, batch_size=int(batch_size), accumulate=int(accumulate), devices=int(devices),
                         crop_size=96, lr=1e-4, freeze_norm=True, warmup=0, val_every=2, best_by="mean_pq",
                         accelerator="cpu", precision="32-true")
    seen: list[int] = []
    result = fit(weights.load("he-nano").model, tiles(5), tiles(1), config, folder,
                 on_step=lambda row: seen.append(row["step"]))
    rank = os.environ.get("LOCAL_RANK", "0")
    print(f"rank {rank}: {result.steps} steps, validated {[r['step'] for r in result.history]}, told of {seen}")


def notebook(folder: str) -> None:
    """Two processes forked from this one, as in a notebook; the model here gets what they learned."""
    config = TrainConfig(steps=5, batch_size=2, warmup=1, val_every=2, devices=2, strategy="ddp_notebook",
                         accelerator="cpu", precision="32-true")
    net = FakeNet()
    before = net.conv.weight.clone()
    torch.set_num_threads(1)
    result = fit(net, samples(4), samples(2, 50), config, folder, pipeline=FakePipeline())
    print(result.ended, result.steps, len(result.history), bool((net.conv.weight != before).any()))


def killed(folder: str) -> None:
    """For each of `MOMENTS` a run that is killed there, then resumed to its end; and one that is never killed."""
    _forked(lambda: _run(Path(folder, "whole"), False))
    for number, moment in enumerate(MOMENTS):
        place = Path(folder, str(number))
        code = _forked(lambda: _die(*moment) or _run(place, False))  # noqa: B023  (called at once)
        assert code == signal.SIGKILL, f"{moment}: nobody was killed ({code})"
        print(*moment, sorted(p.name for p in place.iterdir()))
        assert _forked(lambda: _run(place, True)) == 0, f"{moment}: not resumed"  # noqa: B023


def _run(folder: Path, resume: bool) -> None:
    torch.manual_seed(0)
    config = TrainConfig(steps=6, batch_size=2, warmup=2, val_every=2, lr=0.02, checkpoint_minutes=0,
                         accelerator="cpu", precision="32-true")
    fit(FakeNet(), samples(4), samples(2, 50), config, folder, resume, pipeline=FakePipeline(), progress=False)


def _die(name: str, when: str, call: int) -> None:
    """From here on, the `call`-th call of a function of `checkpoint` is the last thing this process does."""
    original, calls = getattr(checkpoint, name), 0

    def deadly(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call and when == "half":
            Path(arguments[1]).write_bytes(b"half of a checkpo")
        if calls == call and when == "after":
            original(*arguments)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        original(*arguments)

    setattr(checkpoint, name, deadly)


def _forked(work: Callable[[], object]) -> int:
    """Do it in a child process: torch is imported once for all. Its exit status, as `os.wait` gives it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]  # of a killed process: the signal


if __name__ == "__main__":
    {"dealt": dealt, "killed": killed, "notebook": notebook}[sys.argv[1]](*sys.argv[2:])
