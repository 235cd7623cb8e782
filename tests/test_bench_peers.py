"""The peers of the benchmark: one budget for all, scores that go on, and a table that says what is missing."""

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import bench_peers
import numpy as np
import peers
import pytest
import torch
from peers import OURS, PEERS, budget, score, stardist, table, unet
from training_fakes import CPU, FakeNet

from pano_med.models.losses import hard_pixel_loss
from pano_med.training import TrainConfig
from pano_med.training.batches import Batches
from pano_med.training.recipe import Ingredients, painted_tiles

# --- the budget


class Ticks:
    """A clock on which each look takes a second; the loop looks once before each step."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1
        return self.now


class Tiny(FakeNet):
    """Learns from classes alone."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(noise=0)

    def forward(self, images, targets=None):
        logits = self.head(self.norm(self.conv(torch.stack(images))).relu())
        return {"semantic": hard_pixel_loss(logits, torch.stack([t["allowed"] for t in targets]), 1.0)}


TILES = list(painted_tiles(2, size=64))
PARTS = Ingredients(TILES, [], {"synthetic": 1.0})
CONFIG = TrainConfig(minutes=0.1, crop_size=32, model_mpp=0.5, **CPU)  # 6 s
quiet = pytest.mark.filterwarnings("ignore:no training sample shows")


@quiet
def test_the_clock_ends_a_run_and_what_was_spent_counts_when_it_goes_on(tmp_path):
    done = budget.train_network(Tiny(), PARTS, CONFIG, tmp_path, clock=Ticks())
    assert (done.ended, done.steps) == ("stopped", 5)  # the first look is the begin, the one after six seconds the end
    table_of = json.loads((tmp_path / "last.json").read_text())
    assert table_of["config"]["checkpoint_minutes"] == 1
    table_of["seconds"] = 4.0
    (tmp_path / "last.json").write_text(json.dumps(table_of))
    assert budget.train_network(Tiny(), PARTS, CONFIG, tmp_path, clock=Ticks()).steps == 6  # two seconds were left
    table_of = json.loads((tmp_path / "last.json").read_text()) | {"seconds": 99.0}
    (tmp_path / "last.json").write_text(json.dumps(table_of))
    assert budget.train_network(Tiny(), PARTS, CONFIG, tmp_path, clock=Ticks()).steps == 6  # nothing is left


@quiet
def test_a_run_in_two_parts_is_the_same_as_in_one(tmp_path):
    limited = replace(CONFIG, minutes=1.0)
    looks = iter([0.0] + [1.0] * 3 + [1e9] * 99)
    first = budget.train_network(Tiny(), PARTS, limited, tmp_path / "parts", clock=lambda: next(looks))
    assert (first.ended, first.steps) == ("stopped", 3)
    again = Tiny()
    looks = iter([0.0] + [1.0] * 3 + [1e9] * 99)
    budget.train_network(again, PARTS, limited, tmp_path / "parts", clock=lambda: next(looks))
    looks = iter([0.0] + [1.0] * 6 + [1e9] * 99)
    once = Tiny()
    budget.train_network(once, PARTS, limited, tmp_path / "once", clock=lambda: next(looks))
    assert all(torch.equal(a, b) for a, b in zip(once.state_dict().values(), again.state_dict().values(), strict=True))


def test_peers_of_nuclei_learn_only_where_all_nuclei_were_drawn():
    region = replace(TILES[0], source="regions", known=frozenset({1, 2, 3}))
    drawn = replace(TILES[1], source="nuclei", known=frozenset({1, 7}))
    left = budget.nuclei_only(Ingredients([region, drawn], [], {"regions": 1.0, "nuclei": 2.0}))
    assert left.train == [drawn]
    assert left.weights == {"nuclei": 2.0}
    with pytest.raises(ValueError, match="needs images whose nuclei are all drawn, the recipe has none"):
        budget.nuclei_only(Ingredients([region], [], {"regions": 1.0}))


def test_a_peers_targets_come_from_our_crops():
    same = replace(CONFIG, crop_size=48)
    one, two = (Batches(TILES, p, same) for p in (budget.crops(same, unet.boundary_targets),
                                                   budget.crops(same, stardist.star_targets)))
    a, b = one.make(3)[0], two.make(3)[0]
    one.close(), two.close()
    assert all(torch.equal(x, y) for x, y in zip(a.images, b.images, strict=True))
    assert all(torch.equal(x["classes"] > 0, y["ids"] != 0) for x, y in zip(a.targets, b.targets, strict=True))


# --- scores and the table


def scored(iou=0.9, seconds=1.0, images=6, trained=True):
    """Scores of a peer: `images` of each set, ten nuclei each, nine found."""
    rows = {f"{i} {table.NUCLEI[i % 3]} name {i}": [9, 1, 1 + i % 2, 9 * iou] for i in range(images)}
    spent = {"step": 500, "total": 600, "seconds": 3600.0} if trained else None
    return {"trained": spent, "parameters": 1234567, "images": rows,
            "speed": {"seconds": seconds, "runs": 3, "peak_mib": 800.0}}


