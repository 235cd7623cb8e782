"""The class experiment of lesson 05: each name draws an arm of the ablation and a seed, a class fills the table.

Students call `draw` and `run`, the instructor `read`, `compare`, `table` and `forest`. A result line holds no name.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from pano_med.lessons.class_experiment_lines import (
    BASE,
    MARK,
    SCORES,
    Comparison,
    Pasted,
    ResultLine,
    compare,
    read_lines,
    table,
    told,
)
from pano_med.lessons.class_experiment_plot import forest
from pano_med.training import Interrupted, TrainConfig
from pano_med.training.arms import ARMS, train_arm
from pano_med.training.recipe import Ingredients, painted_tiles
from pano_med.training.run import OnRow
from pano_med.types import HE_CORE, Panoptic, Sample

__all__ = ["DRAWN", "SCORES", "Comparison", "Draw", "Pasted", "ResultLine", "compare", "draw", "examples", "forest",
           "painted", "partly", "read", "run", "table", "told"]  # fmt: skip

#: Arms that a class can draw. All labels of its images are painted, so there is nothing left without painted tiles.
DRAWN = tuple(name for name in ARMS if name != "no painted tiles")
#: Tickets in the urn: every comparison needs the base, so it is there twice.
_TICKETS = tuple(name for name in DRAWN for _ in range(1 + (name == BASE)))
_SEEDS = 1_000_000
#: um per pixel, side of a crop, images a step: small enough for two cores.
_MPP, _CROP, _BATCH = 0.5, 128, 2


@dataclass(frozen=True)
class Draw:
    """What somebody drew.

    Attributes:
        arm: the name of an arm.
        seed: of everything that is drawn in the run.
    """

    arm: str
    seed: int

    @property
    def question(self) -> str:
        """What comparing this arm with the base answers."""
        return ARMS[self.arm].question


def draw(who: str | int) -> Draw:
    """The arm and the seed of a name; the same on every machine.

    Args:
        who: a name: case, and blanks around and inside, make no difference. Or a number that the instructor dealt
            out, 1, 2, 3, ...: then arms come in turn, so that all are drawn equally often.

    Raises:
        ValueError: an empty name, or a number below 1.
    """
    if isinstance(who, int) and who < 1:
        raise ValueError(f"numbers are dealt out from 1 on, got {who}")
    name = " ".join(unicodedata.normalize("NFKC", str(who)).casefold().split())
    if not name:
        raise ValueError("a draw needs a name, or the number that you were given; this one is empty")
    number = int.from_bytes(hashlib.sha256(f"pano-med 05 {name}".encode()).digest()[:8], "big")
    ticket = who - 1 if isinstance(who, int) else number // _SEEDS
    return Draw(_TICKETS[ticket % len(_TICKETS)], number % _SEEDS)


def painted(tiles: int = 24, judged: int = 6) -> Ingredients:
    """What every student trains on: painted tiles, of which one half knows nuclei only, the other tissue only.

    Args:
        tiles: to learn from.
        judged: to judge by; these know everything.
    """
    nuclei, tissue = (frozenset(c.id for c in group) for group in (HE_CORE.things, HE_CORE.stuff))
    train = [replace(partly(tile, tissue if i % 2 else nuclei), source=f"painted {'tissue' if i % 2 else 'nuclei'}")
             for i, tile in enumerate(painted_tiles(tiles, 5, 256, _MPP))]  # fmt: skip
    validation = list(painted_tiles(judged, 6, 192, _MPP))
    return Ingredients(train, validation, {"painted nuclei": 1.0, "painted tissue": 1.0})


def partly(sample: Sample, known: frozenset[int]) -> Sample:
    """The sample as if people had drawn these categories only: everything else becomes void.

    Raises:
        ValueError: the sample has no truth.
    """
    truth = sample.truth
    if truth is None:
        raise ValueError(f"labels are hidden from a truth, {sample.name or 'the sample'} has none")
    kinds = {s.id: s.category_id for s in truth.segments if s.category_id in known}
    rest = Panoptic.from_ids(truth.lookup({i: i for i in kinds}), kinds, truth.taxonomy, truth.pixel_size_um)
    return replace(sample, truth=rest, known=known)


def run(drawn: Draw, folder: str | Path, minutes: float | None = None, steps: int | None = None,
        parts: Ingredients | None = None, data: str = "painted", *, on_step: OnRow | None = None,
        stop: Callable[[], bool] | None = None, on_validation: OnRow | None = None, progress: bool = False
        ) -> ResultLine:
    """Train what was drawn and judge it; the line for the instructor.

    A run that was interrupted goes on from its folder; a finished one is only judged.

    Args:
        drawn: of `draw`.
        folder: of the runs; each draw has a folder of its own inside.
        minutes: of training, the same for the whole class; or else
        steps: of the optimiser.
        parts: what to learn from, the same for the whole class; None = `painted()`.
        data: what to call that in the line.
        on_step: told of every step.
        stop: asked after every step; True ends the run.
        on_validation: not used; with it, the hooks of a `TrainingMonitor` fit.
        progress: draw a bar as well.

    Raises:
        ValueError: neither minutes nor steps, or both.
        Interrupted: `stop` said so; the same call goes on from the last checkpoint.
    """
    config = TrainConfig(steps=steps, minutes=minutes, batch_size=_BATCH, crop_size=_CROP, model_mpp=_MPP, lr=1e-3,
                         warmup=10, ema=0.95, checkpoint_minutes=1.0, seed=drawn.seed)  # fmt: skip
    out = Path(folder) / f"{drawn.arm.replace(' ', '-')}-{drawn.seed}"

    def each_step(row: Mapping[str, Any]) -> None:
        if on_step is not None:
            on_step(row)
        if stop is not None and stop():
            raise Interrupted("stopped by you; run the same cell again to go on")

    found = train_arm(drawn.arm, parts or painted(), config, out, on_step=each_step, progress=progress).row()
    facts = json.loads((out / "last.json").read_text(encoding="utf-8"))
    scores = {name: None if math.isnan(found[name]) else round(found[name], 4) for name in SCORES}
    return ResultLine(drawn.arm, drawn.seed, data, facts["step"], round(facts["seconds"] / 60, 2), _device(), **scores)


def _device() -> str:
    """The kind of the device that Fabric takes."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found else "cpu"


def read(text: str) -> Pasted:
    """Pasted result lines, see `read_lines`."""
    return read_lines(text, DRAWN)


def examples() -> str:
    """Result lines to try the table with; class_experiment.md says where they come from."""
    text = files("pano_med.lessons").joinpath("class_experiment.md").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if line.startswith(MARK))


