"""Data cards: the schema, what a schema cannot say, hashes, Croissant, and that an installed package has them."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
from card_cases import boxes, changed, picture, put
from jsonschema import Draft202012Validator

from pano_med import data
from pano_med.data import codecs
from pano_med.data.croissant import croissant
from pano_med.data.hashes import check_hashes, compare, digests, listed
from pano_med.data.rules import card_folder
from pano_med.types import HE_CORE

ROOT = Path(__file__).parents[1]
EACH = pytest.mark.parametrize("name", data.card_names())
SCHEMA = json.loads((ROOT / "data_cards" / "schema.json").read_text("utf-8"))
#: Published sets, and those whose files lie beside the project.
HISTOLOGY = {
    "bcss_breast_tumour_regions", "camelyon_lymphnode_tumour_regions", "conic", "consep", "cryonuseg",
    "csmp_cervix_panoptic", "dsb2018_tissue", "ebhi_polyp_glands", "histolytics_hgsc", "lizard", "monusac", "monuseg",
    "nuinsseg", "ocdc_oral_tumour_regions", "pannuke", "panoptils", "panoptils_refined", "puma", "tnbc_breast_nuclei",
}


def test_the_schema_is_one_and_explains_every_rule() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    silent = [key for key, rule in SCHEMA["properties"].items() if not rule.get("description")]
    assert silent == []
    assert set(data.card_names()) >= HISTOLOGY


@EACH
def test_each_card_is_read_and_written_for_people(name: str) -> None:
    card = data.card(name)
    assert card.name == name
    assert len(card.title) > 5
    assert len(card.prose) > 300
    assert "not for diagnosis" in card.front["out_of_scope"] or name not in HISTOLOGY
    assert set(card.codes(card.taxonomy).things.values()) <= {c.id for c in card.taxonomy.all if c.isthing} | {0}
    assert set(card.codes(card.own).stuff.values()) <= {c.id for c in card.own.stuff}


@EACH
def test_known_things_are_drawn_exhaustively(name: str) -> None:
    """A category of he-core is known only where every class that is mapped to it was drawn."""
    card = data.card(name)
    assert card.known_ids(card.taxonomy)
    if card.taxonomy == HE_CORE:
        mapped = {row.mapped for row in card.rows}
        assert set(card.known) <= mapped, set(card.known) - mapped


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")  # mlcroissant's own
@EACH
def test_croissant_passes_and_names_a_licence(name: str, caplog: pytest.LogCaptureFixture) -> None:
    document = croissant(data.card(name))
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(jsonld=json.loads(json.dumps(document)))
    assert document["license"]  # a missing licence is only a warning there
    said = caplog.text
    assert "context" not in said.replace("contextlib", "")
    assert "error" not in said.lower()
    rows = list(dataset.records("classes"))
    assert [row["classes/id"] for row in rows] == [c.id for c in data.card(name).own.all]


def test_croissant_lists_files_with_their_hashes() -> None:
    files = croissant(data.card("ebhi_polyp_glands"))["distribution"]
    assert len(files) == 78
    assert all(len(f["sha256"]) == 64 for f in files)
    nuclei = croissant(data.card("dsb2018_tissue"))["distribution"]
    assert {f["@type"] for f in nuclei} == {"cr:FileObject", "cr:FileSet"}
    assert croissant(data.card("puma"))["distribution"][0]["sha256"].startswith("a69fd0d8")
    assert croissant(data.card("lizard"))["license"] == "unknown; ask the authors"


# --- a card that breaks a rule: the field and the rule, in one sentence

ROW = {"kind": "thing", "id": 1, "name": "a", "count": 1, "code": 1, "as": "nucleus"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"stain": None}, "field 'stain' is missing; `unknown` is a value where nobody said"),
    ({"colour": "red"}, "field 'colour' is not one that a card has"),
    ({"doi": "zenodo 1"}, "field 'doi' must be a DOI such as 10.1000/182, or unknown, it is \"zenodo 1\""),
    ({"real": "yes"}, "field 'real' must be true, or false for synthetic images, it is \"yes\""),
    ({"real": False}, "field 'seed' is missing"),
    ({"pixel_size_um": -1}, "field 'pixel_size_um' must be the side of a pixel in micrometres, .* it is -1"),
    ({"out_of_scope": "nothing"}, "field 'out_of_scope' must be what the set is not for; it says 'not for diagnosis'"),
    ({"counts": {"patients": 1}}, "field 'counts.slides' is missing"),
    ({"licence": {"name": "CC0"}}, "field 'licence.redistribution' is missing"),
    ({"known": ["nuclei"]}, r"field 'known' must name classes of the taxonomy 'he-core', \['nuclei'\] are not"),
    ({"known": "nucleus"}, "field 'known' must be a list of classes .* it is \"nucleus\""),
    ({"split": {"by": "case", "source": "files"}}, "field 'split.parts' is missing"),
    ({"split": {"by": "case", "source": "chance"}}, "field 'split.source' must be written, files, dealt or none"),
    ({"name": "Own Set"}, "field 'name' must be small letters, digits and _"),
    ({"classes": [{**ROW, "id": 0}]}, r"field 'classes.0.id' must be a whole number from 1"),
    ({"classes": [{"kind": "thing", "name": "a", "count": 1}]}, r"field 'classes.0.id' is missing"),
    (
        {"classes": [{**ROW, "as": "cell"}]},
        r"field 'classes': `as` must name a class of he-core of the same kind, or void; see \['a'\]",
    ),
    (
        {"classes": [{**ROW, "id": k, "name": f"n{k}"} for k in (1, 2)]},
        r"field 'classes': a code may stand once among things and once among stuff, \[1\] do not",
    ),
    (
        {"classes": [{**ROW, "code": k, "name": f"n{k}"} for k in (1, 2)]},
        r"field 'classes': each category id may stand once",
    ),
    ({"reading": {"folder": "x", "layouts": []}}, "field 'reading.layouts' must be a list of at least one layout"),
    (
        {"reading": {"folder": "x", "layouts": [{"image": "a", "codec": "magic"}]}},
        "field 'reading.layouts.0.codec' must be one of .*polygons.*, it is 'magic'",
    ),
    (
        {"reading": {"folder": "x", "layouts": [{"image": "a(", "codec": "polygons"}]}},
        "field 'reading.layouts.0.image' must be a regular expression",
    ),
    (
        {"reading": {"folder": "x", "layouts": [{"image": "a", "codec": "polygons"}], "borders": "round"}},
        "field 'reading.borders' must be one of augmented, mirrored, it is 'round'",
    ),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_a_card_that_breaks_a_rule(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"\.md: {message}"):
        changed("tnbc_breast_nuclei", tmp_path, **fields)


def test_a_file_that_is_no_card(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    with pytest.raises(FileNotFoundError, match=r"there is no card .*x\.md; check the name"):
        data.read_card(path)
    path.write_text("# Hello\n")
    with pytest.raises(ValueError, match="a card is YAML between two lines of ---, then a heading"):
        data.read_card(path)
    path.write_text("---\na: [\n---\n# Hello\n")
    with pytest.raises(ValueError, match=r"x\.md: the front matter is not YAML: "):
        data.read_card(path)
    path.write_text("---\n- a\n---\n# Hello\n")
    with pytest.raises(ValueError, match=r"x\.md: field '' must be fields of a card"):
        data.read_card(path)


def test_the_name_is_the_name_of_the_file(tmp_path: Path) -> None:
    card = changed("puma", tmp_path, name="other")
    shutil.copy(card.path, tmp_path / "third.md")
    with pytest.raises(ValueError, match="field 'name' must be the file's name 'third', it is 'other'"):
        data.read_card(tmp_path / "third.md")


# --- hashes


def own_set(root: Path) -> data.Card:
    for number in (1, 2):
        put(root / "images" / f"x{number}.png", picture(8, 8))
        put(root / "masks" / f"x{number}.png", boxes(8, 8, (0, 0, number + 1, 4, 255)))
    split = {"own": {"groups": {"x1": {"train": ["x1"]}, "x2": {"validation": ["x2"]}}}}
    (root / "splits.json").write_text(json.dumps(split))
    reading = {**data.card("tnbc_breast_nuclei").front["reading"], "folder": "own"}
    card = changed("tnbc_breast_nuclei", root, name="own", sha256="own.sha256", reading=reading,
                   split={"by": "image", "source": "written", "file": "splits.json"})
    (root / "own.sha256").write_text("".join(f"{h}  {p}\n" for p, h in digests(card, root).items()))
    return card


def test_a_set_of_ones_own_with_card_hashes_and_split_beside_it(tmp_path: Path) -> None:
    card = own_set(tmp_path)
    assert check_hashes(card, tmp_path) == []
    train, validation = data.load_split(card, tmp_path)
    assert ([s.name for s in train], [s.name for s in validation]) == (["x1"], ["x2"])
    wrong = {"own": {"groups": {"x1": {"left_out": ["x1"]}, "x2": {"validation": ["x2"]}}}}  # labels beside the things
    (tmp_path / "splits.json").write_text(json.dumps(wrong))
    assert [[s.name for s in part] for part in data.load_split(card, tmp_path)] == [[], ["x2"]]
    (tmp_path / "splits.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"the split .*splits\.json is missing; the card of own names it"):
        data.load_split(card, tmp_path)
    (tmp_path / "splits.json").write_text('{"own": {"groups": {"x1": {"train": ["x1"], "validation": ["x2"]}}}}')
    with pytest.raises(ValueError, match=r"a patient stands in one part, \['x1'\] in two"):
        data.load_split(card, tmp_path)
    (tmp_path / "splits.json").write_text('{"own": {"train": []}}')
    with pytest.raises(ValueError, match=r"splits\.json must hold groups with lists of names for own"):
        data.load_split(card, tmp_path)


def test_files_that_are_not_those_of_the_card(tmp_path: Path) -> None:
    card = own_set(tmp_path)
    put(tmp_path / "masks" / "x1.png", boxes(8, 8, (0, 0, 8, 4, 255)))
    (changed_file,) = check_hashes(card, tmp_path)
    assert changed_file.startswith("own: 1 files differ from the card's list; fetch them again")
    assert changed_file.endswith(": masks/x1.png")
    expected = listed(card)
    assert compare("own", expected, {k: v for k, v in expected.items() if "x2" not in k}) == [
        "own: 2 files are listed and missing; fetch them again: images/x2.png, masks/x2.png"
    ]
    (more,) = compare("own", expected, expected | {"images/x3.png": "0"})
    assert more.startswith("own: 1 files are here and not listed")
    assert "another published layout" in compare("own", expected, {"Slide_01/01_1.png": "0"})[0]


def test_lists_of_hashes_that_cannot_be_read(tmp_path: Path) -> None:
    card = own_set(tmp_path)
    (tmp_path / "own.sha256").write_text("abc  images/x1.png\n")
    with pytest.raises(ValueError, match=r"own\.sha256, line 1: a line is a SHA-256"):
        check_hashes(card, tmp_path)
    (tmp_path / "own.sha256").unlink()
    with pytest.raises(FileNotFoundError, match=r"own\.sha256 is missing; field 'sha256' of own\.md names it"):
        check_hashes(card, tmp_path)
    assert check_hashes(data.card("puma"), tmp_path) == []  # nobody published hashes of the single files


def test_many_masks_of_one_image_are_one_line(tmp_path: Path) -> None:
    put(tmp_path / "abc" / "images" / "abc.png", picture(8, 8))
    for k in range(6):
        put(tmp_path / "abc" / "masks" / f"{k}.png", boxes(8, 8, (k, 0, k + 1, 8, 255)))
    found = digests(data.card("dsb2018_tissue"), tmp_path)
    assert list(found) == ["abc/images/abc.png", "abc/masks/*"]
    put(tmp_path / "abc" / "masks" / "3.png", boxes(8, 8))
    again = digests(data.card("dsb2018_tissue"), tmp_path)
    assert [found[k] == again[k] for k in found] == [True, False]


# --- the package


def test_codecs_explain_themselves_and_are_all_used() -> None:
    used = {layout.codec for name in data.card_names() for layout in data.card(name).layouts}
    assert used == set(codecs.CODECS)
    assert all(f.__doc__ for f in codecs.CODECS.values())


def test_cards_lie_at_the_top_of_a_checkout() -> None:
    assert card_folder() == ROOT / "data_cards"


@pytest.mark.slow
def test_the_wheel_has_the_cards(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("pano_med", "data_cards"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    pip = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", "out"]
    subprocess.run(pip, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    site = tmp_path / "site"
    code = "from pano_med import data; print(data.card_names(), data.card('puma').path)"
    said = subprocess.run([sys.executable, "-c", code], cwd=site, check=True, capture_output=True, text=True).stdout
    assert said.strip() == f"{data.card_names()} {site / 'pano_med' / 'data_cards' / 'puma.md'}"
    assert (site / "pano_med" / "data_cards" / "dsb2018_tissue.sha256").is_file()
