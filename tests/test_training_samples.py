"""What a run draws: classes as often as each other, samples read when needed, bad ones named; chance per image."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_models import target
from training_fakes import CPU, FakeNet, FakePipeline, samples

from pano_med.data import load_split
from pano_med.models import EfficientPS
from pano_med.training import TrainConfig, fit, load_weights
from pano_med.training.batches import Batches
from pano_med.training.lazy import lazy_split
from pano_med.training.sampler import TRIES, Sampler, unseen
from pano_med.transforms import train_pipeline
from pano_med.types import HE_CORE, LazySample, Panoptic, Sample, Taxonomy

pytestmark = pytest.mark.filterwarnings("ignore:no training sample shows")

NEOPLASTIC, INFLAMMATORY = (HE_CORE[n].id for n in ("neoplastic nucleus", "inflammatory nucleus"))


def lazy(sample: Sample, broken: str = "", **more) -> LazySample:
    def read() -> Sample:
        if broken:
            raise OSError(broken)
        return sample

    return LazySample(read, sample.name, sample.source, sample.group, **more)


def nuclei(kinds: list[int], name: str = "many") -> Sample:
    """64 px of tissue with a 4 px nucleus of each kind, side by side."""
    ids = np.ones((64, 64), np.int32)
    for i in range(len(kinds)):
        ids[20 : 20 + 4, 4 * i : 4 * i + 4] = i + 2
    truth = Panoptic.from_ids(ids, {1: 2} | {i + 2: kind for i, kind in enumerate(kinds)}, HE_CORE)
    return Sample(torch.rand(3, 64, 64), truth, name=name, known={c.id for c in HE_CORE.categories})


# --- classes


def test_rare_classes_are_drawn_as_often_as_common_ones() -> None:
    pool = [nuclei([NEOPLASTIC], f"n{i}") for i in range(19)] + [nuclei([INFLAMMATORY], "rare")]
    pool += [lazy(nuclei([], "tissue"), classes=frozenset({2})), lazy(nuclei([], "untold"))]
    drawn = Counter()
    for balanced in (False, True):
        sampler = Sampler(pool, {}, by_class=balanced)
        drawn[balanced] = sum(pool[i].name == "rare" for step in range(500) for i in sampler.indices(0, step, 4))
    assert drawn[False] / 2000 < 0.08  # 1 of 22
    assert abs(drawn[True] / 2000 - 0.25) < 0.03  # two classes, tissue without things, and one that nobody knows


def test_crops_are_laid_around_every_class_alike() -> None:
    crowd = nuclei([NEOPLASTIC] * 15 + [INFLAMMATORY])
    seen = {}
    for balanced in (False, True):
        chain = train_pipeline(32, by_class=balanced)
        crop = chain.transforms[1]
        crop.set_random_state(0)
        data = chain.transforms[0](crowd)
        seen[balanced] = np.mean([crop._thing(data)[1] >= 60 for _ in range(400)])
    assert seen[False] < 0.12  # 1 of 16
    assert 0.4 < seen[True] < 0.6


def test_a_class_that_no_sample_shows_is_named(tmp_path: Path) -> None:
    assert unseen(samples(6), HE_CORE) == ["background"]
    assert unseen([*samples(6), lazy(samples(1)[0])], HE_CORE) == []  # nobody knows before it is read
    with pytest.warns(UserWarning, match="no training sample shows background: the model cannot learn it; add samples"):
        fit(FakeNet(), samples(6), [], TrainConfig(steps=1, **CPU), tmp_path, pipeline=FakePipeline())


# --- read when needed


def test_lazy_samples_train_like_those_in_memory(tmp_path: Path) -> None:
    for name, pool in (("eager", samples(4)), ("lazy", [lazy(s) for s in samples(4)])):
        torch.manual_seed(0)
        fit(FakeNet(), pool, samples(1, 9), TrainConfig(steps=3, **CPU), tmp_path / name, pipeline=FakePipeline())
    one, other = FakeNet(), FakeNet()
    load_weights(one, tmp_path / "eager")
    load_weights(other, tmp_path / "lazy")
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
    with pytest.raises(ValueError, match="a lazy sample is read by calling `read`, x has 'x.png'"):
        LazySample("x.png", "x")


def test_a_corrupt_image_is_named_skipped_and_counted(tmp_path: Path) -> None:
    pool = [lazy(s) for s in samples(3)]
    pool += [lazy(samples(1, 7)[0], "cut short"), lazy(samples(1, 8, bare=True)[0])]
    judges = [samples(1, 9)[0], lazy(samples(1, 10)[0], "gone")]
    told: list[dict] = []
    with pytest.warns(UserWarning, match="cannot be read and is skipped") as caught:
        result = fit(FakeNet(), pool, judges, TrainConfig(steps=12, **CPU), tmp_path, on_step=told.append,
                     pipeline=FakePipeline())
    said = sorted(str(w.message) for w in caught if "skipped" in str(w.message))
    assert said == ["bare cannot be read and is skipped: it has no truth", "syn10 cannot be read and is skipped: gone",
                    "syn7 cannot be read and is skipped: cut short"]
    assert result.steps == 12  # training went on
    assert result.skipped.keys() == {"bare", "syn7", "syn10"}
    assert sum(result.skipped.values()) == told[-1]["skipped"] + 1  # the validation comes after the last step
    assert told[-1]["skipped"] > 2  # of 24 draws two fifths
    batches = Batches(pool, FakePipeline(), TrainConfig(steps=1, **CPU))
    assert {len(b.images) for step in range(12) for b in batches.make(step)} == {2}  # another one in its place


def test_a_real_set_is_read_when_needed_and_a_damaged_file_is_skipped(tmp_path: Path, data_root: Path) -> None:
    root = tmp_path / "tnbc_breast_nuclei"
    shutil.copytree(data_root / "tnbc_breast_nuclei", root)
    eager, found = load_split("tnbc_breast_nuclei", data_root), lazy_split("tnbc_breast_nuclei", tmp_path)
    for one, other in zip(eager, found, strict=True):
        assert [(s.name, s.group, s.source) for s in one] == [(s.name, s.group, s.source) for s in other]
    again = found.train[0].read()
    assert torch.equal(again.image, eager.train[0].image)
    assert np.array_equal(again.truth.ids, eager.train[0].truth.ids)
    config = TrainConfig(steps=1, crop_size=32, **CPU)
    batches = Batches(found.train, train_pipeline(32), config, HE_CORE)
    victim = batches.make(0)[0].names[0]
    path = next((root / "images").glob(f"{victim}.*"))
    path.write_bytes(path.read_bytes()[:2000])
    batch = batches.make(0)[0]
    assert {name for name, _ in batch.skipped} == {victim}
    assert victim not in batch.names
    assert len(batch.images) == 2
    with pytest.raises(ValueError, match="histolytics_hgsc is cut into windows, .*; use load_split for it"):
        lazy_split("histolytics_hgsc", data_root)


def test_a_folder_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    pool = [lazy(s, "no such file") for s in samples(3)]
    with pytest.raises(OSError, match=f"{TRIES} samples in a row cannot be read, the last one is syn. .no such file.;"):
        fit(FakeNet(), pool, [], TrainConfig(steps=2, **CPU), tmp_path, pipeline=FakePipeline())


def test_truth_and_model_speak_one_taxonomy(tmp_path: Path) -> None:
    other = Taxonomy("other", tuple(replace(c, name=f"my {c.name}") for c in HE_CORE.categories), HE_CORE.unclassed)
    net = FakeNet()
    net.taxonomy = other
    with pytest.raises(ValueError, match="must speak the same taxonomy, syn0 has 'he-core' .* the model 'other'"):
        fit(net, samples(2), [], TrainConfig(steps=1, **CPU), tmp_path, pipeline=FakePipeline())
    with pytest.raises(ValueError, match="must speak the same taxonomy, syn0 has 'he-core'"):
        Batches([lazy(samples(1)[0])], FakePipeline(), TrainConfig(steps=1, **CPU), other).make(0)
    fit(FakeNet(), samples(2), [], TrainConfig(steps=1, **CPU), tmp_path, pipeline=FakePipeline())
    with pytest.raises(ValueError, match="was trained for the taxonomy 'he-core' .*, the model speaks 'other'"):
        load_weights(net, tmp_path, "last")
    theirs = [replace(s, truth=replace(s.truth, taxonomy=other)) for s in samples(2)]
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="was trained for the taxonomy 'he-core' .*, the model speaks 'other'"):
        fit(net, theirs, [], TrainConfig(steps=1, **CPU), tmp_path, resume=True, pipeline=FakePipeline())
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before, "the run that was there is as it was"
    painted = replace(HE_CORE, categories=tuple(replace(c, color=(1, 2, 3)) for c in HE_CORE.categories))
    net.taxonomy = painted  # colours do not matter
    load_weights(net, tmp_path, "last")


def test_an_empty_set_is_told() -> None:
    with pytest.raises(ValueError, match="no training samples of any source; sources present: none"):
        Batches([], FakePipeline(), TrainConfig(steps=1, **CPU))


# --- chance per image


def test_an_image_draws_the_same_however_the_step_is_dealt() -> None:
    pool = samples(5)
    alone = Batches(pool, FakePipeline(), TrainConfig(steps=1, **CPU | {"batch_size": 4})).make(3)[0]
    parts = [Batches(pool, FakePipeline(), TrainConfig(steps=1, **CPU), None, r, 2).make(3)[0] for r in range(2)]
    passes = Batches(pool, FakePipeline(), TrainConfig(steps=1, accumulate=2, **CPU)).make(3)
    for dealt in (parts, passes):
        assert alone.names == dealt[0].names + dealt[1].names
        seeds = [t["seed"] for part in dealt for t in part.targets]
        assert seeds == [t["seed"] for t in alone.targets]
        torch.testing.assert_close(alone.images, dealt[0].images + dealt[1].images, rtol=0, atol=0)
    assert len(set(seeds)) == 4


def test_regions_of_an_image_do_not_depend_on_its_neighbours() -> None:
    """Losses of a batch are the mean of its halves': the same anchors and proposals are drawn in each image."""
    torch.manual_seed(0)
    net = EfficientPS.small().train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    images = [torch.rand(3, 64, 64) for _ in range(3)]
    truths = [target(6, seed=i) | {"seed": 10 + i} for i in range(3)]
    truths[2] = target(0, seed=2) | {"seed": 12}  # nothing there
    with torch.no_grad():
        whole = net(images, truths)
        one, rest = net(images[:1], truths[:1]), net(images[1:], truths[1:])
        torch.rand(7)  # the global generator moves on, which must not matter
        again = net(images, truths)
        unseeded = net(images, [{k: v for k, v in t.items() if k != "seed"} for t in truths])
    for name, value in whole.items():
        torch.testing.assert_close(value, (one[name] + 2 * rest[name]) / 3, rtol=1e-4, atol=1e-5, msg=name)
        torch.testing.assert_close(value, again[name], rtol=0, atol=0)
    assert whole["class"] != unseeded["class"]


def test_boxes_without_area_train_nothing_and_break_nothing() -> None:
    torch.manual_seed(0)
    net = EfficientPS.small().train()
    truth = target(3)
    truth["boxes"][1, 2] = truth["boxes"][1, 0]
    truth["boxes"][2] = 5.0
    whole = {k: truth[k][:1] if k in ("boxes", "labels", "masks") else truth[k] for k in truth}
    image = torch.rand(3, 64, 64)
    with torch.no_grad():
        found, wanted = (net([image], [t | {"seed": 1}]) for t in (truth, whole))
    assert all(v.isfinite() for v in found.values())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
