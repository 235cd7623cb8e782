"""The check: right, named mistakes, and whatever else learners hand in, told in a sentence and never raised."""

import io
import json
import linecache
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pano_med import check
from pano_med.check import Exercise, Mistake, Verdict, ask, book
from pano_med.check.compare import difference, told

A = np.zeros((4, 4), bool)
A[:2] = True
B = np.zeros((4, 4), bool)
B[1:3] = True


def _iou(a: Any, b: Any) -> Any:
    return (a & b).sum() / (a | b).sum()


def _dice(a: Any, b: Any) -> Any:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def _shared(a: Any, b: Any) -> Any:
    return (a & b).sum()


IOU = Exercise(
    "77.1",
    _iou,
    cases=((A, B), (A, A)),
    mistakes=(Mistake(_dice, "That is Dice."), Mistake(_shared, "That is only the shared area.")),
    hints=("Count pixels.", "Divide by the union."),
)
ADD = Exercise("77.2", lambda a, b: a + b, cases=((1, 2), (2, 5)), mistakes=(), hints=("", ""))


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "exercises", lambda lesson: {"77.1": IOU, "77.2": ADD} if lesson == 77 else {})
    monkeypatch.setattr(ask, "_asked", {})


def _cell(source: str, name: str = "answer_cell") -> Callable[..., Any]:
    """A function as a notebook defines it: its source is in linecache only."""
    filename = f"<cell {name}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    space: dict[str, Any] = {"np": np}
    exec(compile(source, filename, "exec"), space)
    function = next(v for k, v in space.items() if callable(v) and getattr(v, "__code__", None))
    assert callable(function)
    return function


def test_right_answer_passes() -> None:
    verdict = check.answer("77.1", lambda a, b: np.sum(a & b) / np.sum(a | b))
    assert verdict.passed
    assert (verdict.state, repr(verdict)) == ("pass", "✓ 77.1 pass. Right in 2 cases.")


def test_almost_equal_passes_and_far_does_not() -> None:
    assert check.answer("77.1", lambda a, b: _iou(a, b) + 1e-9)
    assert not check.answer("77.1", lambda a, b: _iou(a, b) + 1e-3)


def test_each_mistake_has_its_own_message() -> None:
    for mistake in IOU.mistakes:
        verdict = check.answer("77.1", mistake.wrong)
        assert (verdict.state, verdict.message) == ("wrong", mistake.message)


def test_a_mistake_must_agree_in_every_case() -> None:
    half = check.answer("77.1", lambda a, b: _dice(a, b) if (a != b).any() else 7.0)
    assert half.state == "wrong"
    assert half.message not in [m.message for m in IOU.mistakes]


@pytest.mark.parametrize(
    ("source", "state", "text"),
    [
        ("def f(a, b): pass", "wrong", "returns None: does it end with `return ...`"),
        ("def f(a, b): return np.nan", "wrong", "returns NaN .*; 0.333333 is expected"),
        ("def f(a, b): return a & b", "wrong", r"returns an array of shape \(4, 4\); a number is expected"),
        ("def f(a, b): return 'x'", "wrong", "A number is expected; your function returns 'x', a text"),
        ("def f(a, b): return True", "wrong", "A number is expected; your function returns True, a bool"),
        ("def f(a, b): return []", "wrong", r"A number is expected; your function returns \[\], a list"),
        ("def f(a, b): return 0.25", "wrong", "0.333333 is expected; your function returns 0.25"),
        ("def f(a, b):\n    c = a\n    return c - b", "error", r"TypeError: .* at its line 3, `return c - b`\.$"),
        ("def f(a, b):\n    return lost(a)", "error", "NameError: name 'lost' is not defined.* Has the cell that"),
        ("def f(a, b):\n    raise KeyboardInterrupt", "error", "interrupted at its line 2, .* loop not come"),
        ("def f(a, b): raise SystemExit", "error", "stops with SystemExit"),
        ("def f(a, b): return f(a, b)", "error", "RecursionError"),
        ("def f(a): return 1", "error", r"calls f with 2 arguments, and yours is f\(a\): keep the first line"),
        ("def f(a, b): raise NotImplementedError('exercise 77.1: write')", "todo", "^Write. Run its cell, then"),
        ("def f(a, b): raise NotImplementedError", "todo", "^Write the function. Run its"),
    ],
)
def test_whatever_is_handed_in_gets_a_sentence(source: str, state: str, text: str) -> None:
    verdict = check.answer("77.1", _cell(source))
    assert verdict.state == state
    assert re.search(text, verdict.message, re.DOTALL), verdict.message
    assert "Traceback" not in repr(verdict)
    assert "pano_med/" not in repr(verdict)


