"""Exercises that answer back: pass, the named mistake, hints, the solution."""

from pano_med.check.ask import answer, hint, solution
from pano_med.check.exercise import Exercise, Mistake
from pano_med.check.verdict import Verdict

__all__ = ["Exercise", "Mistake", "Verdict", "answer", "hint", "solution"]
