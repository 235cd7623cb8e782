"""The class experiment's result lines: written by students, pasted by the instructor, compared arm by arm. No torch."""

from __future__ import annotations

import hashlib
import html
import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, variance

from scipy.stats import t as student_t

from pano_med.lessons.show import Shown

#: What a result line begins with: the experiment, then the number of the format.
MARK, FORMAT = "pano-med-05", 1
#: The arm that the others are compared with.
BASE = "full"
#: Score -> what it is called in tables and pictures.
SCORES = {
    "mean_pq": "PQ, mean of things, their types, and tissue",
    "objects_pq": "PQ of things, types ignored",
    "things_pq": "PQ of things, mean of types",
    "stuff_pq": "PQ of tissue",
}


@dataclass(frozen=True)
class ResultLine:
    """One run of the class experiment; it holds no name and no path.

    Attributes:
        arm: what was changed.
        seed: of everything that was drawn in the run.
        data: what was learnt from, "painted" for example.
        steps: optimiser steps done.
        minutes: they took, validation included.
        device: kind of the device, "cpu" for example.
        mean_pq, objects_pq, things_pq, stuff_pq: 0..1 on the validation part, None where nothing could be judged.
    """

    arm: str
    seed: int
    data: str
    steps: int
    minutes: float
    device: str
    mean_pq: float | None
    objects_pq: float | None
    things_pq: float | None
    stuff_pq: float | None

    def __str__(self) -> str:
        """The line; its last field is a check sum, so that a line that was cut or changed is seen."""
        body = f"{MARK}/{FORMAT} " + "; ".join(f"{k}={_told(v)}" for k, v in asdict(self).items())
        return f"{body}; sum={check_sum(body)}"


@dataclass(frozen=True)
class Pasted:
    """What was found in a pasted text.

    Attributes:
        lines: each run once, all from the same data.
        faults: what was left out and why, one sentence each.
    """

    lines: tuple[ResultLine, ...]
    faults: tuple[str, ...]


def read_lines(text: str, arms: Collection[str]) -> Pasted:
    """Result lines out of whatever a chat or a form made of them; empty lines are passed over.

    Args:
        text: one result line in each line; what stands before it (a bullet, "Ann: ") does not matter.
        arms: names of the arms there are.
    """
    found: dict[tuple[str, int], tuple[int, ResultLine]] = {}
    faults = []
    for number, raw in enumerate(text.splitlines(), 1):
        plain = " ".join(raw.split())  # also blanks that do not break
        if not plain:
            continue
        try:
            line = _parsed(plain, arms)
        except ValueError as fault:
            faults.append(f"line {number} {fault}")
            continue
        first, _ = found.setdefault((line.arm, line.seed), (number, line))
        if first != number:
            faults.append(f"line {number} is the same run as line {first} ({line.arm}, seed {line.seed}) and counts "
                          "once")
    most = Counter(line.data for _, line in found.values()).most_common(1)
    others = [(n, line) for n, line in found.values() if line.data != most[0][0]]
    faults += [f"line {n} was trained on other data ({line.data}) than most ({most[0][0]}) and is left out"
               for n, line in others]
    return Pasted(tuple(line for _, line in found.values() if line.data == most[0][0]), tuple(faults))


def _parsed(plain: str, arms: Collection[str]) -> ResultLine:
    at = plain.find(f"{MARK}/")
    if at < 0:
        raise ValueError(f"is no result line, it begins {plain[:24]!r}; a result line begins with {MARK}/{FORMAT}")
    plain = plain[at:].rstrip(" .,`*\"'>|")
    version = plain.removeprefix(f"{MARK}/").split(" ")[0]
    if version != str(FORMAT):
        raise ValueError(f"has format {version!r}, this version of the lesson reads {FORMAT}; run the lesson again "
                         "with the version of the class")
    body, _, given = plain.rpartition("; sum=")
    if not body or given != check_sum(body):
        raise ValueError("was cut or changed on its way; copy the whole line, from its mark to the end of its sum")
    table = dict(re.findall(r"(\w+)=([^;]*)", body))
    if table.get("arm") not in arms:
        raise ValueError(f"has an arm that this version lacks, {table.get('arm')!r}; there are {', '.join(arms)}")
    try:
        return ResultLine(
            table["arm"], int(table["seed"]), table["data"], int(table["steps"]), float(table["minutes"]),
            table["device"], **{name: _score(table[name]) for name in SCORES},
        )  # fmt: skip
    except (KeyError, ValueError) as error:
        raise ValueError(f"lacks a field or has a broken one: {error}") from None


