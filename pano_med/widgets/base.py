"""What every widget stands on: its JavaScript, a static picture for dead kernels, and faults that are seen."""

from __future__ import annotations

import base64
import html
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from IPython.display import display
from PIL import Image

from pano_med.widgets.layer import png

_HERE = Path(__file__).parent
#: Longest side in pixels of the static picture that is kept in the notebook.
_STILL = 900


def code(name: str, *parts: str) -> dict[str, str]:
    """`_esm` and `_css` of the widget whose JavaScript is `name`.js: the shared text, its parts, then its own.

    Args:
        name: "viewer" for viewer.js and, where there is one, viewer.css.
        parts: scripts that the widget's own needs, for example "parts/slide_layer.js".
    """
    own = [_HERE / f"{part}" for part in (f"{name}.js", f"{name}.css")]
    texts = [path.read_text(encoding="utf-8") if path.exists() else "" for path in own]
    common = [(_HERE / part).read_text(encoding="utf-8") for part in ("common.js", "common.css", *parts)]
    return {"_esm": "\n".join([common[0], *common[2:], texts[0]]), "_css": f"{common[1]}\n{texts[1]}"}


class Picture(anywidget.AnyWidget):
    """A widget with a picture. Subclasses set `_esm` and `_css` from `code` and say what `still` and `alt` are.

    Beside the live view it leaves a static picture with alt text in the notebook. The view hides it; where there is
    no view (GitHub, the book, a notebook opened without its kernel), the picture is what people see.

    Attributes:
        title: a line above the widget, or "".
        fault: what went wrong in the last callback; the widget shows it. Jupyter alone would swallow it.
    """

    title = traitlets.Unicode("").tag(sync=True)
    fault = traitlets.Unicode("").tag(sync=True)
    still_class = traitlets.Unicode("").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(still_class=f"pano-still-{uuid.uuid4().hex[:12]}", **traits)

    def still(self) -> np.ndarray:
        """(H, W, 3) uint8: the static picture."""
        raise NotImplementedError

    def alt(self) -> str:
        """What the static picture shows, in words."""
        raise NotImplementedError

    # -- showing ----------------------------------------------------------------------------------------------

    def _ipython_display_(self, **_: Any) -> None:
        """Two outputs, because JupyterLab shows an error and no other form where a view has lost its kernel."""
        if self.comm is not None:  # a widget that was closed has only its picture left
            data, metadata = self._view()
            display(data, metadata=metadata, raw=True)
        display({"text/html": self.still_html(), "text/plain": self.alt()}, raw=True)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The view, and the static picture for whatever cannot show a view."""
        data, metadata = ({"text/plain": self.alt()}, {}) if self.comm is None else self._view()
        picture = base64.b64encode(self._still_png()).decode()
        data |= {"image/png": picture, "text/html": self.still_html()}
        return data, metadata | {"image/png": {"alt": self.alt()}}

    def _view(self) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_()  # Colab reads in the metadata where its widgets come from
        return data | {"text/plain": f"{type(self).__name__}: {self.alt()}"}, metadata

    def _still_png(self) -> bytes:
        picture = Image.fromarray(np.ascontiguousarray(self.still()))
        picture.thumbnail((_STILL, _STILL))
        return png(np.asarray(picture))

    def still_html(self) -> str:
        """The static picture as one <img> with alt text."""
        source, alt = base64.b64encode(self._still_png()).decode(), html.escape(self.alt())
        look = f'class="{self.still_class}" style="max-width:100%"'
        return f'<img {look} alt="{alt}" src="data:image/png;base64,{source}">'

    def page(self, state: dict[str, Any] | None = None) -> str:
        """The widget as one HTML page that needs no kernel and asks for nothing.

        What would need Python does nothing there, unless the widget's JavaScript finds its answers in `state`.

        Args:
            state: further values that the JavaScript reads with model.get(); bytes are allowed anywhere.
        """
        skip = {"_esm", "_css", "_dom_classes", "layout", "tooltip", "tabbable", "comm"}
        traits = {k: getattr(self, k) for k in self.keys if k not in skip and not k.startswith("_")}
        values = json.dumps(_plain({**traits, **(state or {})})).replace("<", "\\u003c")
        script = str(self._esm).replace("export default", "const widget =")
        name = html.escape(self.title or type(self).__name__)
        model = f"pano.pageModel(pano.revive({values}))"
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>html {{ color-scheme: light dark; }} body {{ margin: 8px; }}\n{self._css}</style></head><body>"
            f'<div id="widget"></div><noscript>{self.still_html()}</noscript><script type="module">\n{script}\n'
            f"widget.render({{ model: {model}, el: document.getElementById('widget') }});\n"
            "</script></body></html>\n"
        )

    # -- faults -----------------------------------------------------------------------------------------------

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take values from the page; what a callback throws then is shown in the widget."""
        self._show(_fault(super().set_state, sync_data))

    def _handle_custom_msg(self, content: Any, buffers: Any) -> None:
        self._show(*[_fault(callback, self, content, buffers) for callback in list(self._msg_callbacks.callbacks)])

    def _show(self, *faults: str) -> None:
        self.fault = "; ".join(filter(None, faults))


def _fault(call: Callable[..., Any], *arguments: Any) -> str:
    """Call; what it throws, in words, or ""."""
    try:
        call(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return ""


def _plain(value: Any) -> Any:
    """JSON-ready; bytes become {"$bytes": base64}."""
    if isinstance(value, bytes | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
