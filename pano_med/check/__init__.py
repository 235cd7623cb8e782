"""Exercises that answer back: pass, the named mistake, hints, the solution."""
