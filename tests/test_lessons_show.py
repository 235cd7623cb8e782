"""Pictures in lessons: with alt text, shown once, refused in a sentence."""

import base64
import io
import re
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pano_med.lessons import Shown, show

RGB = np.zeros((4, 6, 3), np.uint8)


def _picture(shown: Shown) -> np.ndarray:
    found = re.search(r'src="data:image/png;base64,([^"]+)"', shown.markup)
    assert found
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))


def test_alt_text_caption_and_width_are_in_the_page() -> None:
    shown = show(RGB, 'black, "really"', caption="a < b", width=300)
    assert 'alt="black, &quot;really&quot;"' in shown.markup
    assert "<figcaption>a &lt; b</figcaption>" in shown.markup
    assert "width:300px" in shown.markup
    assert repr(shown) == '[picture: black, "really"]\na < b'


@pytest.mark.parametrize(
    ("picture", "shape", "value"),
    [
        (RGB + np.uint8(7), (4, 6, 3), 7),
        (np.ones((4, 6), bool), (4, 6), 255),
        (np.full((4, 6, 3), 0.5), (4, 6, 3), 128),
        (Image.new("RGB", (6, 4), (9, 9, 9)), (4, 6, 3), 9),
    ],
)
def test_pixels_arrive_as_they_are(picture: Any, shape: tuple[int, ...], value: int) -> None:
    pixels = _picture(show(picture, "plain"))
    assert pixels.shape == shape
    assert (pixels == value).all()


def test_figures_are_drawn() -> None:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    assert _picture(show(figure, "a line")).ndim == 3


@pytest.mark.parametrize(
    ("picture", "error", "text"),
    [
        (np.zeros((2, 2, 5), np.uint8), ValueError, r"shape \(H, W\) or \(H, W, 3\).*this array has \(2, 2, 5\)"),
        (np.zeros((0, 2), np.uint8), ValueError, r"at least 1 pixel; this array has \(0, 2\)"),
        (np.zeros((2, 2), np.int64), ValueError, "uint8, bool, or float in 0..1; this array is int64"),
        (np.full((2, 2), 3.0), ValueError, "lies in 0..1; this one lies in 3..3: scale it first"),
        (np.array([[0.5, np.nan]]), ValueError, "lies in 0..1; this one lies in nan..nan"),
        ("tissue.png", TypeError, "takes an array, a PIL image or a matplotlib figure, and got str"),
    ],
)
def test_what_is_no_picture_is_refused(picture: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        show(picture, "something")


def test_alt_text_is_asked_for() -> None:
    with pytest.raises(ValueError, match="every picture needs alt text"):
        show(RGB, "  ")


class Shell:
    """What `Shown` uses of IPython."""

    def __init__(self) -> None:
        self.execution_count, self.sent = 1, []  # type: ignore[var-annotated]
        self.display_pub = self

    def publish(self, data: dict[str, str]) -> None:
        self.sent.append(data["text/plain"])


def test_shown_at_once_and_not_again_at_the_end_of_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": staticmethod(lambda: shell)}))
    shown = Shown("<b>x</b>", "x").now()
    shown._ipython_display_()  # Jupyter does this with the last value of the cell
    assert shell.sent == ["x"]
    shell.execution_count += 1
    shown._ipython_display_()  # `shown` as the last line of a later cell
    assert shell.sent == ["x", "x"]
