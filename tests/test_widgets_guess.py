"""Predict, then see the guess beside the result."""

import re
from typing import Any

import numpy as np
import pytest

from pano_med.widgets import Guess


def _press(guess: Guess) -> None:
    """What a click on the slider's button does."""
    guess.children[1].children[1].click()


def test_options_start_without_a_choice() -> None:
    guess = Guess("Which?", ["stuff", "thing"])
    assert guess.guess is None
    assert "No guess yet" in guess.children[-1].value
    guess._input.index = 1
    assert guess.guess == "thing"
    assert "Your guess: thing" in guess.children[-1].value


def test_a_slider_that_nobody_touched_is_no_guess() -> None:
    guess = Guess("How many?", low=0, high=10, step=1)
    assert guess.guess is None
    guess._input.value = 3
    assert guess.guess == 3


def test_the_middle_can_be_guessed_too() -> None:
    guess = Guess("How many?", low=0, high=10, step=1)
    _press(guess)
    assert guess.guess == 5


@pytest.mark.parametrize(
    ("low", "high", "step", "value"),
    [(0, 10, 1, int), (0, 1, None, float), (0, 10, 0.5, float), (0, 100, None, int), (0.5, 2, None, float)],
)
def test_whole_numbers_make_a_slider_of_whole_numbers(low: float, high: float, step: float | None, value: type) -> None:
    guess = Guess("How many?", low=low, high=high, step=step)
    _press(guess)
    assert type(guess.guess) is value
    assert low <= guess.guess <= high


@pytest.mark.parametrize(
    ("chosen", "result", "closing"),
    [(None, "a", "You did not guess this time"), (0, "a", "You guessed it."), (1, "a", "Not what you guessed")],
)
def test_reveal_with_options(chosen: int | None, result: str, closing: str) -> None:
    guess = Guess("Which?", ["a", "b"])
    guess._input.index = chosen
    shown = guess.reveal(result)
    assert repr(shown).splitlines()[2] == "result: a"
    assert closing in repr(shown)
    assert closing in shown.markup


@pytest.mark.parametrize(
    ("chosen", "result", "lines"),
    [
        (20, 20, ["your guess: 20 %", "result: 20 %", "You guessed it."]),
        (20, 33.333, ["your guess: 20 %", "result: 33.33 %", "You were 13.3 % away."]),
        (20, 140, ["your guess: 20 %", "result: 140 %", "You were 120 % away."]),
        (None, 20.0, ["your guess: no guess", "result: 20 %"]),
    ],
)
def test_reveal_of_numbers(chosen: int | None, result: float, lines: list[str]) -> None:
    guess = Guess("How much?", low=0, high=100, unit="%")
    if chosen is not None:
        guess._input.value = chosen
    shown = guess.reveal(result)
    assert repr(shown).splitlines()[1 : 1 + len(lines)] == lines
    places = [float(x) for x in re.findall(r'<text x="([-\d.]+)"', shown.markup)]
    assert len(places) == (2 if chosen is not None else 1)
    assert all(20 <= x <= 380 for x in places)


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    class Zero:
        def __float__(self) -> float:
            return 0.25

    assert "result: 0.25" in repr(Guess("How much?", low=0, high=1).reveal(Zero()))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "takes either options=.* or low= and high="),
        ({"options": ["a", "b"], "low": 0}, "takes either options"),
        ({"options": ["a"]}, r"at least two options, all different; these are \['a'\]"),
        ({"options": [1, "1"]}, "all different"),
        ({"low": 0}, "needs low < high; these are 0 and None"),
        ({"low": 1, "high": 1}, "needs low < high; these are 1 and 1"),
        ({"low": 0, "high": 1, "step": 0}, "step lies between 0 and high - low; this one is 0"),
    ],
)
def test_faulty_questions_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Guess("Which?", **arguments)


def test_results_that_answer_another_question_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the result 'c' is none of the options \['a', 'b'\]"):
        Guess("Which?", ["a", "b"]).reveal("c")
    for result in ("many", "nan", [1, 2]):
        with pytest.raises(ValueError, match="the result must be one; it is"):
            Guess("How many?", low=0, high=1).reveal(result)


@pytest.mark.parametrize("result", [None, float("nan"), float("inf"), np.float32("nan"), np.nan * np.ones(())])
@pytest.mark.parametrize("question", [{"low": 0, "high": 1}, {"options": ["a", "b"]}])
def test_a_result_that_is_nothing_gets_a_sentence(result: Any, question: dict[str, Any]) -> None:
    shown = Guess("How <many>?", **question).reveal(result)
    words = "value (None)" if result is None else f"finite number ({float(result)})"
    sentence = f"The result is no {words}, so there is nothing to compare. Does a function of yours"
    assert repr(shown) == f"How <many>?\n{sentence} still fail its check?"
    assert sentence in shown.markup
    assert "How &lt;many&gt;?" in shown.markup


def test_none_may_be_an_option() -> None:
    assert "result: None" in repr(Guess("Which rule?", [None, "a"]).reveal(None))


def test_text_is_escaped() -> None:
    guess = Guess("a < b?", ["<i>", "b"])
    assert "a &lt; b?" in guess.children[0].value
    assert "&lt;i&gt;" in guess.reveal("<i>").markup


def test_it_says_what_it_asks_without_a_view() -> None:
    assert repr(Guess("Which?", ["a", "b"])) == "Guess: Which? [a | b]"
    assert repr(Guess("How much?", low=0, high=1, unit="%")) == "Guess: How much? [0 % to 1 %]"
