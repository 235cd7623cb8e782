"""The real sets: counts of the data cards, the written split, and that nothing leaks across it."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pano_med import data
from pano_med.types import HE_CORE, Sample

TRAINING = [name for name, recipe in data.RECIPES.items() if recipe.training]
CARDS = Path(__file__).parent.parent / "data_cards"


SECONDS: dict[str, float] = {}


@pytest.fixture(scope="module")
def sets(data_root: Path) -> dict[str, list[Sample]]:
    loaded = {}
    for name in data.RECIPES:
        start = time.process_time()
        loaded[name] = data.load(name, data_root)
        SECONDS[name] = time.process_time() - start
    return loaded


def things(samples: list[Sample]) -> int:
    return sum(len(s.truth.things) for s in samples)


def test_counts(sets: dict[str, list[Sample]]) -> None:
    assert {name: (len(s), things(s)) for name, s in sets.items()} == {
        "dsb2018_tissue": (107, 4550),
        "tnbc_breast_nuclei": (20, 1100),
        "histolytics_hgsc": (4, 1699),
        "bcss_breast_tumour_regions": (2, 0),
        "ocdc_oral_tumour_regions": (8, 0),
        "csmp_cervix_panoptic": (3, 125),
    }


def test_loading_4550_masks_is_quick(sets: dict[str, list[Sample]]) -> None:
    assert SECONDS["dsb2018_tissue"] < 15  # 2 s on an idle core


def test_every_file_is_listed_and_every_listed_file_is_there(sets: dict[str, list[Sample]]) -> None:
    for name in TRAINING:
        assert {s.name for s in sets[name]} == data.written_split(name).names


def test_no_group_on_both_sides(sets: dict[str, list[Sample]]) -> None:
    train, validation = data.split(s for name in TRAINING for s in sets[name])
    shared = {(s.source, s.group) for s in train} & {(s.source, s.group) for s in validation}
    assert {source for source, _ in shared} == {n for n in TRAINING if data.written_split(n).same_slide}
    assert len(train) + len(validation) == 141
    held_out = {n: np.mean([s.source == n for s in validation]) * len(validation) / len(sets[n]) for n in TRAINING}
    assert 0.2 <= held_out["dsb2018_tissue"] <= 0.25
    assert 0.35 <= held_out["tnbc_breast_nuclei"] <= 0.4
    looks = {s.group.rsplit("-", 1)[0] for s in validation if s.source == "dsb2018_tissue"}
    assert looks == {"purple-low", "purple-high", "white", "pink"}


def test_no_two_crops_of_one_field_are_divided(sets: dict[str, list[Sample]]) -> None:
    samples = sets["dsb2018_tissue"] + [s for s in sets["ocdc_oral_tumour_regions"] if s.size == (640, 640)]
    pairs = data.same_field(samples)
    assert len(pairs) >= 106  # 106 seams inside dsb2018_tissue
    side = {id(s): k for k, part in enumerate(data.split(samples)) for s in part}
    assert all(side[id(samples[i])] == side[id(samples[j])] for i, j in pairs)


def test_a_near_duplicate_across_the_split_is_noticed(sets: dict[str, list[Sample]]) -> None:
    train, validation = data.split(sets["dsb2018_tissue"])
    noise = torch.randint(-2, 3, train[0].image.shape, generator=torch.Generator().manual_seed(0))
    twin = replace(train[0], image=(train[0].image + noise).clamp(0, 255).to(torch.uint8))
    assert data.same_field([train[0], validation[0]]) == []
    assert data.same_field([train[0], validation[0], twin]) == [(0, 2)]


def test_the_written_clusters_are_those_that_the_rule_finds(sets: dict[str, list[Sample]]) -> None:
    samples = sets["dsb2018_tissue"]
    found = data.look_alikes(samples)
    pairs = {(int(f), s.group) for f, s in zip(found, samples, strict=True)}
    assert len(pairs) == len({f for f, _ in pairs}) == len({g for _, g in pairs}) == 14


def test_painted_corners_are_ignored_and_tissue_is_not(sets: dict[str, list[Sample]]) -> None:
    for s in sets["tnbc_breast_nuclei"]:
        covered = 0.0 if s.ignore is None else float(s.ignore.float().mean())
        if s.name.startswith(("rotated_30", "rotated_150", "rotated_210")):
            corner = s.image[:, :30, :30].float()
            assert s.ignore[:30, :30].all()
            assert corner.std((1, 2)).max() < 1
            assert 0.1 < covered < 0.25
        else:
            assert covered < 0.02


def test_red_is_red_in_the_tissue_sets(sets: dict[str, list[Sample]]) -> None:
    """The mirrors of these two sets exchange red and blue. Nuclei are blue, red cells and keratin are red."""
    for s in sets["bcss_breast_tumour_regions"]:
        red, green, blue = s.image.reshape(3, -1)[:, ::16].float()
        assert (blue - red)[green <= green.quantile(0.05)].mean() > 20
    reddest = [(s.image[0].float() - s.image[2].float()).quantile(0.99) for s in sets["ocdc_oral_tumour_regions"]]
    bluest = [(s.image[2].float() - s.image[0].float()).quantile(0.99) for s in sets["ocdc_oral_tumour_regions"]]
    assert np.median(reddest) > 1.5 * np.median(bluest)


def test_cards_say_what_the_recipes_do(sets: dict[str, list[Sample]]) -> None:
    for name, samples in sets.items():
        _, front, prose = (CARDS / f"{name}.md").read_text("utf-8").split("---\n", 2)
        card = yaml.safe_load(front)
        assert card["name"] == name
        assert "not for diagnosis" in card["intended_use"].lower()
        assert len(prose) > 300
        assert {HE_CORE[c].id for c in card["known"]} == samples[0].known
        assert (card["counts"]["samples"], card["counts"]["nuclei"]) == (len(samples), things(samples))
        for key in ("licence", "source", "citation", "label_faults"):
            assert card[key]
