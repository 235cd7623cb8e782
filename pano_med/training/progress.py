"""Ctrl-C between steps instead of inside one, the time left, and a progress bar that shows it."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a training; a checkpoint was written first. The message says how to go on."""


@dataclass
class Stop:
    """Whether someone asked to stop."""

    asked: bool = False


@contextmanager
def listen() -> Iterator[Stop]:
    """Turn the first Ctrl-C into a note that is read between steps; the second one interrupts at once.

    Signals reach the main thread only; elsewhere nothing is changed.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        stop.asked = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class Clock:
    """How long steps and validations take, and so how long a run still does."""

    def __init__(self) -> None:
        self.steps: deque[float] = deque(maxlen=200)
        self.validation = 0.0

    @property
    def pace(self) -> float:
        """Seconds of a usual step; the first ones of a run, which also warm up caches, do not count if others do."""
        return median(list(self.steps)[2:] or self.steps or [1.0])

    def left(self, step: int, total: int | None, val_every: int, budget: float) -> float:
        """Seconds that a run still takes.

        Args:
            step: steps done.
            total: steps of the run; None while it is not known, then the answer is `budget`.
            val_every: steps between validations, 0 = only at the end.
            budget: seconds left of a budget in time.
        """
        if total is None:
            return max(0.0, budget)
        validations = (-(-total // val_every) - step // val_every) if val_every else 1
        return (total - step) * self.pace + (validations * self.validation if step < total else 0.0)


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s", "12 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def progress_bar(wanted: bool = True) -> Iterator[Callable[[int, int | None, float, float], None]]:
    """A bar on standard error with steps, loss and time left; call it with (step, total, loss, seconds left).

    Nothing is drawn where standard error is a file: the CSV log tells the same there.
    """
    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"),
               TimeElapsedColumn(), TextColumn("{task.fields[left]} left"))
    seen = wanted and (console.is_terminal or console.is_jupyter)
    with Progress(*columns, console=console, disable=not seen) as progress:
        task = progress.add_task("training", total=None, loss="-", left="?")

        def show(step: int, total: int | None, loss: float, left: float) -> None:
            progress.update(task, completed=step, total=total, loss=f"{loss:.3f}", left=duration(left))

        yield show