@pytest.mark.parametrize("thing", [0.5, None, A, "iou"])
def test_a_value_in_place_of_the_function(thing: Any) -> None:
    verdict = check.answer("77.1", thing)
    assert verdict.state == "error"
    assert 'Write its name without brackets, as in check.answer("77.1", iou)' in verdict.message


@pytest.mark.parametrize("ask_for", [lambda i: check.answer(i, max), check.hint, check.solution])
def test_unknown_exercises_are_told_with_the_known_ones(ask_for: Callable[[Any], Verdict]) -> None:
    assert "There is no exercise 77.9; this lesson has 77.1, 77.2." in ask_for("77.9").message
    assert "There is no exercise 55.1; the lessons with exercises are" in ask_for("55.1").message
    assert 'a text such as "1.2", in quotes; this is 1.2.' in ask_for(1.2).message
    assert "in quotes; this is 'one'." in ask_for("one").message


def test_a_fault_of_ours_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(lesson: int) -> dict[str, Exercise]:
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setattr(book, "exercises", lost)
    said = check.answer("77.1", max).message
    assert said.startswith("The check itself stopped with ModuleNotFoundError: No module named 'torch'. That is not")


def test_small_arguments_are_told() -> None:
    assert check.answer("77.2", lambda a, b: a * b).message.startswith("With a = 1, b = 2: 3 is expected; your")


def test_the_failing_case_is_the_one_told() -> None:
    assert "With a = 2, b = 5: 7 is" in check.answer("77.2", lambda a, b: 3).message


def test_cases_are_copied() -> None:
    def greedy(a: Any, b: Any) -> Any:
        a[:] = False
        return 0.0

    kept = A.copy()
    check.answer("77.1", greedy)
    np.testing.assert_array_equal(A, kept)


def test_changing_an_argument_is_told_unless_that_is_the_exercise(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoils(a: Any, b: Any) -> Any:
        result = _iou(a, b)
        b |= True
        return result

    verdict = check.answer("77.1", spoils)
    assert verdict.state == "wrong"
    assert verdict.message.startswith("The result is right, but your function changes its argument `b`")
    fill = Exercise("77.1", spoils, cases=((A, B),), mistakes=(), hints=("", ""))
    monkeypatch.setattr(book, "exercises", lambda lesson: {"77.1": fill})
    assert check.answer("77.1", spoils)


def test_arguments_that_equal_nothing_are_not_taken_for_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    exercise = Exercise("77.1", lambda a: 1, cases=((object(),), (Stubborn(),)), mistakes=(), hints=("", ""))
    monkeypatch.setattr(book, "exercises", lambda lesson: {"77.1": exercise})
    assert check.answer("77.1", lambda a: 1)


def test_hints_come_one_by_one() -> None:
    said = [check.hint("77.1").message for _ in range(3)]
    assert said[:2] == ["1 of 2: Count pixels.", "2 of 2: Divide by the union."]
    assert "There is no third" in said[2]
    assert 'check.solution("77.1")' in said[2]
    assert check.hint("77.2").message.startswith("1 of 2")


def test_solution_shows_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "77.json").write_text(json.dumps({"77.1": "def iou(a, b):\n    return a < b"}))
    monkeypatch.setattr(book, "files", lambda package: tmp_path)
    verdict = check.solution("77.1")
    assert verdict.state == "solution"
    assert "return a < b" in repr(verdict)
    assert "a &lt; b" in verdict._repr_html_()
    assert "is not in this installation" in check.solution("77.2").message


def test_box_reads_without_colour_and_escapes() -> None:
    box = Verdict("1.2", "wrong", "a <b> & c, `a < b`")._repr_html_()
    assert "✗ 1.2 not yet" in box
    assert "a &lt;b&gt; &amp; c" in box
    assert re.search("<code[^>]*>a &lt; b</code>", box)
    assert 'role="status"' in box


def test_outside_a_notebook_the_verdict_prints_itself() -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        check.answer("77.1", _iou)._ipython_display_()
    assert out.getvalue() == "✓ 77.1 pass. Right in 2 cases.\n"


# -- comparing ---------------------------------------------------------------------------------------------------


class Tensor:
    """What the check uses of a torch tensor; the real one is tried in test_real_tensors."""

    def __init__(self, array: Any) -> None:
        self.array, self.dtype = np.asarray(array), "torch.float32"

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> "Tensor":
        return self

    def numpy(self) -> np.ndarray:
        return self.array


