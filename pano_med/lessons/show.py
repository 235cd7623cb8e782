"""Pictures and boxes in a notebook: always with alt text, never twice, readable without a notebook too."""

import base64
import html
import io
import sys
from typing import Any

import numpy as np
from PIL import Image


class Shown:
    """Something that shows itself: HTML in a notebook, plain text elsewhere.

    Jupyter shows the last value of a cell by itself. A function that shows its result at once, and also returns it,
    would show it twice; so a `Shown` remembers in which run of a cell it was shown and stays quiet there.

    Args:
        markup: HTML. Text from outside must be escaped already.
        plain: the same in plain text.
    """

    def __init__(self, markup: str, plain: str) -> None:
        self.markup, self.plain = markup, plain
        self._shown_in: int | None = None

    def now(self) -> "Shown":
        """Show it now, if this is a notebook, and return it."""
        shell = _shell()
        if shell is not None:
            self._publish(shell)
        return self

    def _publish(self, shell: Any) -> None:
        self._shown_in = shell.execution_count
        shell.display_pub.publish({"text/html": self.markup, "text/plain": self.plain})

    def _ipython_display_(self) -> None:
        shell = _shell()
        if shell is None:
            print(self.plain)
        elif self._shown_in != shell.execution_count:
            self._publish(shell)

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.plain


def _shell() -> Any:
    """The running IPython, or None. IPython is not imported here: where it is absent, this is no notebook."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def show(picture: Any, alt: str, caption: str | None = None, width: int | None = None) -> Shown:
    """Show a picture with alt text.

    Args:
        picture: (H, W, 3) or (H, W) array, uint8, bool, or float in 0..1; or a PIL image; or a matplotlib figure,
            which is closed afterwards, so that it does not appear a second time.
        alt: what the picture shows, for people who cannot see it: one sentence.
        caption: a line below the picture, in plain text.
        width: on the page, in CSS pixels; without it, the picture's own, but never wider than the page.

    Returns:
        What was shown. At the end of a cell it does not appear again.

    Raises:
        ValueError: the alt text is empty, or the array is no picture.
        TypeError: the picture is none of the kinds above.
    """
    if not alt.strip():
        raise ValueError("every picture needs alt text: say in one sentence what it shows, show(picture, alt='...')")
    data = base64.b64encode(_png(picture)).decode("ascii")
    size = f"width:{int(width)}px;" if width else ""
    style = f"{size}max-width:100%;height:auto"
    image = f'<img alt="{html.escape(alt)}" style="{style}" src="data:image/png;base64,{data}">'
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    plain = f"[picture: {alt}]" + (f"\n{caption}" if caption else "")
    return Shown(f'<figure style="margin:0.5em 0">{image}{below}</figure>', plain).now()


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    if hasattr(picture, "savefig"):
        picture.savefig(buffer, format="png", bbox_inches="tight")
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            pyplot.close(picture)
    else:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(_bytes(picture))
        image.save(buffer, format="png")
    return buffer.getvalue()


def _bytes(picture: Any) -> np.ndarray:
    """An array as uint8, (H, W) or (H, W, 3 or 4)."""
    if not isinstance(picture, np.ndarray):
        raise TypeError(f"show takes an array, a PIL image or a matplotlib figure, and got {type(picture).__name__}")
    grey, colour = picture.ndim == 2, picture.ndim == 3 and picture.shape[-1] in (3, 4)
    if not (grey or colour) or not picture.size:
        raise ValueError(f"a picture has shape (H, W) or (H, W, 3), at least 1 pixel; this array has {picture.shape}")
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == bool:
        return picture.astype(np.uint8) * 255
    if picture.dtype.kind != "f":
        raise ValueError(f"a picture is uint8, bool, or float in 0..1; this array is {picture.dtype}")
    low, high = picture.min(), picture.max()
    if not (low >= 0 and high <= 1):  # NaN is not either
        raise ValueError(f"a float picture lies in 0..1; this one lies in {low:.3g}..{high:.3g}: scale it first")
    return np.round(picture * 255).astype(np.uint8)
