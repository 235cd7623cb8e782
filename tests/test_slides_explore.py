"""The map in the making: with a perfect predictor it is the truth; what is in view comes first; threads end."""

import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slide_cases import PaintedSlide, PerfectPredictor
from slide_files import write_pyramid
from slide_results import painted, write_result
from test_slides_viewer import Page, marked
from widget_cases import message_from_page

from pano_med.cli import explore, explore_page
from pano_med.cli.explore_page import ExplorePage
from pano_med.predict.segmenter import piece_of
from pano_med.slides import fingerprint
from pano_med.slides.explore import LiveMap
from pano_med.slides.looking import count_in
from pano_med.slides.pixels import SlidePixels
from pano_med.widgets import SlideViewer
from pano_med.widgets.slide_chooser import NoPixelSize, SlideChooser


def live_map(slide: PaintedSlide, **options: Any) -> LiveMap:
    """A map that a perfect predictor makes."""
    network = PerfectPredictor(slide, **options)
    mpp = network.loaded.model_mpp
    rest = network.rules, network.taxonomy
    return LiveMap(slide, slide.taxonomy, mpp, lambda g, i, x: piece_of(g, i, network.predict(x, mpp), *rest))


def test_the_finished_map_is_the_truth() -> None:
    slide = PaintedSlide((1100, 900), tissue=1.0)
    live = live_map(slide)
    live.run()
    ids, classes = live.window(0, 0, 0, *live.shapes[0])
    true_ids, true_classes = slide.truth(0, 0, *slide.size)
    np.testing.assert_array_equal(classes, true_classes)
    pairs = np.unique(np.stack([ids.ravel(), true_ids.ravel()]), axis=1)
    assert len(pairs[0]) == len(set(pairs[0])) == len(set(pairs[1])), "one id for each nucleus, over every seam"
    np.testing.assert_array_equal(live.window(1, 0, 0, *live.shapes[1])[0], ids[::2, ::2])
    found = live.nucleus(1)
    assert found is not None
    rows, columns = (ids == 1).nonzero()
    assert (found["row"], found["column"]) == pytest.approx((rows.mean() + 0.5, columns.mean() + 0.5), abs=0.01)
    assert found["area_um2"] == pytest.approx(len(rows) * 0.25**2, abs=0.01)
    counted = count_in(live, [(0, 0), (0, 900), (1100, 900), (1100, 0)])
    assert sum(counted.nuclei.values()) == len(pairs[0]) - 1
    assert [n["score"] for n in live.ranked("score", 3)] == pytest.approx([0.99] * 3)
    assert live.progress().startswith("All tissue was looked at")
    live.close()


def test_what_is_in_view_comes_first_then_the_nearest() -> None:
    slide = PaintedSlide((3000, 3000), tissue=1.0)
    live = live_map(slide, delay=0.01)
    view, order = (1900.0, 100.0, 2600.0, 900.0), []
    live.look(view, (2400.0, 300.0))
    live.listen(lambda box, words: order.append(box) if box else None)
    live.listen(lambda box, words: live._stop.set() if len(order) >= 8 else None)
    live.run()
    first = order[0]
    assert first[0] <= 2400 <= first[2]
    assert first[1] <= 300 <= first[3]
    middles = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in order]
    away = [np.hypot(r - 2400, c - 300) for r, c in middles]
    assert away[:4] == sorted(away[:4])
    assert all(b[2] > view[0] and b[0] < view[2] and b[3] > view[1] and b[1] < view[3] for b in order[:4])
    live.close()


