"""The class experiment: draws that are stable and balanced, lines that survive a chat, intervals that are right."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pano_med.lessons import class_experiment as exp
from pano_med.lessons.class_experiment_lines import BASE, Comparison, ResultLine, check_sum, compare, read_lines, table
from pano_med.lessons.class_experiment_plot import forest
from pano_med.training import Interrupted
from pano_med.training.arms import ARMS
from pano_med.training.recipe import Ingredients, painted_tiles
from pano_med.types import HE_CORE

LINE = ResultLine("two networks", 4711, "painted", 240, 2.01, "cpu", 0.4321, 0.5, None, 0.25)
ARM_NAMES = ("full", "two networks", "heuristic merge")


def line(arm: str, seed: int, pq: float, **more: object) -> ResultLine:
    return replace(LINE, arm=arm, seed=seed, mean_pq=pq, **more)


# --- the draw


def test_a_name_draws_the_same_everywhere() -> None:
    drawn = exp.draw("Ada Lovelace")
    assert (drawn.arm, drawn.seed) == ("no partial labels", 769281)  # as on every other machine and day
    assert exp.draw("  ADA\u00a0 lovelace ") == drawn
    assert exp.draw("Ada Lovelac") != drawn
    assert drawn.question == ARMS[drawn.arm].question


def test_draws_are_balanced_and_the_base_comes_twice_as_often() -> None:
    drawn = [exp.draw(f"student {i}") for i in range(4000)]
    counts = Counter(d.arm for d in drawn)
    assert set(counts) == set(exp.DRAWN)
    each = 4000 / (len(exp.DRAWN) + 1)
    for arm, count in counts.items():
        share = each * (2 if arm == BASE else 1)
        assert abs(count - share) < 4 * share**0.5, arm
    assert len({d.seed for d in drawn}) > 3970  # the birthdays of 4000 seeds in a million
    assert 0 <= min(d.seed for d in drawn) <= max(d.seed for d in drawn) < 1_000_000


def test_numbers_deal_the_arms_in_turn() -> None:
    tickets = len(exp.DRAWN) + 1
    counts = Counter(exp.draw(n).arm for n in range(1, 3 * tickets + 1))
    assert counts.pop(BASE) == 6
    assert set(counts.values()) == {3}
    assert exp.draw(1).seed != exp.draw(1 + tickets).seed


@pytest.mark.parametrize(("who", "said"), [(" \t", "a draw needs a name, or the number"), (0, "from 1 on, got 0")])
def test_who_draws_nothing(who: str | int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        exp.draw(who)


def test_what_is_left_out_needs_real_images() -> None:
    assert set(ARMS) - set(exp.DRAWN) == {"no painted tiles"}


# --- lines


def test_a_line_comes_back_as_it_went() -> None:
    text = str(LINE)
    assert text.startswith("pano-med-05/1 arm=two networks; seed=4711; ")
    assert read_lines(text, ARM_NAMES).lines == (LINE,)
    hard = text.replace("; ", ";\u00a0")  # blanks that do not break
    chat = f"- Ann (10:42): `{text}`\n\n  > {hard} \n"
    got = read_lines(chat, ARM_NAMES)
    assert got.lines == (LINE,)
    assert got.faults == ("line 3 is the same run as line 1 (two networks, seed 4711) and counts once",)


def with_sum(body: str) -> str:
    """A line whose sum is right, whatever it says."""
    return f"{body}; sum={check_sum(body)}"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("I had no time, sorry!", "line 2 is no result line, it begins 'I had no time, sorry!'; a result line begins"),
        (str(LINE)[:-20], "line 2 was cut or changed on its way; copy the whole line"),
        (str(LINE).replace("0.4321", "0.9321"), "line 2 was cut or changed on its way"),
        (str(LINE).replace("05/1", "05/2"), "line 2 has format '2', this version of the lesson reads 1"),
        (str(line("no luck", 1, 0.5)), "line 2 has an arm that this version lacks, 'no luck'; there are full, two"),
        (with_sum("pano-med-05/1 arm=full; seed=1; data=painted"), "line 2 lacks a field or has a broken one: 'steps'"),
        (str(line("full", 1, 1.5)), "line 2 lacks a field .* PQ lies between 0 and 1, not at 1.5"),
        (str(line("full", 1, 0.5, data="mine")), r"line 2 was trained on other data \(mine\) than most \(painted\)"),
    ],
)
def test_bad_lines_are_named_and_the_others_count(bad: str, said: str) -> None:
    good = [str(LINE), str(line("full", 7, 0.5))]
    got = read_lines("\n".join([good[0], bad, good[1]]), ARM_NAMES)
    assert [x.seed for x in got.lines] == [4711, 7]
    assert len(got.faults) == 1
    with pytest.raises(ValueError, match=said):
        raise ValueError(got.faults[0])


def test_nothing_was_pasted() -> None:
    assert read_lines(" \n\n", ARM_NAMES) == exp.Pasted((), ())


# --- the comparison


def test_the_interval_is_right_on_a_case_done_by_hand() -> None:
    # full: 0.40 and 0.44, mean 0.42, variance 0.0008; the arm: 0.30 and 0.34, mean 0.32, variance 0.0008
    # squared errors 0.0004 + 0.0004, so the error is 0.0282843; Welch's freedom is 0.0008^2 / (2 x 0.0004^2) = 2
    # a printed table has t = 4.303 for 2 degrees and 95 %; half of the interval is 0.12171
    runs = [line("full", 1, 0.40), line("full", 2, 0.44), line("two networks", 1, 0.30), line("two networks", 2, 0.34)]
    base, arm, none = compare(runs, ARM_NAMES)
    assert (base.arm, base.difference, base.words) == ("full", 0.0, "what the others are compared with")
    assert arm.difference == pytest.approx(-0.1)
    assert (arm.low, arm.high) == (pytest.approx(-0.2217, abs=1e-4), pytest.approx(0.0217, abs=1e-4))
    assert arm.words == "-0.100 (-0.222 to +0.022)"
    assert (none.values, none.words) == ((), "no run")


def test_few_runs_have_no_interval_and_say_so() -> None:
    runs = [line("full", 1, 0.5), line("full", 2, 0.6), line("two networks", 3, 0.4)]
    arm = compare(runs, ARM_NAMES)[1]
    assert (arm.low, arm.high) == (None, None)
    assert arm.words == "-0.150, no interval: too few runs"
    alone = compare(runs[2:], ARM_NAMES)[1]
    assert alone.words == "no run of 'full' to compare with"
    same = compare([line(a, i, 0.0) for a in ("full", "two networks") for i in (1, 2)], ARM_NAMES)[1]
    assert (same.difference, same.low) == (0.0, None), "runs that all failed alike are no certainty"
    with pytest.raises(ValueError, match="a score is one of mean_pq, .* got 'pq'"):
        compare(runs, ARM_NAMES, "pq")


def test_a_score_that_nobody_could_measure_does_not_count() -> None:
    assert compare([LINE], ARM_NAMES, "things_pq")[1].values == ()


def test_a_caption_says_what_the_runs_were() -> None:
    assert exp.told([LINE, replace(LINE, steps=300, device="xpu")]) == (
        "2 runs of 240 to 300 steps on cpu, xpu; data: painted.")  # fmt: skip
    assert exp.told([]) == "No run yet."


def test_the_table_can_be_read_without_a_notebook() -> None:
    rows = compare([line("full", 1, 0.5), line("full", 2, 0.6), line("two networks", 3, 0.4)], ARM_NAMES)
    shown = table(rows)
    assert "two networks     1     0.400  -0.150, no interval" in shown.plain
    assert shown.markup.count("<tr>") == 4


def test_the_plot_shows_intervals_and_leaves_out_what_is_not_known() -> None:
    rows = [
        Comparison("full", (0.5, 0.6), 0.0, -0.1, 0.1),
        Comparison("two networks", (0.2, 0.3), -0.3, -0.4, -0.2),
        Comparison("heuristic merge", (0.5,), -0.05),
        Comparison("plain semantic head", ()),
    ]
    axes = forest(rows, note="4 runs; data: made up.").axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["two networks\n2 runs", "heuristic merge\n1 run"]
    bars = [x for x in axes.lines if len(x.get_xdata()) == 2 and x.get_linewidth() > 3]
    assert [list(x.get_xdata()) for x in bars] == [[-0.4, -0.2]]
    signs = [x for x in axes.lines if x.get_marker() in "ov^"]
    assert [x.get_markerfacecolor() for x in signs] == ["#D55E00", "white"], "an empty sign: no interval"
    assert "0.550 in 2 runs" in axes.get_title(loc="left")
    assert axes.get_title(loc="left").endswith("\n4 runs; data: made up.")
    assert "nothing to compare yet" in [t.get_text() for t in forest([]).axes[0].texts]


# --- a run


def test_half_of_the_labels() -> None:
    tile = next(painted_tiles(1, 3, 64, 0.5))
    nuclei, tissue = (frozenset(c.id for c in group) for group in (HE_CORE.things, HE_CORE.stuff))
    part = exp.partly(tile, nuclei)
    assert part.known == nuclei
    assert {s.category_id for s in part.truth.segments} <= nuclei
    assert np.array_equal(part.truth.ids > 0, np.isin(tile.truth.semantic(), list(nuclei)))
    assert not exp.partly(tile, tissue).truth.things
    with pytest.raises(ValueError, match="labels are hidden from a truth, tile-3-0 has none"):
        exp.partly(replace(tile, truth=None), nuclei)


def test_one_half_knows_nuclei_the_other_tissue() -> None:
    parts = exp.painted(2, 1)
    assert [s.source for s in parts.train] == ["painted nuclei", "painted tissue"]
    assert [bool(s.truth.things) for s in parts.train] == [True, False]
    assert parts.validation[0].known == {c.id for c in HE_CORE.categories}


def test_a_run_ends_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained is another room's business; here, what is asked for and what is said."""
    asked = []

    class Found:
        def row(self) -> dict[str, float]:
            return {"mean_pq": 0.41234, "objects_pq": 0.5, "things_pq": float("nan"), "stuff_pq": 0.25, "more": 1.0}

    def train_arm(arm, parts, config, out, on_step=None, progress=True):  # type: ignore[no-untyped-def]
        asked.append((arm, parts, config))
        out.mkdir(parents=True)
        (out / "last.json").write_text(json.dumps({"step": 33, "seconds": 66.6}))
        return Found()

    monkeypatch.setattr(exp, "train_arm", train_arm)
    monkeypatch.setattr(exp, "_device", lambda: "cpu")
    parts = Ingredients([], [], {})
    got = exp.run(exp.Draw("two networks", 4711), tmp_path, minutes=1, parts=parts)
    assert got == ResultLine("two networks", 4711, "painted", 33, 1.11, "cpu", 0.4123, 0.5, None, 0.25)
    assert exp.read(str(got)).lines == (got,)
    (arm, given, config) = asked[0]
    assert (arm, given, config.seed, config.minutes) == ("two networks", parts, 4711, 1)
    assert str(tmp_path) not in str(got)
    monkeypatch.setattr(exp, "train_arm", lambda *_, on_step, **__: on_step({"step": 1}))
    rows: list[object] = []
    with pytest.raises(Interrupted, match="stopped by you; run the same cell again to go on"):
        exp.run(exp.Draw("full", 1), tmp_path, steps=2, parts=parts, on_step=rows.append, stop=lambda: True)
    assert rows == [{"step": 1}]


def test_the_example_lines_are_whole() -> None:
    text = exp.examples()
    got = exp.read(text)
    assert got.faults == ()
    assert len(got.lines) == len(text.splitlines())
    for arm in exp.DRAWN:
        assert len({x.seed for x in got.lines if x.arm == arm}) >= 2, "an interval needs two seeds"
    assert {x.data for x in got.lines} == {"tiles of patients"}, "nobody mixes them with the class's own"
