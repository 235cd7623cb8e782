"""The answer to an answer, as a box that can be read on a projector and without colour."""

import html
import re

from pano_med.lessons.show import Shown

#: state -> (mark, word, colour). The mark and the word say it all; the colour only helps to find the box.
STATES = {
    "pass": ("✓", "pass", "#009E73"),
    "wrong": ("✗", "not yet", "#D55E00"),
    "error": ("!", "not yet", "#D55E00"),
    "todo": ("…", "not done yet", "#0072B2"),
    "hint": ("?", "hint", "#0072B2"),
    "solution": ("=", "one solution", "#0072B2"),
}


class Verdict(Shown):
    """What the check says to an answer, a request for a hint, or for the solution.

    Attributes:
        exercise: the exercise's id, as given.
        state: "pass", "wrong", "error" (it could not be tried), "todo", "hint" or "solution".
        message: in plain text.
    """

    def __init__(self, exercise: str, state: str, message: str, code: str = "") -> None:
        self.exercise, self.state, self.message, self.code = exercise, state, message, code
        mark, word, colour = STATES[state]
        head = f"{mark} {exercise} {word}"
        block = f'<pre style="margin:0.5em 0 0;color:#111;background:none">{html.escape(code)}</pre>' if code else ""
        super().__init__(
            f'<div role="status" style="border:1px solid {colour};border-left-width:8px;padding:0.5em 0.8em;'
            'margin:0.3em 0;background:#fff;color:#111;font-size:1.1em;line-height:1.4;max-width:52em">'
            f"<strong>{html.escape(head)}.</strong> "
            f'<span style="white-space:pre-wrap">{_marked(message)}</span>{block}</div>',
            f"{head}. {message}" + (f"\n{code}" if code else ""),
        )

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.state == "pass"

    def __bool__(self) -> bool:
        return self.passed


def _marked(message: str) -> str:
    """Escaped, with what stands in `back quotes` set as code."""
    return re.sub(r"`([^`\n]+)`", r'<code style="color:#111;background:#eee">\1</code>', html.escape(message))
