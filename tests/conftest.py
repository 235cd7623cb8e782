"""Fixtures that every test file may use."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import CHROMIUM, FLAGS, Lab, start_lab


def pytest_configure() -> None:
    """Ctrl-C means what it means at a prompt, here and in the processes that tests start.

    A shell that runs the tests in the background has them ignore it, and what they start would, too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real images (`PANO_MED_DATA`); tests that need it skip where it is absent."""
    root = os.environ.get("PANO_MED_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("real images are not here: set PANO_MED_DATA to the folder that holds them")
    return Path(root)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; one for all tests, as Playwright allows one loop only."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright comes with the [dev] extra")
    sync_api.expect.set_options(timeout=15_000)  # a busy machine is slow, and no test fails for that
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab with an empty folder; see `lab.py`."""
    pytest.importorskip("jupyterlab", reason="JupyterLab comes with the [lab] extra")
    with start_lab(browser, tmp_path_factory.mktemp("lab")) as running:
        yield running
