"""What the lessons need beside their text: pictures with alt text, small experiments. Light: no torch here."""

from pano_med.lessons.show import Shown, show

__all__ = ["Shown", "show"]
