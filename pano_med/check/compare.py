"""Is this value the one expected? None if so, else the sentence that says what differs."""

import math
from typing import Any

import numpy as np

#: Longer values are cut in messages.
LONGEST = 160


def plain(value: Any) -> Any:
    """Tensors as arrays, numpy scalars and arrays without axes as Python numbers; torch is not imported for it."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu()
        value = value.float().numpy() if str(value.dtype) == "torch.bfloat16" else value.numpy()
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def told(value: Any) -> str:
    """A value in a message: short, tensors and arrays as arrays."""
    value = plain(value)
    if isinstance(value, np.ndarray):
        if value.size > 36:
            return f"an array of shape {value.shape}"
        text = np.array2string(value, precision=4, separator=", ", suppress_small=True)
        return text if "\n" not in text else "\n" + text
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def difference(expected: Any, got: Any, tolerance: float) -> str | None:
    """What differs between the expected value and the learner's, as a sentence, or None if nothing does.

    Arrays and tensors must agree in shape, and in kind (true/false, whole numbers, fractions) unless fractions are
    expected; numbers may differ by `tolerance`, absolute and relative. A list may stand for a tuple.
    """
    try:
        return _difference(expected, got, tolerance)
    except Exception as error:  # learners' objects may do anything when they are compared or printed
        return f"Your function returns {_kind(got)}, which cannot be compared ({type(error).__name__})."


def _difference(expected: Any, got: Any, tolerance: float) -> str | None:
    expected, got = plain(expected), plain(got)
    if got is None and expected is not None:
        return "Your function returns None: does it end with `return ...`?"
    if isinstance(expected, np.ndarray):
        return _array(expected, got, tolerance)
    if isinstance(got, np.ndarray):
        return f"Your function returns an array of shape {got.shape}; {_kind(expected)} is expected."
    if isinstance(expected, bool):
        return _exact(expected, got) if isinstance(got, bool) else _other_type(expected, got)
    if isinstance(expected, int | float):
        return _number(expected, got, tolerance)
    if isinstance(expected, tuple | list):
        return _sequence(expected, got, tolerance)
    if isinstance(expected, dict):
        return _dictionary(expected, got, tolerance)
    if not isinstance(got, type(expected)):
        return _other_type(expected, got)
    return _exact(expected, got)


def _exact(expected: Any, got: Any) -> str | None:
    return None if expected == got else f"{told(expected)} is expected; your function returns {told(got)}."


def _other_type(expected: Any, got: Any) -> str:
    kind = _kind(expected)
    return f"{kind[0].upper()}{kind[1:]} is expected; your function returns {told(got)}, {_kind(got)}."


def _kind(value: Any) -> str:
    names = {bool: "a bool (True or False)", int: "a whole number", float: "a number", str: "a text", dict: "a dict"}
    return names.get(type(value)) or f"a {type(value).__name__}"


def _number(expected: float, got: Any, tolerance: float) -> str | None:
    if isinstance(got, bool) or not isinstance(got, int | float):
        return _other_type(expected, got)
    if math.isnan(got) and not math.isnan(expected):
        return f"Your function returns NaN (not a number, often 0 / 0); {told(expected)} is expected."
    if math.isclose(expected, got, rel_tol=tolerance, abs_tol=tolerance) or (math.isnan(expected) and math.isnan(got)):
        return None
    return f"{told(expected)} is expected; your function returns {told(got)}."


def _sequence(expected: tuple | list, got: Any, tolerance: float) -> str | None:
    if not isinstance(got, tuple | list):
        return _other_type(expected, got)
    if len(got) != len(expected):
        empty = " Yours is empty." if not got else ""
        return f"{len(expected)} values are expected; your function returns {len(got)}.{empty}"
    for index, (a, b) in enumerate(zip(expected, got, strict=True)):
        fault = _difference(a, b, tolerance)
        if fault:
            return f"Value {index} of {len(expected)} (counted from 0): {fault}"
    return None


def _dictionary(expected: dict, got: Any, tolerance: float) -> str | None:
    if not isinstance(got, dict):
        return _other_type(expected, got)
    if set(got) != set(expected):
        lost, extra = sorted(map(repr, set(expected) - set(got))), sorted(map(repr, set(got) - set(expected)))
        parts = [f"lacks the keys {', '.join(lost)}"] if lost else []
        parts += [f"has the keys {', '.join(extra)} that do not belong"] if extra else []
        return f"The dict that your function returns {' and '.join(parts)}."
    for key, value in expected.items():
        fault = _difference(value, got[key], tolerance)
        if fault:
            return f"At the key {key!r}: {fault}"
    return None


def _array(expected: np.ndarray, got: Any, tolerance: float) -> str | None:
    if not isinstance(got, np.ndarray):
        return f"An array of shape {expected.shape} is expected; your function returns {_kind(got)}, {told(got)}."
    if got.shape != expected.shape:
        empty = " Yours is empty." if not got.size else ""
        return f"The shape {expected.shape} is expected; your array has {got.shape}.{empty}"
    kinds = {"b": "true/false (bool)", "i": "whole numbers (int)", "u": "whole numbers (int)"}
    kind = kinds.get(expected.dtype.kind)
    if kind and kinds.get(got.dtype.kind) != kind:
        return f"An array of {kind} is expected; your array's dtype is {got.dtype}."
    if expected.dtype.kind not in "biufc":
        return _exact(expected.tolist(), got.tolist())
    return _elements(expected, got, tolerance)


def _elements(expected: np.ndarray, got: np.ndarray, tolerance: float) -> str | None:
    try:
        wrong = ~np.isclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    except TypeError:
        return f"An array of numbers is expected; your array's dtype is {got.dtype}."
    if not wrong.any():
        return None
    nans = int((np.isnan(got) & ~np.isnan(expected)).sum()) if got.dtype.kind in "fc" else 0
    if nans:
        return f"{nans} of {got.size} elements of your array are NaN (not a number, often 0 / 0)."
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    first = f"the first at {place}: {told(expected[place])} is expected, yours is {told(got[place])}"
    with np.errstate(invalid="ignore"):
        largest = np.abs(np.subtract(got, expected, dtype=complex if got.dtype.kind == "c" else float)).max()
    most = "" if expected.dtype.kind == "b" else f" The largest difference is {largest:.3g}."
    return f"{int(wrong.sum())} of {got.size} elements differ, {first}.{most}"