def _score(text: str) -> float | None:
    if text == "-":
        return None
    if not 0 <= float(text) <= 1:
        raise ValueError(f"PQ lies between 0 and 1, not at {text}")
    return float(text)


def _told(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def check_sum(body: str) -> str:
    """Six letters that any change of the text changes; against slips, not against forgers."""
    return hashlib.sha256(body.encode()).hexdigest()[:6]


def told(lines: Sequence[ResultLine]) -> str:
    """What a table or plot of these lines rests on, one sentence for a caption."""
    if not lines:
        return "No run yet."
    steps, data = [line.steps for line in lines], {line.data for line in lines}
    kinds, most = ", ".join(sorted({line.device for line in lines})), max(steps)
    many = f"{most}" if min(steps) == most else f"{min(steps)} to {most}"
    return f"{len(lines)} run{'s' * (len(lines) != 1)} of {many} steps on {kinds}; data: {', '.join(sorted(data))}."


@dataclass(frozen=True)
class Comparison:
    """One arm beside the base.

    Attributes:
        arm: its name.
        values: its scores, one a run.
        difference: mean of the arm minus mean of the base; None where one of them has no run.
        low, high: the 95 % interval of the difference; None where the arm or the base has fewer than two runs, or
            where all runs gave the same number.
    """

    arm: str
    values: tuple[float, ...]
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def words(self) -> str:
        """The difference for a table, honest about what is not known."""
        if self.arm == BASE:
            return "what the others are compared with"
        if self.difference is None:
            return f"no run of {BASE!r} to compare with" if self.values else "no run"
        if self.low is None or self.high is None:
            return f"{self.difference:+.3f}, no interval: too few runs"
        return f"{self.difference:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def compare(lines: Sequence[ResultLine], arms: Collection[str], score: str = "mean_pq") -> list[Comparison]:
    """Each arm beside the base, in the order of `arms`.

    The interval is Welch's (1947): seeds are not paired, and the two spreads may differ.

    Raises:
        ValueError: no such score.
    """
    if score not in SCORES:
        raise ValueError(f"a score is one of {', '.join(SCORES)}, got {score!r}")
    values = {arm: tuple(v for line in lines if line.arm == arm and (v := getattr(line, score)) is not None)
              for arm in arms}  # fmt: skip
    base = values.get(BASE, ())
    return [Comparison(arm, mine, *_difference(mine, base)) for arm, mine in values.items()]


def _difference(arm: Sequence[float], base: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """(difference, low, high) of two means, Welch's 95 % interval."""
    if not arm or not base:
        return None, None, None
    difference = fmean(arm) - fmean(base)
    if min(len(arm), len(base)) < 2:
        return difference, None, None
    one, two = variance(arm) / len(arm), variance(base) / len(base)
    if one + two == 0:
        return difference, None, None
    freedom = (one + two) ** 2 / (one**2 / (len(arm) - 1) + two**2 / (len(base) - 1))
    half = float(student_t.ppf(0.975, freedom)) * math.sqrt(one + two)
    return difference, difference - half, difference + half


def table(comparisons: Sequence[Comparison], score: str = "mean_pq") -> Shown:
    """The comparisons as a table: runs, mean, difference with its interval."""
    head = ("arm", "runs", "mean", f"difference from {BASE!r} (95 % interval)")
    rows = [(c.arm, str(len(c.values)), f"{fmean(c.values):.3f}" if c.values else "", c.words) for c in comparisons]
    lines = "".join("<tr>" + "".join(f'<td style="text-align:left">{html.escape(v)}</td>' for v in row) + "</tr>"
                    for row in rows)  # fmt: skip
    names = "".join(f'<th style="text-align:left">{html.escape(v)}</th>' for v in head)
    wide = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    plain = "\n".join("  ".join(v.ljust(n) for v, n in zip(row, wide, strict=True)).rstrip() for row in (head, *rows))
    return Shown(f'<table style="font-size:1.1em"><caption>{html.escape(SCORES[score])}</caption>'
                 f"<tr>{names}</tr>{lines}</table>", f"{SCORES[score]}\n{plain}")  # fmt: skip


