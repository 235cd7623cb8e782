"""Predict first: a guess by radio buttons or slider, and later the guess beside the result."""

import html
import math
from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw

from pano_med.lessons import Shown


class Guess(ipw.VBox):
    """A question that the learner answers before the cell that shows the result.

    Plain ipywidgets, from what versions 7.7 and 8 share. Keys: Tab and Space for options, arrows for the slider.

    Args:
        question: plain text.
        options: what can be chosen, for radio buttons; or else
        low: the slider's left end,
        high: its right end,
        step: its step; whole numbers make a slider of whole numbers.
        unit: written behind numbers, for example "%".

    Raises:
        ValueError: neither options nor a range was given, or both; fewer than two options, or an option twice; an
            empty range; or a step that does not fit.
    """

    def __init__(
        self,
        question: str,
        options: Sequence[Any] | None = None,
        *,
        low: float | None = None,
        high: float | None = None,
        step: float | None = None,
        unit: str = "",
    ) -> None:
        self.question, self.unit = question, unit
        self.options = None if options is None else list(options)
        self.low, self.high = low, high
        _check(self.options, low, high, step)
        self._made = False
        self._status = ipw.HTML()
        super().__init__([ipw.HTML(f"<strong>{html.escape(question)}</strong>"), *self._control(step), self._status])
        self._say()

    def _control(self, step: float | None) -> list[ipw.Widget]:
        wide = {"description_width": "initial"}
        if self.options is not None:
            pairs = [(str(option), index) for index, option in enumerate(self.options)]
            self._input = ipw.RadioButtons(options=pairs, index=None, layout=ipw.Layout(width="max-content"))
            self._input.observe(self._commit, names="value")
            return [self._input]
        assert self.low is not None
        assert self.high is not None
        step = (self.high - self.low) / 100 if step is None else step
        whole = all(float(v).is_integer() for v in (self.low, self.high, step))
        kind, number = (ipw.IntSlider, int) if whole else (ipw.FloatSlider, float)
        middle = self.low + step * round((self.high - self.low) / 2 / step)
        self._input = kind(
            value=number(middle), min=number(self.low), max=number(self.high), step=number(step),
            description="your guess", style=wide, layout=ipw.Layout(width="32em", max_width="100%"),
        )  # fmt: skip
        self._input.observe(self._commit, names="value")
        button = ipw.Button(description="That is my guess")
        button.on_click(self._commit)
        return [ipw.HBox([self._input, button], layout=ipw.Layout(flex_flow="row wrap"))]

    def _commit(self, _: Any = None) -> None:
        self._made = self._input.value is not None
        self._say()

    def _say(self) -> None:
        text = f"Your guess: {self._told(self.guess)}" if self._made else "No guess yet."
        self._status.value = f'<span role="status" aria-live="polite">{html.escape(text)}</span>'

    @property
    def guess(self) -> Any:
        """The option or number chosen; None while none is."""
        if not self._made:
            return None
        return self._input.value if self.options is None else self.options[self._input.value]

    def _told(self, value: Any) -> str:
        text = str(value) if not isinstance(value, float) else f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return f"{text} {self.unit}".strip() if self.options is None else text

    def reveal(self, result: Any) -> Shown:
        """Show the guess beside the result.

        Args:
            result: one of the options, or a number; it may lie outside the slider. None, NaN and infinity, to which a
                learner's function that is not right yet may lead, are answered by a sentence.

        Raises:
            ValueError: the result is none of the options, or no number.
        """
        if _is_nothing(result) and (self.options is None or result not in self.options):
            return self._without(result)
        if self.options is not None and result not in self.options:
            raise ValueError(f"the result {result!r} is none of the options {self.options}")
        if self.options is None:
            result = _number(result)
        guess = "no guess" if self.guess is None else self._told(self.guess)
        closing = self._closing(result)
        rows = (("your guess", guess), ("result", self._told(result)))
        cells = "".join(
            f'<tr><th scope="row" style="text-align:left;padding:0.1em 1em 0.1em 0">{name}</th>'
            f'<td style="text-align:left">{html.escape(text)}</td></tr>'
            for name, text in rows
        )
        markup = (
            '<div role="status" style="border:1px solid #0072B2;border-left-width:8px;padding:0.5em 0.8em;'
            'margin:0.3em 0;background:#fff;color:#111;font-size:1.1em;max-width:52em">'
            f'<div>{html.escape(self.question)}</div><table style="margin:0.3em 0;background:#fff;color:#111">{cells}'
            f"</table>{self._line(result)}<strong>{html.escape(closing)}</strong></div>"
        )
        plain = f"{self.question}\nyour guess: {guess}\nresult: {self._told(result)}\n{closing}"
        return Shown(markup, plain).now()

    def _without(self, result: Any) -> Shown:
        """What to say where there is nothing to compare the guess with."""
        what = "no value (None)" if result is None else f"no finite number ({float(result)})"
        words = f"The result is {what}, so there is nothing to compare. Does a function of yours still fail its check?"
        markup = (
            '<div role="status" style="border:1px solid #D55E00;border-left-width:8px;padding:0.5em 0.8em;'
            'margin:0.3em 0;background:#fff;color:#111;font-size:1.1em;max-width:52em">'
            f"<div>{html.escape(self.question)}</div><strong>{html.escape(words)}</strong></div>"
        )
        return Shown(markup, f"{self.question}\n{words}").now()

    def _closing(self, result: Any) -> str:
        if self.guess is None:
            return "You did not guess this time: that is fine, but a guess, even a wrong one, makes the result stick."
        if self.options is not None:
            return "You guessed it." if self.guess == result else "Not what you guessed: worth a second look at why."
        away = abs(self.guess - result)
        return "You guessed it." if away == 0 else f"You were {self._told(float(f'{away:.3g}'))} away."

    def _line(self, result: Any) -> str:
        """The range as a line with guess (G, below) and result (R, above); empty for options."""
        if self.options is not None:
            return ""
        low, high = min(self.low, result), max(self.high, result)

        def mark(value: float, letter: str, y: int, colour: str) -> str:
            x = 20 + 360 * (value - low) / (high - low)
            return (
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="22" y2="34" stroke="{colour}" stroke-width="3"/>'
                f'<text x="{x:.1f}" y="{y}" text-anchor="middle" font-size="14" fill="#111">{letter}</text>'
            )

        marks = mark(result, "result", 16, "#D55E00")
        marks += "" if self.guess is None else mark(self.guess, "guess", 50, "#0072B2")
        return (
            f'<svg role="img" aria-label="guess and result on a line from {self._told(low)} to {self._told(high)}" '
            'viewBox="-20 0 440 56" style="max-width:28em;display:block;width:100%">'
            f'<line x1="20" x2="380" y1="28" y2="28" stroke="#111"/>{marks}</svg>'
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """ipywidgets 8 would cut the question short where no widget can be shown, in the book for example."""
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self)}

    def __repr__(self) -> str:
        if self.options is not None:
            return f"Guess: {self.question} [{' | '.join(map(str, self.options))}]"
        return f"Guess: {self.question} [{self._told(self.low)} to {self._told(self.high)}]"


def _is_nothing(result: Any) -> bool:
    """None, NaN or infinity."""
    if result is None:
        return True
    try:
        return not isinstance(result, str) and not math.isfinite(result)
    except (TypeError, ValueError):
        return False


def _number(result: Any) -> float:
    try:
        number = float(result)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"the guess was a number, so the result must be one; it is {result!r}")
    return int(number) if number.is_integer() else number


def _check(options: list[Any] | None, low: float | None, high: float | None, step: float | None) -> None:
    if (options is None) == (low is None and high is None):
        raise ValueError("a Guess takes either options=[...] or low= and high=")
    if options is not None:
        if len(options) < 2 or len({str(option) for option in options}) < len(options):
            raise ValueError(f"a Guess needs at least two options, all different; these are {options}")
        return
    if low is None or high is None or not low < high:
        raise ValueError(f"a Guess needs low < high; these are {low} and {high}")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"a Guess's step lies between 0 and high - low; this one is {step}")
