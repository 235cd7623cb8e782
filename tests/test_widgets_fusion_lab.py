"""The fusion lab without a browser: what travels to the page, what it refuses, and the page that is saved."""

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import fusion_lab as page_maker
import numpy as np
import pytest

from pano_med.lessons.fusing import Merger
from pano_med.lessons.fusing_examples import Example, recorded, tiny
from pano_med.metrics import things_quality
from pano_med.types import HE_CORE, Panoptic
from pano_med.widgets.fusion_lab import LEFTOVER, VOID, FusionLab

PAGE = Path(__file__).parents[1] / "docs" / "fusion_lab.html"
OWNER = LEFTOVER - 1


@pytest.fixture(scope="module")
def tile() -> Example:
    return recorded()


@pytest.fixture(scope="module")
def lab(tile: Example) -> FusionLab:
    return FusionLab(tile.image, Merger(tile.prediction), truth=tile.truth)


def _maps(answer: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    return np.frombuffer(zlib.decompress(answer["maps"]), "<u2").reshape(size)


@pytest.mark.parametrize("rule", ["paper", "official code", "heuristic", "this package"])
def test_what_travels_is_what_the_merge_said(lab: FusionLab, tile: Example, rule: str) -> None:
    answer = lab.answer(rule, 0.5, 0.5, 400)
    fused = Merger(tile.prediction)(rule, 0.5, 0.5, 400)
    maps, num_stuff = _maps(answer, (192, 192)), tile.prediction.taxonomy.num_stuff
    assert np.array_equal(maps & VOID > 0, fused.trace.void)
    assert np.array_equal(maps & LEFTOVER > 0, fused.trace.leftovers)
    owner = maps & OWNER
    for index, segment in fused.kept.items():
        assert np.array_equal(owner == num_stuff + 1 + index, fused.trace.things == segment)
    assert np.array_equal(owner[owner <= num_stuff], fused.trace.intermediate[owner <= num_stuff])
    pq, sq, rq = things_quality(tile.truth, fused.panoptic).mean("things")
    (row,) = answer["scores"]
    assert (row["pq"], row["sq"], row["rq"]) == pytest.approx((pq, sq, rq), abs=1e-4)
    assert [fate[0] for fate in answer["fates"]] == [i in fused.kept for i in range(30)]
    assert answer["void"] == pytest.approx(fused.trace.void.mean())


def test_logits_travel_with_three_digits(lab: FusionLab, tile: Example) -> None:
    window = lab.setup["windows"]["official code"]
    data = np.frombuffer(zlib.decompress(window["data"]), "<f2").astype(np.float32)
    layers = Merger(tile.prediction).layers("official code")
    parts = ("mask_logits", "semantic_logits", "fused_logits")
    expected = np.concatenate([getattr(layers[i], part).ravel() for i in sorted(layers) for part in parts])
    assert data == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert window["places"]["0"] == list(layers[0].window)
    assert lab.setup["windows"]["this package"] == "paper"  # the same windows: sent once
    assert not lab.setup["windows"]["heuristic"]["fused"]


def test_truth_with_tissue_scores_all_classes_too() -> None:
    example = tiny()
    lab = FusionLab(example.image, Merger(example.prediction), truth=example.truth)
    assert [row["name"] for row in lab.first["scores"]] == ["things", "all classes"]
    assert FusionLab(example.image, Merger(example.prediction)).first["scores"] == []


def test_the_page_asks_and_python_answers(tile: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = FusionLab(tile.image, Merger(tile.prediction))
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    monkeypatch.setattr(lab, "send", lambda content, buffers=None: sent.append((content, buffers)))
    ask = {"kind": "ask", "rule": "heuristic", "score": 0.6, "overlap": 0.3, "min_area": 5}
    lab._handle_custom_msg(ask, [])
    (content, (maps,)) = sent[0]
    expected = lab.answer("heuristic", 0.6, 0.3, 5)
    assert maps == expected.pop("maps")
    assert content == {"kind": "answer", **expected}
    lab._handle_custom_msg({**ask, "rule": "none"}, [])
    assert "the rule must be one of" in lab.fault
    lab._handle_custom_msg(ask, [])
    assert lab.fault == ""


def test_what_it_cannot_show_gets_a_sentence(tile: Example) -> None:
    merge = Merger(tile.prediction)
    with pytest.raises(TypeError, match="`merge` must be a pano_med.lessons.fusing.Merger, got Prediction"):
        FusionLab(tile.image, tile.prediction)
    with pytest.raises(ValueError, match=re.escape("one size (H, W), got (100, 192) and (192, 192)")):
        FusionLab(tile.image[:100], merge)
    with pytest.raises(TypeError, match="the image must be uint8"):
        FusionLab(tile.image / 255, merge)
    with pytest.raises(ValueError, match="the rule must be one of"):
        FusionLab(tile.image, merge, rule="other")
    small = Panoptic.from_ids(np.zeros((5, 5), int), {}, HE_CORE)
    with pytest.raises(ValueError, match="`truth` must have one size"):
        FusionLab(tile.image, merge, truth=small)
    stranger = Panoptic.from_ids(np.zeros((192, 192), int), {}, tiny().truth.taxonomy)
    with pytest.raises(ValueError, match="one taxonomy, got 'tiny' and 'he-core'"):
        FusionLab(tile.image, merge, truth=stranger)


def test_large_images_are_refused(tile: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pano_med.widgets.fusion_lab.MOST_PIXELS", 1000)
    with pytest.raises(ValueError, match="a small image, at most 1000 pixels, got 192 x 192; cut out a part"):
        FusionLab(tile.image, Merger(tile.prediction))


def test_static_picture_and_words(lab: FusionLab) -> None:
    still = lab.still()
    assert still.dtype == np.uint8
    assert still.shape[1] > 700
    assert lab.alt() == ("Fusion lab: 30 instances, 23 kept by the rule 'paper' at score 0.5 and overlap 0.5; "
                         "void 0.0% of pixels.")


# -- the saved page ------------------------------------------------------------------------------------------------


def _state(page: str) -> dict[str, Any]:
    found = re.search(r"pano\.pageModel\(pano\.revive\((.*)\)\), el:", page)
    assert found
    state: dict[str, Any] = json.loads(found[1].replace("<\\/", "</"))
    return state


def _bytes(value: dict[str, str]) -> bytes:
    return base64.b64decode(value["$bytes"])


def test_every_setting_of_the_saved_page_is_what_python_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pano_med.widgets.fusion_lab.SCORES", (0.5, 0.7, 0.95))
    example = tiny(fragment=True)
    lab = FusionLab(example.image, Merger(example.prediction), truth=example.truth)
    state = _state(lab.html())
    answers, grids = state["answers"], state["setup"]["grids"]
    seen = 0
    for rule, by_score in answers["index"].items():
        for i, score in enumerate(grids["score"]):
            for j, overlap in enumerate(grids["overlap"]):
                for k, area in enumerate(grids["min_area"]):
                    row = answers["list"][by_score[i][j][k]]
                    expected = lab.answer(rule, score, overlap, area)
                    assert [answers["words"][n] for n in row["fates"]] == expected["fates"]
                    assert row["scores"] == expected["scores"]
                    saved = zlib.decompress(_bytes(answers["maps"][row["maps"]]))
                    assert saved == zlib.decompress(expected["maps"])
                    seen += 1
    assert seen == 4 * 3 * 7 * len(grids["min_area"])
    assert len(answers["maps"]) < len(answers["list"]) < seen  # equal results are kept once


def test_saving_twice_gives_the_same_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pano_med.widgets.fusion_lab.SCORES", (0.5,))
    example = tiny()
    for name in ("one", "two"):
        FusionLab(example.image, Merger(example.prediction), title="<b>").save_html(tmp_path / name, source="a & b")
    text = (tmp_path / "one").read_text(encoding="utf-8")
    assert text == (tmp_path / "two").read_text(encoding="utf-8")
    assert "<h1" in text
    assert "&lt;b&gt;</h1>" in text
    assert "a &amp; b</p>" in text


def test_the_shipped_page_is_up_to_date(lab: FusionLab, tile: Example) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(text) <= 3_000_000
    again = "run `make fusion-lab` to write docs/fusion_lab.html again"
    script, style = str(lab._esm).replace("export default", "const widget ="), str(lab._css)
    assert script in text, again
    assert style in text, again
    assert tile.source.replace("&", "&amp;") in text, again
    state = _state(text)
    grids, answers = state["setup"]["grids"], state["answers"]
    some = [("paper", 3, 3, 0), ("official code", 5, 1, 1), ("heuristic", 8, 6, 2), ("this package", 0, 0, 2)]
    for rule, i, j, k in some:
        row = answers["list"][answers["index"][rule][i][j][k]]
        now = lab.answer(rule, grids["score"][i], grids["overlap"][j], grids["min_area"][k])
        saved = zlib.decompress(_bytes(answers["maps"][row["maps"]]))
        assert saved == zlib.decompress(now["maps"]), again
        assert [answers["words"][n] for n in row["fates"]] == now["fates"], again
    for name in ("semantic", "windows"):
        kept, made = state["setup"][name], lab.setup[name]
        one, two = (kept, made) if name == "semantic" else (kept["paper"]["data"], made["paper"]["data"])
        assert zlib.decompress(_bytes(one)) == zlib.decompress(two), again


def test_the_page_maker_uses_the_recorded_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pano_med.widgets.fusion_lab.SCORES", (0.5,))
    monkeypatch.setattr("pano_med.widgets.fusion_lab.OVERLAPS", (0.5,))
    page_maker.write(tmp_path / "page.html")
    state = _state((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert state["setup"]["size"] == [192, 192]
    assert state["setup"]["grids"]["score"] == [0.5]


def test_nothing_in_the_page_leads_outside() -> None:
    addresses = set(re.findall(r"https?://[^\s\"'`<>)]+", PAGE.read_text(encoding="utf-8")))
    assert addresses <= {"http://www.w3.org/2000/svg"}, addresses