def test_glass_and_damage_and_a_network_that_fails() -> None:
    blank = live_map(PaintedSlide((1200, 1200), tissue=0.0))
    blank.run()
    assert blank.progress() == "No tissue was found on this slide."
    blank.close()

    broken = live_map(PaintedSlide((900, 900), tissue=1.0, damaged=[(600, 600, 620, 620)]))
    broken.run()
    assert broken.failed >= 1
    assert "damaged and were skipped" in broken.progress()
    broken.close()

    def fails(*_: Any) -> Any:
        raise RuntimeError("no memory\nleft")

    slide, words = PaintedSlide((900, 900), tissue=1.0), []
    failing = LiveMap(slide, slide.taxonomy, 0.25, fails)
    failing.listen(lambda box, said: words.append(said))
    failing.run()
    assert words[-1] == "Stopped: no memory left"
    failing.close()


def test_the_widget_hears_of_changes_and_close_ends_the_thread() -> None:
    slide = PaintedSlide((1500, 1500), tissue=1.0)
    live = live_map(slide, delay=0.05)
    viewer = SlideViewer(slide)
    page = Page(viewer)
    viewer.show(live)
    assert viewer.facts["live"]
    viewer.view, viewer.cursor = [0.0, 0.0, 500.0, 500.0], [100.0, 100.0]
    assert live._cursor == (100.0, 100.0)
    live.start()
    end = time.monotonic() + 60
    while not any(said["kind"] == "changed" for said, _ in page.heard) and time.monotonic() < end:
        time.sleep(0.02)
    changed = next(said for said, _ in page.heard if said["kind"] == "changed")
    assert changed["box"][:2] == [0, 0]
    assert "nuclei" in viewer.progress
    folder = Path(live._folder.name)
    viewer.close()
    live.close()
    assert not [t for t in threading.enumerate() if t.name == "pano-med explore"]
    assert not folder.exists()