INTS = np.arange(6).reshape(2, 3)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (0.5, np.float32(0.5)),
        (2, 2.0),
        (2.0, np.array(2)),
        (float("nan"), float("nan")),
        (True, np.bool_(True)),
        ((1, 2.0), [1, 2.0]),
        ({"a": A}, {"a": A.copy()}),
        (INTS, INTS.astype(np.int16)),
        (INTS.astype(float), INTS),
        (INTS.astype(float), Tensor(INTS)),
        (Tensor(INTS), INTS),
        (np.array([np.nan, 1.0]), np.array([np.nan, 1.0])),
        ("thing", "thing"),
        (None, None),
        (np.array(["a", "b"]), np.array(["a", "b"])),
    ],
)
def test_equal_values(expected: Any, got: Any) -> None:
    assert difference(expected, got, 1e-6) is None


@pytest.mark.parametrize(
    ("expected", "got", "text"),
    [
        (INTS, INTS.T, r"The shape \(2, 3\) is expected; your array has \(3, 2\)\."),
        (INTS, INTS[:0], r"your array has \(0, 3\)\. Yours is empty\."),
        (INTS, INTS.astype(float), r"whole numbers \(int\) is expected; your array's dtype is float64"),
        (A, A.astype(int), r"true/false \(bool\) is expected; your array's dtype is int64"),
        (INTS, INTS.tolist(), r"An array of shape \(2, 3\) is expected; your function returns a list"),
        (INTS, INTS + (INTS == 4), r"1 of 6 elements differ, the first at \(1, 1\): 4 is expected, yours is 5"),
        (A, B, r"8 of 16 elements differ, the first at \(0, 0\): True is expected, yours is False\.$"),
        (INTS / 1.0, INTS / 1.0 + 2e-3, "The largest difference is 0.002"),
        (INTS / 1.0, INTS * np.nan, "6 of 6 elements of your array are NaN"),
        (INTS / 1.0, np.array([[None] * 3] * 2), "An array of numbers is expected; your array's dtype is object"),
        (INTS / 1.0, np.array([["a"] * 3] * 2), "An array of numbers is expected; your array's dtype is <U1"),
        ((1, 2), (1,), "2 values are expected; your function returns 1"),
        ((1, 2), (), "Yours is empty"),
        ((1, 2), 3, "A tuple is expected; your function returns 3, a whole number"),
        ((1, 2), (1, 3), r"Value 1 of 2 \(counted from 0\): 2 is expected; your function returns 3"),
        ({"a": 1}, {"b": 1}, "lacks the keys 'a' and has the keys 'b' that do not belong"),
        ({"a": 1}, {"a": 2}, "At the key 'a': 1 is expected"),
        ({"a": 1}, [1], r"A dict is expected; your function returns \[1\], a list"),
        ("thing", "stuff", "'thing' is expected; your function returns 'stuff'"),
        ("thing", 1, "A text is expected; your function returns 1"),
        (True, 1, r"A bool \(True or False\) is expected; your function returns 1"),
        (True, False, "True is expected; your function returns False"),
        (None, 1, "returns 1"),
    ],
)
def test_differences_are_told(expected: Any, got: Any, text: str) -> None:
    said = difference(expected, got, 1e-6)
    assert said is not None
    assert re.search(text, said), said


class Stubborn:
    """Whatever one asks of it, it refuses."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


def test_objects_that_cannot_be_compared() -> None:
    said = difference(1, Stubborn(), 1e-6)
    assert said == "Your function returns a Stubborn, which cannot be compared (RuntimeError)."
    assert "cannot be compared" in check.answer("77.1", lambda a, b: Stubborn()).message


def test_real_tensors() -> None:
    torch = pytest.importorskip("torch")
    weights = torch.arange(6.0).reshape(2, 3).requires_grad_()
    assert difference(INTS.astype(float), weights, 1e-6) is None
    assert difference(weights, weights.detach().to(torch.bfloat16), 1e-2) is None
    assert difference(0.5, torch.tensor(0.5), 1e-6) is None
    assert "The shape (2, 3)" in str(difference(weights, weights.T, 1e-6))
    assert "elements differ" in str(difference(weights, weights + 1, 1e-6))


def test_long_values_are_cut() -> None:
    assert told(np.zeros((9, 9))) == "an array of shape (9, 9)"
    assert len(told("x" * 1000)) == 160
    assert told(1 / 3) == "0.333333"


# -- tables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identifier", "cases", "text"),
    [
        ("1", ((1,),), "an exercise's id is 'lesson.number'.*this one is '1'"),
        ("1.1", (), "exercise 1.1: `cases` is a tuple of tuples of arguments, at least one"),
        ("1.1", (1,), "exercise 1.1: `cases` is a tuple of tuples"),
    ],
)
def test_tables_with_faults_are_refused(identifier: str, cases: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Exercise(identifier, max, cases=cases, mistakes=(), hints=("", ""))
