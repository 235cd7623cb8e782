"""`pano-med explore`: the slide viewer as a page without code, served to this machine only."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pano_med.cli.app import say

#: Lab's template without its icon fonts, which it would fetch from the internet.
_TEMPLATE = """{%- extends 'voila/templates/lab/index.html.j2' -%}
{% import "spinner.macro.html.j2" as spinner %}
{%- block html_head -%}<meta name="referrer" content="no-referrer">{{ super() }}{%- endblock html_head -%}
{%- block notebook_css -%}
{{ resources.include_js("static/voila-style.js") }}
{{ spinner.css() }}
<style>
body { margin: 0; background: white; overflow: auto; }
.jp-mod-noOutputs.jp-mod-noInput, .jp-OutputPrompt { display: none; }
.widget-vbox, .jupyter-widgets.widget-vbox { overflow: visible; align-items: stretch; }
</style>
{%- endblock notebook_css -%}
"""
#: No other extension of this person's JupyterLab; an unused kernel goes after ten minutes.
_OPTIONS = [
    "--template=pano-med",
    *(f"--VoilaConfiguration.extension_allowlist={name}" for name in (
        "@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager7",
        "@voila-dashboards/widgets-manager8", "anywidget"
    )),
    "--VoilaConfiguration.show_tracebacks=True",
    "--MappingKernelManager.cull_idle_timeout=600",
]
_CELL = "from pano_med.cli.explore_page import show\nshow({})"


def run(slide: Path | None, weights: str | None, device: str | None, types: bool, mpp: float | None,
        browser: bool, port: int) -> int:
    """Serve the page until Ctrl-C.

    Raises:
        ImportError: Voila is not installed.
        OSError: no such slide.
    """
    if slide is not None and not slide.exists():
        raise FileNotFoundError(f"there is no file {slide}; check the name and the folder")
    server = _server_class()
    logging.getLogger("tornado.general").setLevel(logging.ERROR)  # Voila's own settings make it complain
    start = Path.cwd() if slide is None else slide.resolve().parent
    asked = {"start": str(start), "weights": _absolute(weights), "device": device, "types": types, "mpp": mpp,
             "slide": None if slide is None else str(slide.resolve())}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="pano-med-", ignore_cleanup_errors=True) as folder, _home(Path(folder)):
        notebook = _notebook(Path(folder), asked)
        page = server(
            notebook_path=str(notebook), ip="127.0.0.1", port=port or _free_port(), port_retries=0,
            token=secrets.token_urlsafe(24), open_browser=True, log_level=40,
        )  # fmt: skip
        page.wants_browser = browser
        page.initialize(_OPTIONS)
        page.start()
    print(file=sys.stderr)
    say("stopped")
    return 0


def _absolute(weights: str | None) -> str | None:
    """A path of one's own weights as the page will find it; a name stays a name."""
    return str(Path(weights).resolve()) if weights and Path(weights).is_file() else weights


def _server_class() -> Any:
    """Voila with a door that says 403 to a wrong token, and one line on how to open it."""
    try:
        from tornado.web import Finish
        from voila.app import Voila
        from voila.voila_identity_provider import VoilaIdentityProvider
    except ImportError as error:
        raise ImportError("`pano-med explore` needs Voila: pip install 'pano-med[explore]'") from error

    class Door(VoilaIdentityProvider):
        """The token, or 403; no form to try others in."""

        async def get_user(self, handler: Any) -> Any:
            """Who asks, by the token in the address or the cookie that it gave."""
            user = await super()._get_user(handler)
            if user is None:
                handler.set_status(403)
                handler.set_header("Content-Type", "text/plain; charset=utf-8")
                raise Finish("This page opens with the address that the terminal shows, its token included.")
            return user

    class Page(Voila):
        """Voila that opens no window of its own accord and says where it is."""

        identity_provider_class = Door
        wants_browser = True

        def launch_browser(self) -> None:
            """Called when the port is open."""
            address = f"http://127.0.0.1:{self.port}/?token={self.token}"
            say(f"the page is at {address} (this machine only; Ctrl-C ends it)")
            if self.wants_browser:
                webbrowser.open(address)

    return Page


@contextlib.contextmanager
def _home(folder: Path) -> Iterator[None]:
    """Kernel and template of our own for Voila to find, and nothing else of this person's Jupyter."""
    kernel = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=40"],
              "language": "python", "display_name": "Python 3"}  # fmt: skip
    files = {
        "share/kernels/python3/kernel.json": json.dumps(kernel),
        "share/voila/templates/pano-med/conf.json": json.dumps({"base_template": "lab"}),
        "share/voila/templates/pano-med/index.html.j2": _TEMPLATE,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    own = {"JUPYTER_PATH": folder / "share", "JUPYTER_CONFIG_DIR": folder / "config", "IPYTHONDIR": folder / "ipython",
           "JUPYTER_RUNTIME_DIR": folder / "runtime", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # fmt: skip
    before = {name: os.environ.get(name) for name in own}
    os.environ.update({name: str(value) for name, value in own.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _notebook(folder: Path, asked: dict[str, Any]) -> Path:
    """The one cell behind the page."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in asked.items())
    cell = {"cell_type": "code", "id": "page", "source": _CELL.format(arguments), "metadata": {}, "outputs": [],
            "execution_count": None}  # fmt: skip
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "pano-med.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": spec, "nbformat": 4, "nbformat_minor": 5}), "utf-8")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
