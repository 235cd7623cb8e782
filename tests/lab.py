"""A student's desk: JupyterLab in a headless Chromium, with a note of every fault and every request that leaves.

`lab.open(path)` and `lab.write("name", "code of cell 0", "code of cell 1")` give a `Notebook`: run cells, find their
outputs, drive them with Playwright, then `check_clean()`. The fixture `lab` (one server a test session) is in
`conftest.py`.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: `--no-sandbox`: a container's root may not use it. And no GPU is emulated: canvases are 20 times as fast without.
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage"]
#: No windowing: a notebook keeps every cell, so every widget, in the page.
SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}
#: In the page: the notebook that is open, its code cells, and what its kernel says.
SCRIPT = """
window.lab = {
  panel: () => window.jupyterapp.shell.currentWidget,
  code: () => lab.panel().content.widgets.filter(cell => cell.model.type === 'code'),
  kernel: () => lab.panel().sessionContext.session?.kernel,
  ready: () => !!(window.jupyterapp && lab.panel()?.content?.widgets?.length && lab.kernel()?.status === 'idle'),
  outputs: index => lab.code()[index].model.outputs.toJSON(),
  start: (command, index) => {
    const book = lab.panel().content;
    if (index !== null) book.activeCellIndex = book.widgets.indexOf(lab.code()[index]);
    lab.running = true;
    window.jupyterapp.commands.execute(command).finally(() => { lab.running = false; });
  },
};
"""


#: What a cell's output holds where a widget is shown.
VIEW = "application/vnd.jupyter.widget-view+json"


class Faults:
    """What a browser context did wrong: requests to the outside (stopped), errors of console and page."""

    def __init__(self, context: Any, home: str = "127.0.0.1") -> None:
        self.home = home
        self.requests: list[str] = []
        self.errors: list[str] = []
        context.route("**/*", self._route)
        context.on("page", self._watch)

    def _route(self, route: Any) -> None:
        if self._outside(route.request.url):
            route.abort()
        else:
            route.continue_()

    def _watch(self, page: Any) -> None:
        page.on("websocket", lambda socket: self._outside(socket.url))
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(f"page: {error}"))

    def _console(self, message: Any) -> None:
        # JupyterLab asks for `attachment:colab.png` as it stands, then puts the picture there: no fault of ours.
        if message.type == "error" and not message.location["url"].startswith("attachment:"):
            self.errors.append(f"console: {message.text} ({message.location['url'][:200]})")

    def _outside(self, url: str) -> bool:
        parts = urlsplit(url)
        outside = parts.scheme not in ("data", "blob", "file", "about") and parts.hostname != self.home
        if outside:
            self.requests.append(url)
        return outside

    def check_clean(self) -> None:
        """Raises AssertionError where anything was recorded."""
        assert not self.requests, f"asked the outside for {self.requests}"
        assert not self.errors, "errors in the browser:\n" + "\n".join(self.errors)


class Notebook:
    """One open notebook. `page` is Playwright's; code cells are numbered from 0."""

    def __init__(self, page: Any, faults: Faults, shots: Path) -> None:
        self.page = page
        self.faults = faults
        self.shots = shots
        self.seconds: dict[int, float] = {}  # of each code cell's last run

    @property
    def cells(self) -> int:
        """The number of code cells."""
        return int(self.page.evaluate("() => lab.code().length"))

    def source(self, index: int) -> str:
        """The text of a code cell."""
        return str(self.page.evaluate("i => lab.code()[i].model.sharedModel.source", index))

    def find(self, text: str) -> int:
        """The first code cell whose text holds `text`."""
        for index in range(self.cells):
            if text in self.source(index):
                return index
        raise AssertionError(f"no code cell holds {text!r}")

    def run(self, index: int, *, allow: Sequence[str] = (), timeout: float = 120) -> list[dict[str, Any]]:
        """Runs one code cell and waits for it.

        Args:
            index: The code cell.
            allow: Names of exceptions that may end it, for example "NotImplementedError".
            timeout: Seconds.

        Returns:
            The cell's outputs, as a notebook file holds them.
        """
        began = time.monotonic()
        self._start("notebook:run-cell", index, timeout)
        self.seconds[index] = time.monotonic() - began
        outputs: list[dict[str, Any]] = self.page.evaluate("i => lab.outputs(i)", index)
        for error in (o for o in outputs if o["output_type"] == "error" and o["ename"] not in allow):
            raise AssertionError(
                f"code cell {index} ended with {error['ename']}: {error['evalue']}\n\n{self.source(index)}"
            )
        return outputs

    def run_all(self, *, allow: Sequence[str] = (), timeout: float = 120) -> None:
        """Runs every code cell, each with its own `timeout` (s); goes on after an allowed exception."""
        for index in range(self.cells):
            self.run(index, allow=allow, timeout=timeout)

    def idle(self, timeout: float = 60) -> None:
        """Waits until the kernel has nothing to do and what it answered is drawn."""
        self.page.wait_for_timeout(100)  # a message that a click has just sent is on its way
        self._wait("lab.kernel()?.status === 'idle'", timeout, "the kernel did not become idle")
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def restart(self, timeout: float = 60) -> None:
        """Restarts the kernel; outputs and widgets stay in the page, without anybody behind them."""
        self.page.evaluate(
            "() => { lab.running = true; lab.kernel().restart().finally(() => { lab.running = false }) }"
        )
        self._wait("!lab.running && lab.kernel()?.status === 'idle'", timeout, "the kernel did not restart")

    def reload(self, timeout: float = 90) -> None:
        """Saves, then opens the page anew, as a student does the next morning."""
        self._start("docmanager:save", None, timeout)
        self.page.reload()
        self.ready(timeout)

    def ready(self, timeout: float = 90) -> None:
        """Waits for the notebook and its kernel, and gives it the whole width."""
        self._wait("lab.ready()", timeout, "opening the notebook")
        self.page.evaluate("() => { const shell = jupyterapp.shell; if (!shell.leftCollapsed) shell.collapseLeft(); }")

    def widgets(self) -> Iterator[tuple[str, Any]]:
        """(class name, locator) of every widget that cells have shown, each scrolled into view when it comes."""
        for index in range(self.cells):
            for number, output in enumerate(self.page.evaluate("i => lab.outputs(i)", index)):
                if VIEW in output.get("data", {}):
                    shown = self.output(index).locator(".jp-OutputArea-child").nth(number)
                    self.show(shown)
                    yield "".join(output["data"]["text/plain"]).split(":")[0], shown

    def text(self, index: int) -> str:
        """What an output shows as text; a failing kernel's words too."""
        return str(self.output(index).inner_text())

    def cell(self, index: int) -> Any:
        """Playwright's locator of a code cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)

    def output(self, index: int) -> Any:
        """The locator of a cell's output, scrolled into view: `output(3).locator("button")`."""
        area = self.cell(index).locator(".jp-Cell-outputWrapper")
        area.scroll_into_view_if_needed()
        return area

    def show(self, locator: Any) -> None:
        """Scrolls until the top of `locator` is near the top of the window, for a picture or a drag."""
        locator.evaluate("element => element.scrollIntoView({block: 'start'})")
        self.page.wait_for_timeout(100)

    def screenshot(self, name: str, locator: Any = None) -> Path:
        """Writes a picture of the window, or of `locator`, and returns its path."""
        path = self.shots / f"{name}.png"
        (locator or self.page).screenshot(path=path)
        return path

    def check_clean(self) -> None:
        """Raises AssertionError for a request to the outside or an error in the browser so far."""
        self.faults.check_clean()

    def _start(self, command: str, index: int | None, timeout: float) -> None:
        self.page.evaluate("([command, index]) => lab.start(command, index)", [command, index])
        self._wait("!lab.running && lab.kernel()?.status === 'idle'", timeout, f"{command} of code cell {index}")

    def _wait(self, condition: str, timeout: float, what: str) -> None:
        end = time.monotonic() + timeout
        while not self.page.evaluate(f"() => Boolean({condition})"):
            if time.monotonic() > end:
                shot = self.screenshot("timeout")
                raise AssertionError(f"{what}: not within {timeout:g} s; the window is in {shot}")
            self.page.wait_for_timeout(50)


