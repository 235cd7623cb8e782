"""TrainingMonitor: a run while it learns: losses, validation PQ, time left, and a button that ends it cleanly."""

from __future__ import annotations

import csv
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from IPython.display import DisplayHandle, display

from pano_med.widgets.base import Picture, code
from pano_med.widgets.training_curves import PARTS, SCORES, draw, thinned, told

#: Seconds between two messages to the page, and between two pictures for the saved notebook.
_PAGE, _PICTURE = 0.5, 20.0


class TrainingMonitor(Picture):
    """Shows a training live; it knows nothing of networks, only rows of numbers.

    `monitor.start(fit, model, train, validation, config, folder)` trains in the background: the cell ends at once and
    the button works. `monitor.wait()` in a later cell gives what `fit` returns. While a cell runs, Jupyter keeps the
    page's clicks waiting; during `wait()` the notebook's own stop button ends the run just as cleanly, and the widget
    says so. `monitor.run(...)` stays in its cell. Any other loop may call `on_step`, `on_validation` and `stopped`.

    Args:
        rows: rows of an earlier run, each with "step" and losses, as in log.csv.
        validations: its validations, each with "step" and some of "objects_pq", "things_pq", "stuff_pq".
        title: a line above.

    Attributes:
        stop: True once somebody asked the run to end.
        state: step, total, left (in words), phase ("waiting", "training", "stopping", "ended") and words.
    """

    _esm, _css = code("training_monitor").values()
    curve = traitlets.Dict().tag(sync=True)
    scores = traitlets.List().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    looks = traitlets.Dict().tag(sync=True)
    stop = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]] = (),
        validations: Iterable[Mapping[str, Any]] = (),
        title: str = "Training",
    ) -> None:
        self._rows = [_numbers(row) for row in rows]
        self._validations = [_numbers(row) for row in validations]
        self._handle: DisplayHandle | None = None
        self._ended: threading.Event | None = None
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._due = self._drawn = 0.0
        self._total: int | None = None
        start = {"step": self._step, "total": None, "left": "", "phase": "waiting", "words": "Nothing runs yet."}
        super().__init__(title=title, state=start, looks={"parts": PARTS, "scores": SCORES})
        self.observe(self._asked, "stop")
        self._push()
        self._due = 0.0

    @classmethod
    def read(cls, folder: str | Path, title: str = "Training") -> TrainingMonitor:
        """The monitor of a run that is in a folder, finished or not.

        Raises:
            FileNotFoundError: no log.csv there.
        """
        tables = []
        for name in ("log.csv", "validation.csv"):
            path = Path(folder) / name
            if not path.is_file() and name == "log.csv":
                raise FileNotFoundError(f"{folder} holds no training run: {name} is missing")
            tables.append(_table(path) if path.is_file() else [])
        return cls(*tables, title=title)

    # -- a run --------------------------------------------------------------------------------------------------

    def run(self, fit: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        """Call `fit` with these arguments and this monitor's `hooks`; what it returns."""
        self.stop = False
        self._phase("training", "The run begins ...")
        try:
            result = fit(*arguments, **options, **self.hooks())
        except BaseException as error:
            self._phase("ended", f"The run ended early: {str(error) or type(error).__name__}")
            raise
        words = {"stopped": "Stopped by you; the checkpoint is kept, resume goes on from it.",
                 "no improvement": "Ended early: validation no longer became better."}
        self._phase("ended", words.get(getattr(result, "ended", ""), "Finished."))
        return result

    def start(self, fit: Callable[..., Any], /, *arguments: Any, **options: Any) -> None:
        """As `run`, in the background.

        Raises:
            RuntimeError: this monitor's run has not ended yet.
        """
        if self._ended is not None and not self._ended.is_set():
            raise RuntimeError("this monitor's run has not ended yet; stop it first, or make another monitor")
        self._outcome = self._error = None
        self._ended = ended = threading.Event()

        def work() -> None:
            try:
                self._outcome = self.run(fit, *arguments, **options)
            except BaseException as error:
                self._error = error
                self.fault = f"{type(error).__name__}: {error}"
            finally:
                ended.set()

        threading.Thread(target=work, name="training", daemon=True).start()

    def wait(self) -> Any:
        """Wait for the run in the background; what it returns, or the error that ended it.

        Ctrl-C or the notebook's stop button ends the run with a checkpoint, then the wait.

        Raises:
            RuntimeError: nothing was started.
        """
        if self._ended is None:
            raise RuntimeError("nothing was started; call start(fit, ...) first")
        while not self._ended.is_set():  # no join: until Python 3.12 an interrupted one takes its thread for dead
            try:
                self._ended.wait(0.2)
            except KeyboardInterrupt:
                self.stop = True
        if self._error is not None:
            raise self._error
        return self._outcome

    def hooks(self) -> dict[str, Any]:
        """What `pano_med.training.fit` takes to report here."""
        return {"on_step": self.on_step, "on_validation": self.on_validation, "stop": self.stopped, "progress": False}

    def on_step(self, row: Mapping[str, Any]) -> None:
        """Take the row of a step: "step", the losses, and, if known, "total" and "left" (s)."""
        if self._step >= row["step"]:  # a resumed run repeats the steps after its checkpoint
            self._rows = [r for r in self._rows if r["step"] < row["step"]]
        self._rows.append(_numbers(row))
        self._total, left = row.get("total"), row.get("left")
        if time.monotonic() > self._due:
            words = f"{told(left)} left" if left is not None and math.isfinite(left) else ""
            self.state = {"step": self._step, "total": self._total, "left": words,
                          "phase": "stopping" if self.stop else "training", "words": ""}  # fmt: skip
            self._push()
        self._keep()

    def on_validation(self, row: Mapping[str, Any]) -> None:
        """Take the row of a validation."""
        self._validations = [r for r in self._validations if r["step"] < row["step"]] + [_numbers(row)]
        self._push()
        self._keep()

    def stopped(self) -> bool:
        """Whether somebody asked the run to end."""
        return bool(self.stop)

    def _asked(self, _: Any) -> None:
        if self.stop and self.state["phase"] == "training":
            self._phase("stopping", "The run ends after this step and keeps its checkpoint ...")

    def _phase(self, phase: str, words: str) -> None:
        self.state = {"step": self._step, "total": self._total, "left": "", "phase": phase, "words": words}
        self._push()
        self._keep(at_once=phase == "ended")

    @property
    def _step(self) -> int:
        return int(self._rows[-1]["step"]) if self._rows else 0

    # -- the page and the picture -------------------------------------------------------------------------------

    def _push(self) -> None:
        """Send the curves; a long log may take a twentieth of the time, whatever its length."""
        began = time.monotonic()
        self.curve, self.scores = thinned(self._rows), [dict(row) for row in self._validations]
        now = time.monotonic()
        self._due = now + max(_PAGE, 20 * (now - began))

    def _keep(self, at_once: bool = False) -> None:
        """Draw the picture of the saved notebook anew, from time to time and at the end."""
        if self._handle is not None and (at_once or time.monotonic() - self._drawn > _PICTURE):
            self._handle.update(self._kept(), raw=True)
            self._drawn = time.monotonic()

    def _ipython_display_(self, **_: Any) -> None:
        """As every picture, but the static one is drawn anew while the run goes on: the saved notebook has the last."""
        if self.comm is not None:
            data, metadata = self._view()
            display(data, metadata=metadata, raw=True)
        self._handle = display(self._kept(), raw=True, display_id=True)

    def _kept(self) -> dict[str, str]:
        return {"text/html": self.still_html(), "text/plain": self.alt()}

    def still(self) -> np.ndarray:
        """Losses above, validation below."""
        return draw(thinned(self._rows), self._validations)

    def alt(self) -> str:
        """The last numbers in words."""
        if not self._rows:
            return "A training that has not begun."
        losses = [r["loss"] for r in self._rows if r.get("loss") is not None] or [math.nan]
        text = f"A training after {self._step} steps: the loss went from {losses[0]:.3g} to {losses[-1]:.3g}"
        known = [r for r in self._validations if r.get("objects_pq") is not None]
        if known:
            best = max(known, key=lambda r: r["objects_pq"])
            text += f"; validation PQ of objects {known[-1]['objects_pq']:.2f}, the best {best['objects_pq']:.2f} " \
                    f"in step {best['step']:.0f}"  # fmt: skip
        return text + "."


def _numbers(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers of a row, whether they came as such or as text from a CSV file; empty and not finite ones are None."""
    out: dict[str, float | None] = {}
    for name, value in row.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        out[name] = number if math.isfinite(number) else None
    return out


def _table(path: Path) -> list[dict[str, str]]:
    text = path.read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()  # a row without its line end was cut by a kill
    return [row for row in csv.DictReader(lines) if (row.get("step") or "").isdigit()]