def test_a_missing_peer_is_not_trained_and_has_no_number():
    page = table.markdown({OURS: scored(), "watershed": scored(0.6, 0.5, trained=False)},
                          {"unet": "not trained: `bench_peers.py train unet`", "stardist": stardist.absent()}
                          | dict.fromkeys(("small-pair", "resnet-pair", "hovernet"), "not asked for"), "here")
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert "not trained: `bench_peers.py train unet`" in rows[PEERS["unet"].title]
    assert not any(c.isdigit() for c in rows[PEERS["unet"].title].split("`")[-1])
    assert "StarDist is not installed: `python3 -m venv stars`" in rows[PEERS["stardist"].title]
    assert len({line.count("|") for line in rows.values()}) == 1
    assert "1,234,567" in rows[PEERS[OURS].title]
    assert "60.0 (500 steps)" in rows[PEERS[OURS].title]


def test_the_table_owns_up_where_ours_does_not_lead():
    better = table.verdict(scored(0.95, 2.0), scored(0.9))
    assert better == "theirs has the higher PQ, ours is 2.0 times as fast; ours does not lead in both."
    assert table.verdict(scored(0.6, 2.0), scored(0.9)) == "ours has the higher PQ, ours is 2.0 times as fast."
    assert "theirs is 2.0 times as fast; ours does not lead" in table.verdict(scored(0.6, 0.5), scored(0.9))
    short = table.reading({OURS: scored(), "hovernet": scored(0.5, 59)}, {})
    assert short[-1] == "- HoVer-Net takes 59 times as long as ours; short of the goal of 60 times."


def test_a_slow_peer_is_compared_on_the_images_that_it_was_judged_on():
    slow, fast = scored(0.5, 99), scored(0.9)
    slow["images"] = dict(list(slow["images"].items())[:2])
    fast["images"]["5 " + table.NUCLEI[2] + " name 5"] = [0, 9, 9, 0]
    whole = table.difference(scored(0.5), scored(0.9), table.NUCLEI)
    assert table.difference(slow, fast, table.NUCLEI).value == pytest.approx(whole.value, abs=0.05)
    assert table.NUCLEI[2] not in "".join(slow["images"]), "a set of which it saw nothing has no figure"
    page = table.markdown({OURS: fast, "hovernet": slow}, dict.fromkeys(PEERS, "not asked for"), "here")
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert re.search(r"\] \([1-3] images\)", rows[PEERS["hovernet"].title])
    assert "images)" not in rows[PEERS[OURS].title]


def test_pq_is_pooled_over_images():
    assert score.pq([[1, 0, 0, 0.8], [1, 2, 0, 0.6]]) == pytest.approx(1.4 / 3)
    assert math.isnan(score.pq([[0, 0, 0, 0]]))


def test_scoring_goes_on_where_it_stopped_and_begins_anew_after_more_training(tmp_path, monkeypatch):
    tiles = [replace(t, name=f"tile {i}") for i, t in enumerate(TILES)]
    calls = []
    found = {t.name: t.truth for t in tiles}

    def call(image, mpp):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return found[tiles[0 if np.array_equal(image, tiles[0].image.permute(1, 2, 0).numpy()) else 1].name]

    peer = replace(PEERS[OURS], load=lambda folder: peers.Method(call, 7))
    monkeypatch.setattr(score.subprocess, "check_output", lambda *a, **k: '{"seconds": 2, "runs": 1, "peak_mib": 3}')
    with pytest.raises(FileNotFoundError, match="not trained: `bench_peers.py train efficientps`"):
        score.judge(peer, tmp_path, tiles)
    (tmp_path / OURS).mkdir()
    last = tmp_path / OURS / "last.json"
    last.write_text(json.dumps({"step": 5, "total": 9, "seconds": 60}))
    with pytest.raises(KeyboardInterrupt):
        score.judge(peer, tmp_path, tiles)
    done = score.judge(peer, tmp_path, tiles)
    assert len(calls) == 3
    assert score.pq(list(done["images"].values())) == 1
    assert (done["parameters"], done["speed"]["seconds"]) == (7, 2)
    score.judge(peer, tmp_path, tiles)
    assert len(calls) == 3
    last.write_text(json.dumps({"step": 9, "total": 9, "seconds": 90}))
    assert score.judge(peer, tmp_path, tiles)["trained"]["step"] == 9
    assert len(calls) == 5
    last.write_text(json.dumps({"step": 10, "total": 10, "seconds": 99}))
    few = score.judge(peer, tmp_path, tiles, every=2)
    assert list(few["images"]) == [score.key(0, tiles[0])]
    assert score.judge(peer, tmp_path, tiles, every=1)["images"].keys() == done["images"].keys()