class Lab:
    """A running JupyterLab and the browser that looks at it."""

    def __init__(self, browser: Any, url: str, folder: Path, shots: Path) -> None:
        self.browser = browser
        self.url = url
        self.folder = folder
        self.shots = shots

    @contextmanager
    def open(self, path: Path, *, width: int = 1280, height: int = 1000, name: str | None = None) -> Iterator[Notebook]:
        """Opens a copy of a notebook; at the end its kernel is shut down.

        Args:
            path: The .ipynb; it is not changed.
            width: Of the window, pixels.
            height: Of the window, pixels.
            name: File name of the copy, by default the same.
        """
        copy = self.folder / (name or path.name)
        if copy != path:
            shutil.copyfile(path, copy)
        context = self.browser.new_context(viewport={"width": width, "height": height}, service_workers="block")
        faults = Faults(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(SCRIPT)
        notebook = Notebook(page, faults, self.shots)
        try:
            page.goto(f"{self.url}/lab/tree/{quote(copy.name)}?reset")
            notebook.ready()
            yield notebook
        finally:
            context.close()
            for session in json.loads(_ask(f"{self.url}/api/sessions")):
                _ask(f"{self.url}/api/sessions/{session['id']}", "DELETE")

    @contextmanager
    def write(self, name: str, *cells: str, **window: int) -> Iterator[Notebook]:
        """Opens a new notebook with these code cells."""
        code = [
            {"cell_type": "code", "id": f"c{i}", "source": s, "metadata": {}, "outputs": [], "execution_count": None}
            for i, s in enumerate(cells)
        ]
        spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = self.folder / f"{name}.ipynb"
        path.write_text(json.dumps({"cells": code, "metadata": spec, "nbformat": 4, "nbformat_minor": 5}), "utf-8")
        with self.open(path, **window) as notebook:
            yield notebook


@contextmanager
def start_lab(browser: Any, home: Path) -> Iterator[Lab]:
    """Starts JupyterLab on a free port, with settings, kernels and notebooks of its own under `home`."""
    folder, log = home / "notebooks", home / "server.log"
    folder.mkdir()
    _settings(home)
    port = _free_port()
    flags = [f"--port={port}", f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0"]
    with log.open("w") as out, _running([*COMMAND, *flags], _environment(home), out) as server:
        url = f"http://127.0.0.1:{port}"
        _answering(url, server, log)
        shots = home / "shots"
        shots.mkdir()
        yield Lab(browser, url, folder, shots)


COMMAND = [
    *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
    *("--IdentityProvider.token=", "--ServerApp.password=", "--LabApp.expose_app_in_browser=True"),
    "--ServerApp.disable_check_xsrf=True",  # so that the desk may shut kernels down
    *("--LabApp.news_url=", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
]


def _settings(home: Path) -> None:
    config = home / "config" / "labconfig"
    config.mkdir(parents=True)
    (config / "default_setting_overrides.json").write_text(json.dumps(SETTINGS), "utf-8")
    kernel = home / "share" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), "utf-8")


def _environment(home: Path) -> dict[str, str]:
    own = {
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_PATH": home / "share",  # before all other places, so the kernel is the Python of the tests
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "IPYTHONDIR": home / "ipython",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
    }
    return os.environ | {name: str(path) for name, path in own.items()}


@contextmanager
def _running(command: list[str], env: dict[str, str], out: Any) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answering(url: str, server: subprocess.Popen[bytes], log: Path, timeout: float = 60) -> None:
    end = time.monotonic() + timeout
    while server.poll() is None and time.monotonic() < end:
        try:
            _ask(f"{url}/api/status")
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab did not start within {timeout:g} s:\n{log.read_text('utf-8')[-3000:]}")


def _ask(url: str, method: str = "GET") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        return bytes(answer.read())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
