"""The page about a slide: one file, every text escaped, nuclei before their types, figures that add up."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from slide_cases import write_pyramid
from slide_results import MPP, SLIDE, painted, write_result
from test_report import Pages
from typer.testing import CliRunner

from pano_med.cli.app import app
from pano_med.slides import open_slide
from pano_med.slides.figures import histogram
from pano_med.slides.neighbours import neighbourhood
from pano_med.slides.report import Figures, _lead, _things, _tiles, html, write_report
from pano_med.slides.store import Result
from pano_med.slides.worst import FEWEST, picture, tile_box, worst_tiles
from pano_med.types import DEMONSTRATION, HE_CORE

EVIL = "<img src=x onerror=alert(1)>.svs"
SEAMS = {"verdict": "pass", "reasons": [], "band_pq": 0.912, "interior_pq": 0.915, "difference": 0.003, "duplicates": 0,
         "straight_edges_band": 0.012, "straight_edges_inside": 0.013, "density_ratio": 1.01, "places": 24}  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return write_result(tmp_path_factory.mktemp("slide"), *painted(), replace(HE_CORE, note=DEMONSTRATION))


def cells(text: str) -> dict[str, list[str]]:
    """The rows of all tables by their first cell; of several that begin alike, the first."""
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", text)]
    return {first: rest for first, *rest in reversed(rows)}


def without_pictures(text: str) -> str:
    return re.sub(r"data:image/(jpeg|png);base64,[A-Za-z0-9+/=]+", "", text)


def test_the_page_is_whole_and_loads_nothing(result, tmp_path):
    write_report(result, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Pages()
    page.feed(text)
    assert page.open == []
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    assert all(a["src"].startswith("data:image/") and "alt" in a for tag, a in page.tags if tag == "img")
    assert not re.search(r"https?://|url\(|@import", without_pictures(text))
    assert "research use only, not for diagnosis" in text
    assert "what the network painted, not what is there" in text
    assert "ab" * 32 in text  # the weights' hash


def test_counts_densities_and_areas_add_up(result):
    text, figures = html(result), Figures.of(result)
    total = sum(result.manifest["counts"].values())
    areas = result.manifest["areas_um2"]
    tissue = (areas["tumour"] + areas["other tissue"] + total * 36 * 0.25) / 1e6  # each nucleus is 6 x 6 px of 0.5 um
    assert figures.tissue_mm2 == pytest.approx(tissue)
    assert cells(text)["nuclei"] == [f"{total}", f"{total / tissue:,.0f}"]
    assert cells(text)["tumour"][0] == f"{areas['tumour'] / 1e6:.3f}"
    assert cells(text)["inflammatory nucleus"][:1] == [str(result.manifest["counts"]["inflammatory nucleus"])]
    assert figures.per_mm2(0) == 0
    places = [text.index(part) for part in ("<h2>Nuclei", "<h2>Demonstration: types of nuclei", "<h3>Types")]
    assert places == sorted(places)
    assert text.count(DEMONSTRATION) == 1


def test_validated_types_are_no_demonstration(tmp_path):
    text = html(write_result(tmp_path / "r", *painted(96)))
    assert "<h2>Types of nuclei</h2>" in text
    assert "emonstration" not in text


def test_glands_are_not_called_nuclei(result):
    figures = replace(Figures.of(result), counts={"gland": 3})
    assert figures.word == "glands"
    said = f"{_lead(result, figures)}{_things(figures)}{_tiles(result, None, figures.word)}"
    assert "<h2>Glands</h2>" in said
    assert "nuclei" not in without_pictures(said)


def test_plain_nuclei_have_no_demonstration(tmp_path):
    ids, classes = painted(96)
    text = html(write_result(tmp_path / "r", ids, np.where(ids > 0, 7, classes).astype(np.uint8), HE_CORE.plain()))
    assert "Demonstration" not in text
    assert "neoplastic" not in text


def test_names_from_files_are_never_html(tmp_path):
    slide = {"name": EVIL, "size": [192, 192], "mpp": MPP, "mpp_source": "<b>me</b>", **SLIDE}
    tiles = {"all": 4, "tissue": 3, "done": 2, "failed": [{"tile": 0, "reason": "<script>alert(2)</script>"}]}
    result = write_result(tmp_path / "r", *painted(96), slide=slide, tiles=tiles)
    (tmp_path / "r" / "seams.json").write_text(json.dumps(SEAMS | {"verdict": "fail", "reasons": ["<i>cut</i>"]}))
    text = html(result)
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    page = Pages()
    page.feed(text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "i")]
    assert not re.search(r"<img src=x|<b>me", text)


def test_the_seam_certificate_is_told_either_way(tmp_path):
    result = write_result(tmp_path / "r", *painted(96))
    assert "<code>pano-med seams DIR</code>" in html(result)
    path = tmp_path / "r" / "seams.json"
    path.write_text(json.dumps(SEAMS))
    rows = cells(html(result))
    assert rows["agreement with the shifted tiles (PQ)"] == ["0.912", "0.915"]
    assert rows["boundary that runs straight"] == ["1.2 %", "1.3 %"]
    assert "Pass: along seams" in html(result)
    assert 'role="alert"' not in html(result)
    path.write_text(json.dumps(SEAMS | {"verdict": "fail", "reasons": ["2 nuclei are there twice"], "band_pq": None}))
    text = html(result)
    assert "Fail: seams show" in text
    assert "<p>2 nuclei are there twice.</p>" in text
    assert 'role="alert"' in text
    assert cells(text)["agreement with the shifted tiles (PQ)"][0] == "–"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"seams\.json is not a seam certificate .*; make it again"):
        html(result)


def test_what_went_wrong_stands_at_the_top(tmp_path):
    tiles = {"all": 4, "tissue": 3, "done": 2, "failed": [{"tile": 3, "reason": "damaged"}]}
    slide = {"name": "a.tif", "size": [512, 512], "mpp": MPP, "mpp_source": "given", **SLIDE}
    result = write_result(tmp_path / "r", *painted(), tiles=tiles, slide=slide, state="running", too_large=[{}])
    text = html(result)
    notes = text[: text.index("<h2>")]
    assert "1 of 3 tiles could not be read" in notes
    assert "2 of 3 tiles with tissue are done" in notes
    assert "1 objects were larger" in notes
    assert "the file does not say how large its pixels are" in notes
    top, left, _, _ = tile_box(result, 3)
    assert cells(text)[f"row {top:.0f}, column {left:.0f}"] == ["damaged"]


def test_the_worst_tiles_have_the_lowest_mean_scores(result):
    table = result.instances(["tile", "score"]).to_pylist()
    means = {}
    for tile in {r["tile"] for r in table}:
        scores = [r["score"] for r in table if r["tile"] == tile]
        if len(scores) >= FEWEST:
            means[tile] = np.mean(scores)
    found = worst_tiles(result, 3)
    assert [t.number for t in found] == sorted(means, key=means.__getitem__)[:3]
    assert found[0].score == pytest.approx(min(means.values()))


def test_a_tile_is_drawn_over_its_slide(result, tmp_path):
    image = np.full((512, 512, 3), (90, 200, 90), np.uint8)
    with open_slide(write_pyramid(tmp_path / "a.tif", image, MPP)) as slide:
        drawn, bare = picture(result, (0, 200, 128, 400), slide), picture(result, (0, 200, 128, 400))
        assert drawn.shape == bare.shape == (64, 100, 3)
        assert np.median(drawn[..., 0]) < 140 < np.median(bare[..., 0])
        with pytest.raises(ValueError, match=r"a\.tif is not the slide of this result, which was a\.svs; leave"):
            write_report(result, tmp_path / "report.html", slide)


def test_neighbours_against_all_pairs():
    rng = np.random.default_rng(1)
    places, kinds = rng.random((200, 2)) * 600, rng.integers(0, 3, 200)
    found = neighbourhood(places, kinds, 0, 1)
    nearest = np.linalg.norm(places[kinds == 0][:, None] - places[kinds == 1][None], axis=-1).min(1)
    assert found is not None
    assert (found.near, found.distance_um) == (pytest.approx((nearest <= 50).mean()), pytest.approx(np.median(nearest)))
    apart = np.where(np.arange(200) < 100, 0, 1)
    split = neighbourhood(np.stack([apart * 9000 + places[:, 0], places[:, 1]], -1), apart, 0, 1)
    assert split is not None
    assert split.near == 0 < 0.5 < split.near_dealt  # two crowds that keep apart
    assert neighbourhood(places, kinds, 0, 7) is None


def test_a_histogram_counts_everything_once():
    values = np.append(np.linspace(1, 50, 99), 1000.0)
    svg = histogram(values, "um", "size <of> things")
    counts = [int(n.replace(",", "")) for n in re.findall(r": ([\d,]+)</title>", svg)]
    assert sum(counts) == 100
    assert counts[-1] >= 1  # the giant is in the last bar
    assert "&lt;of&gt;" in svg
    assert "median 26 um" in svg
    assert histogram(np.array([]), "um", "nuclei") == "<p>No nuclei.</p>"


def test_the_command_makes_the_page(result, tmp_path):
    done = CliRunner().invoke(app, ["slide-report", str(result.folder), "-o", str(tmp_path / "a.html")])
    assert done.exit_code == 0, done.output
    assert Path(done.output.strip().splitlines()[-1]).name == "a.html"
    assert "<h1>Slide a.svs</h1>" in (tmp_path / "a.html").read_text(encoding="utf-8")