def test_a_peer_with_nothing_to_learn_is_scored_too(tmp_path, monkeypatch):
    monkeypatch.setattr(score.subprocess, "check_output", lambda *a, **k: '{"seconds": 2, "runs": 1, "peak_mib": 3}')
    done = score.judge(PEERS["watershed"], tmp_path, TILES)
    assert (done["trained"], done["parameters"], len(done["images"])) == (None, 0, len(TILES))
    assert 0 < score.pq(list(done["images"].values())) < 1


def test_the_field_is_four_tiles_of_a_megapixel():
    tile = replace(TILES[0], image=torch.full((3, 640, 640), 9, dtype=torch.uint8), truth=None, pixel_size_um=0.2,
                   source=score.FIELD)
    field = score.make_field([tile] * 4)
    assert (field.shape, field.dtype) == ((1024, 1024, 3), np.uint8)
    assert (field == 9).all()
    with pytest.raises(ValueError, match="needs four images of tnbc_breast_nuclei of 512 px at 0.25 um, got 3"):
        score.make_field([tile] * 3)


# --- StarDist's door and the commands

ECHO = """
import sys; sys.path.append({folder!r})
from frames import receive, send
send(sys.stdout.buffer, {{"parameters": 5}})
while True:
    try: _, (image,) = receive(sys.stdin.buffer)
    except EOFError: break
    if image.max() > 1: sys.exit(3)
    send(sys.stdout.buffer, {{"peak_mib": 12.0}}, [(image[..., 0] > 0.5).astype("i4")])
"""


def test_maps_come_back_through_the_pipe_and_a_dead_child_is_told(tmp_path, monkeypatch):
    folder = str(Path(stardist.__file__).parent)
    python = tmp_path / "python"
    (tmp_path / "echo.py").write_text(ECHO.format(folder=folder))
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -I {tmp_path / 'echo.py'}\n")
    python.chmod(0o755)
    monkeypatch.setenv(stardist.PYTHON, str(python))
    (tmp_path / "last.json").write_text(json.dumps({"config": {"model_mpp": 0.25}}))
    method = stardist.load(tmp_path)
    image = np.zeros((40, 50, 3), np.uint8)
    image[5:20, 5:20] = 255
    found = method.call(image, 0.25)
    assert (found.ids > 0).sum() == 15 * 15
    assert (method.parameters, method.peak_mib()) == (5, 12.0)
    method.close()
    child = stardist.Child()
    with pytest.raises(OSError, match="StarDist's process ended with code 3; what it said stands above"):
        child.ask({}, np.full((4, 4, 3), 2.0))


def test_stardist_says_how_to_install_it(monkeypatch):
    monkeypatch.delenv(stardist.PYTHON, raising=False)
    with pytest.raises(ImportError, match="StarDist is not installed: `python3 -m venv stars`"):
        stardist.Child("train")
    monkeypatch.setenv(stardist.PYTHON, "nowhere/python")
    assert stardist.absent().startswith("PANO_MED_STARDIST=nowhere/python is no file")


def test_training_leaves_out_what_cannot_learn_and_goes_on_after_a_failure(tmp_path, monkeypatch, capsys):
    trained = []

    def broken(parts, config, folder):
        raise OSError("the disk is full")

    monkeypatch.delenv(stardist.PYTHON, raising=False)
    some = {"unet": replace(PEERS["unet"], train=broken), "stardist": PEERS["stardist"],
            "watershed": PEERS["watershed"], OURS: replace(PEERS[OURS], train=lambda *a: trained.append(a[2].name))}
    monkeypatch.setattr(bench_peers, "PEERS", some)
    assert bench_peers.train(list(some), PARTS, CONFIG, tmp_path) == 1
    assert trained == [OURS]
    said = capsys.readouterr()
    assert "watershed: left out, there is nothing to train" in said.out
    assert "stardist: left out, StarDist is not installed" in said.out
    assert "unet: OSError: the disk is full" in said.err


def test_commands_name_the_peers_there_are(capsys, monkeypatch):
    assert bench_peers.chosen(["all"]) == bench_peers.chosen([]) == list(PEERS)
    with pytest.raises(SystemExit):
        bench_peers.main(["train", "cellpose"])
    assert "no peer is called 'cellpose'; there are efficientps" in capsys.readouterr().err
    monkeypatch.delenv("PANO_MED_DATA", raising=False)
    with pytest.raises(SystemExit):
        bench_peers.main(["train", "unet"])
    assert "set PANO_MED_DATA or --data" in capsys.readouterr().err


def test_rows_for_the_page_of_benchmarks(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_peers, "OUT", tmp_path)
    assert all(r["ratio"] is None and "not trained" in r["note"] for r in bench_peers.run())
    (tmp_path / "scores").mkdir()
    for name, seconds in ((OURS, 2.0), ("hovernet", 130.0)):
        (tmp_path / "scores" / f"{name}.json").write_text(json.dumps(scored(seconds=seconds)))
    rows = {r["against"]: r["ratio"] for r in bench_peers.run()}
    assert rows[PEERS["hovernet"].title] == 65
    assert rows[PEERS["unet"].title] is None