def test_a_map_closed_in_the_moment_of_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another slide is chosen while the network of the first one gets ready: whoever comes first, nothing is left."""
    real, entered = threading.Thread.start, threading.Event()

    def slow(thread: threading.Thread) -> None:
        if thread.name == "pano-med explore":
            entered.set()
            time.sleep(0.1)
        real(thread)

    live = live_map(PaintedSlide((900, 900), tissue=1.0))
    folder = Path(live._folder.name)
    monkeypatch.setattr(threading.Thread, "start", slow)
    starter = threading.Thread(target=live.start)
    starter.start()
    assert entered.wait(60)
    live.close()
    starter.join()
    live.start()
    assert not [t for t in threading.enumerate() if t.name == "pano-med explore"]
    assert not folder.exists()


# ---- choosing


def chooser(folder: Path, **options: Any) -> tuple[SlideChooser, list[Any]]:
    taken: list[Any] = []
    return SlideChooser(folder, lambda path, mpp: taken.append((path, mpp)), **options), taken


def test_only_what_is_listed_can_be_opened(tmp_path: Path) -> None:
    start = tmp_path / "start"
    (start / "more").mkdir(parents=True)
    for name in ("b.SVS", "a.tif", "notes.txt", ".hidden.svs"):
        (start / name).write_bytes(b"")
    (tmp_path / "secret.svs").write_bytes(b"")
    widget, taken = chooser(start)
    listed = [(e["name"], e["kind"]) for e in widget.entries]
    assert listed == [("more", "folder"), ("a.tif", "slide"), ("b.SVS", "slide")]
    for name in ("../secret.svs", "notes.txt", str(tmp_path / "secret.svs"), ".hidden.svs", ""):
        message_from_page(widget, {"kind": "open", "name": name})
    for name in ("..", "../..", str(tmp_path)):
        message_from_page(widget, {"kind": "enter", "name": name})
    assert (taken, widget.folder) == ([], "start")
    message_from_page(widget, {"kind": "enter", "name": "more"})
    assert (widget.folder, widget.entries) == (str(Path("start", "more")), [{"name": "..", "kind": "up"}])
    message_from_page(widget, {"kind": "enter", "name": ".."})
    message_from_page(widget, {"kind": "open", "name": "a.tif", "mpp": 3})
    assert taken == [(start / "a.tif", None)], "a pixel size is taken only where it was asked for"
    assert widget.chosen == "a.tif"


def test_what_is_wrong_is_said_and_a_pixel_size_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_text("not a slide")

    def choose(path: Path, mpp: float | None) -> None:
        if mpp is None:
            raise NoPixelSize("how large?")

    widget = SlideChooser(tmp_path, choose)
    message_from_page(widget, {"kind": "open", "name": "a.svs"})
    assert (widget.asks, widget.said, widget.chosen) == ("a.svs", "how large?", "")
    message_from_page(widget, {"kind": "open", "name": "a.svs", "mpp": 0.25})
    assert (widget.asks, widget.said, widget.chosen) == ("", "", "a.svs")


class Network:
    """In the place of a Segmenter, for pages."""

    def __init__(self, slide: PaintedSlide) -> None:
        perfect = PerfectPredictor(slide)
        self.predict, self.rules = perfect.predict, perfect.rules
        self.taxonomy, self.loaded = perfect.taxonomy, perfect.loaded


def test_the_page_opens_slides_and_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore_page, "_load", lambda *_: Network(PaintedSlide((64, 64))))
    (tmp_path / "bad.svs").write_text("This is a text file.")
    write_pyramid(tmp_path / "unknown.tif", marked(300, 300))
    page = ExplorePage(tmp_path)
    message_from_page(page.chooser, {"kind": "open", "name": "bad.svs"})
    assert "bad.svs" in page.chooser.said
    assert "\n" not in page.chooser.said
    assert len(page.box.children) == 1
    message_from_page(page.chooser, {"kind": "open", "name": "unknown.tif"})
    assert page.chooser.said.startswith("unknown.tif does not say how large its pixels are")
    message_from_page(page.chooser, {"kind": "open", "name": "unknown.tif", "mpp": 0.25})
    assert (page.chooser.said, len(page.box.children)) == ("", 2)
    viewer = page.box.children[1]
    end = time.monotonic() + 60
    while viewer.facts["map"] is None and time.monotonic() < end:
        time.sleep(0.02)
    assert viewer.facts["live"]
    message_from_page(page.chooser, {"kind": "again"})
    assert page.box.children == (page.chooser,)
    assert page.chooser.chosen == ""


def test_a_network_that_cannot_be_loaded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Any:
        raise FileNotFoundError("there are no weights 'x'")

    monkeypatch.setattr(explore_page, "_load", missing)
    page = ExplorePage(tmp_path, slide=write_pyramid(tmp_path / "a.tif", marked(300, 300), 0.25))
    viewer = page.box.children[1]
    end = time.monotonic() + 60
    while "loaded" in viewer.progress and time.monotonic() < end:
        time.sleep(0.02)
    assert viewer.progress == "Nothing can be found: there are no weights 'x'"
    page.close()


def test_the_command_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none.svs; check the name and the folder"):
        explore.run(tmp_path / "none.svs", None, None, False, None, False, 0)
    monkeypatch.setitem(sys.modules, "voila.app", None)
    with pytest.raises(ImportError, match=r"`pano-med explore` needs Voila: pip install 'pano-med\[explore\]'"):
        explore.run(None, None, None, False, None, False, 0)


def test_a_result_is_shown_over_its_own_slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore_page, "_load", lambda *_: None)
    path = write_pyramid(tmp_path / "s.tif", marked(512, 512), 0.25)
    slide = {"name": "s.tif", "size": [512, 512], "mpp": 0.25, "fingerprint": fingerprint(path)}
    write_result(tmp_path / "r", *painted(), slide=slide)
    page = ExplorePage(tmp_path, slide=tmp_path / "r")
    assert page.chooser.said == ""
    assert isinstance(page.box.children[1]._pixels, SlidePixels)
    path.write_bytes(path.read_bytes() + b" ")
    page.chooser.take(tmp_path / "r")
    assert not isinstance(page.box.children[1]._pixels, SlidePixels), "another file of that name is not its slide"
    page.close()
