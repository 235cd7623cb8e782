"""`pano-med explore` as a person meets it: a page on this machine, a file to choose, nuclei that appear."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from lab import Faults
from slide_files import write_pyramid

from pano_med.synthetic import he_tile

pytest.importorskip("voila", reason="Voila comes with the [explore] extra")
expect = pytest.importorskip("playwright.sync_api", reason="playwright comes with the [dev] extra").expect

pytestmark = pytest.mark.browser


@contextmanager
def explore(folder: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The running command and the address that it wrote; Ctrl-C at the end."""
    command = [sys.executable, "-m", "pano_med", "explore", "--no-browser", *arguments]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with (folder / "terminal.log").open("w+") as log:
        server = subprocess.Popen(command, cwd=folder, env=env, stderr=log, text=True)
        try:
            end, address = time.monotonic() + 180, None
            while address is None and time.monotonic() < end and server.poll() is None:
                time.sleep(0.2)
                address = re.search(r"http://\S+", (folder / "terminal.log").read_text("utf-8"))
            assert address, (folder / "terminal.log").read_text("utf-8")
            yield address[0], server
        finally:
            server.send_signal(signal.SIGINT)
            code = server.wait(60)
    said = (folder / "terminal.log").read_text("utf-8")
    assert code == 0, said
    assert "stopped" in said
    assert "Traceback" not in said


@contextmanager
def opened(browser: Any, address: str, **window: int) -> Iterator[tuple[Any, Faults]]:
    """The page in a window of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 800, **window}, service_workers="block")
    faults = Faults(context)
    page = context.new_page()
    page.set_default_timeout(180_000)
    try:
        page.goto(address, wait_until="commit")
        yield page, faults
    finally:
        context.close()


def status_of(address: str) -> int:
    """What the server answers."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide, one that does not know its pixel size, and a text file that says it is one."""
    folder = tmp_path_factory.mktemp("slides")
    image = np.tile(he_tile(3, (512, 512), pixel_size_um=0.25).image, (2, 2, 1))
    write_pyramid(folder / "tissue.tif", image, 0.25)
    write_pyramid(folder / "unknown.tif", image[:300, :300], levels=1)
    (folder / "text & <b>bold<b>.svs").write_text("This is a text file.")
    return folder


def test_the_page_is_for_this_machine_and_its_token(slides: Path) -> None:
    with explore(slides) as (address, server):
        parts = urlsplit(address)
        bare = f"http://{parts.netloc}"
        assert parts.hostname == "127.0.0.1"
        assert [status_of(f"{bare}{end}") for end in ("/", "/?token=wrong", "/voila/render/x.ipynb")] == [403] * 3
        assert status_of(f"{bare}/api/kernels/00000000-0000-0000-0000-000000000000") in (403, 404)
        listening = subprocess.run(["ss", "-ltnp"], capture_output=True, text=True).stdout
        own = [line.split()[3] for line in listening.splitlines() if f"pid={server.pid}," in line]
        assert own
        assert all(place.startswith("127.0.0.1:") for place in own)


def test_choose_look_and_find(browser: Any, slides: Path) -> None:
    with explore(slides) as (address, _), opened(browser, address) as (page, faults):
        chooser = page.locator(".pano-chooser-list")
        expect(chooser).to_be_visible(timeout=180_000)
        page.get_by_role("button", name="text & <b>bold<b>.svs").click()
        expect(page.locator(".pano-fault").filter(has_text="text & <b>bold<b>.svs")).to_be_visible(timeout=60_000)
        assert not page.locator(".pano-chooser-list b, .pano-fault b").count(), "a name is text"
        page.get_by_role("button", name="unknown.tif").click()
        expect(page.locator(".pano-fault").filter(has_text="does not say how large its pixels are")).to_be_visible()
        page.get_by_label("micrometres per pixel").fill("0.25")
        page.get_by_role("button", name="open", exact=True).click()
        expect(page.locator(".pano-slide[data-ready]")).to_be_visible(timeout=60_000)
        page.get_by_role("button", name="choose another slide").click()
        began = time.monotonic()
        page.get_by_role("button", name="tissue.tif").click()
        progress = page.locator(".pano-slide-progress")
        found = re.compile(r"of \d+ tiles, [1-9]|All tissue was looked at: [1-9]")
        expect(progress).to_have_text(found, timeout=240_000)
        print(f"first nuclei after {time.monotonic() - began:.1f} s")
        expect(progress).to_contain_text("All tissue was looked at", timeout=240_000)
        stage = page.locator(".pano-slide-stage")
        expect(stage).to_have_attribute("data-missing", "0", timeout=60_000)
        page.wait_for_timeout(1000)
        drawn = stage.locator(".pano-slide-map")
        alphas = drawn.evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")[3::4]
        assert sum(a > 250 for a in alphas) > 300, "lines of nuclei are drawn"
        page.screenshot(path=slides / "explore.png")
        faults.check_clean()
