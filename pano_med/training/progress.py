"""Ctrl-C between steps instead of inside one, and a progress bar with the time left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


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


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int | None, float], None]]:
    """A bar on standard error with steps, loss and time left; call it with (step, total, loss).

    Nothing is drawn where standard error is a file: the CSV log tells the same there.
    """
    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"),
               TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (console.is_terminal or console.is_jupyter),
                  speed_estimate_period=300) as progress:
        task = progress.add_task("training", total=None, loss="-")

        def show(step: int, total: int | None, loss: float) -> None:
            progress.update(task, completed=step, total=total, loss=f"{loss:.3f}")

        yield show
