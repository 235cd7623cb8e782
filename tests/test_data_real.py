"""The real sets: counts of the data cards, the written split, and that nothing leaks across it."""

import hashlib
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pano_med import data
from pano_med.data.hashes import check_hashes
from pano_med.types import Sample

SETS = (
    "dsb2018_tissue",
    "tnbc_breast_nuclei",
    "histolytics_hgsc",
    "bcss_breast_tumour_regions",
    "ocdc_oral_tumour_regions",
    "csmp_cervix_panoptic",
    "ebhi_polyp_glands",
    "camelyon_lymphnode_tumour_regions",
)
TRAINING = [name for name in SETS if data.card(name).training]
#: SHA-256 (first 16 digits) of all samples, as they were when each set had its recipe in code.
FINGERPRINTS = {
    "dsb2018_tissue": "ea01ea454e8ca36e",
    "tnbc_breast_nuclei": "6085535f59a37de7",
    "histolytics_hgsc": "db2b522dd6f9378c",
    "bcss_breast_tumour_regions": "6e735f1c16d0abb9",
    "ocdc_oral_tumour_regions": "8ec1d8ddebf19a93",
    "csmp_cervix_panoptic": "c2d61cee111c574f",
}

SECONDS: dict[str, float] = {}


@pytest.fixture(scope="module")
def sets(data_root: Path) -> dict[str, list[Sample]]:
    loaded = {}
    for name in SETS:
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
        "ebhi_polyp_glands": (39, 370),
        "camelyon_lymphnode_tumour_regions": (14, 0),
    }


def fingerprint(samples: list[Sample]) -> str:
    digest = hashlib.sha256()
    for s in samples:
        segments = [(x.id, x.category_id, x.area, x.iscrowd) for x in s.truth.segments]
        head = (s.name, s.group, s.source, s.pixel_size_um, sorted(s.known), segments, tuple(s.image.shape))
        digest.update(repr(head).encode() + s.image.numpy().tobytes() + s.truth.ids.astype("<i4").tobytes())
        digest.update(b"" if s.ignore is None else s.ignore.numpy().tobytes())
    return digest.hexdigest()[:16]


def test_cards_give_the_samples_that_the_shipped_weights_were_trained_on(sets: dict[str, list[Sample]]) -> None:
    assert {name: fingerprint(sets[name]) for name in FINGERPRINTS} == FINGERPRINTS


def test_loading_4550_masks_is_quick(sets: dict[str, list[Sample]]) -> None:
    assert SECONDS["dsb2018_tissue"] < 15  # 2 s on an idle core


def test_every_file_is_listed_and_every_listed_file_is_there(sets: dict[str, list[Sample]]) -> None:
    for name in TRAINING:
        assert {s.name for s in sets[name]} == data.written_split(name).names


def test_no_group_on_both_sides(sets: dict[str, list[Sample]]) -> None:
    train, validation = data.split(s for name in TRAINING for s in sets[name])
    shared = {(s.source, s.group) for s in train} & {(s.source, s.group) for s in validation}
    assert {source for source, _ in shared} == {n for n in TRAINING if data.written_split(n).same_slide}
    assert len(train) + len(validation) == 141 + 39 + 14 - 4
    left_out = data.written_split("tnbc_breast_nuclei").left_out
    assert len(left_out) == 4
    assert not left_out & {s.name for s in (*train, *validation)}
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


def test_glands_and_stroma_cover_every_pixel(sets: dict[str, list[Sample]]) -> None:
    samples = sets["ebhi_polyp_glands"]
    assert {s.truth.taxonomy.name for s in samples} == {"glands"}
    assert all((s.truth.ids > 0).all() and s.ignore is None for s in samples)
    assert len({s.group for s in samples}) == 29
    train, validation = data.split(samples)
    assert (len(train), len(validation)) == (29, 10)
    assert not {s.group for s in train} & {s.group for s in validation}
    assert data.same_field(samples) == []


def test_red_is_red_in_lymph_nodes(sets: dict[str, list[Sample]]) -> None:
    for s in sets["camelyon_lymphnode_tumour_regions"]:
        red, green, blue = s.image.reshape(3, -1)[:, ::16].float()
        assert (blue - red)[green <= green.quantile(0.05)].mean() > 20


def test_cards_say_what_the_files_hold(sets: dict[str, list[Sample]]) -> None:
    for name, samples in sets.items():
        card = data.card(name)
        assert {card.taxonomy[c].id for c in card.known} == samples[0].known
        assert (card.counts["tiles"], card.counts["instances"]) == (len(samples), things(samples)), name
        if card.training:
            validation = data.split(samples).validation
            said = (card.counts["validation_tiles"], card.counts["validation_instances"], card.counts["groups"])
            assert said == (len(validation), things(validation), len({s.group for s in samples})), name


def test_counts_of_classes(data_root: Path) -> None:
    for name in ("histolytics_hgsc", "csmp_cervix_panoptic", "ebhi_polyp_glands"):
        found: Counter[int] = Counter()
        for s in data.load(name, data_root, own=True):
            for x in s.truth.segments:
                found[x.category_id] += 1 if s.truth.taxonomy[x.category_id].isthing else x.area
        assert {row["id"]: row["count"] for row in data.card(name).front["classes"]} == found


@pytest.mark.parametrize("name", SETS)
def test_hashes(data_root: Path, name: str) -> None:
    assert check_hashes(data.card(name), data_root) == []
