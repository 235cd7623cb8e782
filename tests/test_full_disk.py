"""A disk that is really full, a folder that is really read-only: one sentence, exit code 1, no half-written file.

Tests often run as root, whom no permission stops. So the program runs as a child in a mount namespace of its own, on a
file system of 64 kB or one mounted read-only, or without the capability that lets root pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pano_med.models import EfficientPS
from pano_med.weights import save

# $1: mount options, $2: folder; the rest is the program. The folder is listed before its mount disappears.
MOUNTED = """
set -e
mount -t tmpfs -o "$1" tmpfs "$2"
folder="$2"
printf old > "$folder/x_overlay.png"
[ "$3" = full ] || mount -o "remount,ro" "$folder"
shift 3
set +e
"$@"
code=$?
echo "left: $(ls -A "$folder") $(cat "$folder/x_overlay.png")"
exit $code
"""
OPTIONS = "size=64k,mode=755"


def privilege(*words: str) -> list[str]:
    """The words in front of a command; skips where this machine does not let us."""
    missing = shutil.which(words[0]) is None
    if missing or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"this machine does not allow `{' '.join(words)}`")
    return list(words)


def on_disk(kind: str, folder: Path, program: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Run a program while `folder` is a "full" or "read-only" disk that holds an older x_overlay.png."""
    inside = privilege("unshare", "--map-root-user", "--mount")
    if subprocess.run([*inside, "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow a mount in a namespace of its own")
    words = [*inside, "sh", "-c", MOUNTED, "sh", OPTIONS, folder, kind, *program]
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """`pano-med segment` of an image whose overlay needs far more than 64 kB, with weights that know nothing."""
    home = tmp_path_factory.mktemp("input")
    torch.manual_seed(0)
    weights = save(EfficientPS.small(), home / "nothing.safetensors", {"model_mpp": 0.5})
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(home / "x.png")
    program = [sys.executable, "-m", "pano_med", "segment", home / "x.png"]
    return [*program, "--mpp", "0.5", "--weights", weights, "--device", "cpu", "--quiet", "--out"]


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines on standard error but the warning that noise is no tissue, after the exit code was checked."""
    assert done.returncode == 1, done.stderr
    return [line for line in done.stderr.splitlines() if "warning" not in line]


@pytest.mark.parametrize(("kind", "reason"), [("full", "the disk is full"), ("read-only", "the folder is read-only")])
def test_segment_on_a_disk_that_takes_nothing(kind: str, reason: str, segment: list[object], tmp_path: Path) -> None:
    done = on_disk(kind, tmp_path, [*segment, tmp_path])
    sentence, count = errors(done)
    assert sentence.startswith("pano-med: ")
    assert f"cannot write {tmp_path / 'x_overlay.png'}: {reason}" in sentence
    assert count == "pano-med: 1 of 1 images failed"
    assert done.stdout.strip() == "left: x_overlay.png old"  # the older file is whole, and alone


def test_a_new_folder_on_a_read_only_disk(segment: list[object], tmp_path: Path) -> None:
    done = on_disk("read-only", tmp_path, [*segment, tmp_path / "new"])
    (sentence,) = errors(done)
    assert f"cannot make the folder {tmp_path / 'new'}: " in sentence
    assert "read-only; choose another folder" in sentence
    assert done.stdout.strip() == "left: x_overlay.png old"


def test_a_folder_that_belongs_to_somebody_else(segment: list[object], tmp_path: Path) -> None:
    mortal = privilege("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else []
    tmp_path.chmod(0o555)
    try:
        words = [str(w) for w in [*mortal, *segment, tmp_path]]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    finally:
        tmp_path.chmod(0o755)
    assert f"cannot write {tmp_path / 'x_overlay.png'}: the folder is read-only for you" in errors(done)[0]
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_on_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    program = """
import sys, torch
from pathlib import Path
from pano_med.training import checkpoint
folder = Path(sys.argv[1])
checkpoint.write(folder, "last", {"w": torch.ones(10)}, {"step": 1})
try:
    checkpoint.write(folder, "last", {"w": torch.ones(100_000)}, {"step": 2})
except OSError as error:
    print(error, file=sys.stderr)
print(float(checkpoint.read(folder, "last")[0]["w"].sum()), checkpoint.read(folder, "last")[1]["step"])
"""
    done = on_disk("full", tmp_path, [sys.executable, "-c", program, tmp_path])
    assert f"the checkpoint could not be written to {tmp_path}: " in done.stderr
    assert "the one before is kept" in done.stderr
    assert done.stdout.splitlines() == ["10.0 1", "left: last-00000001.safetensors", "last.json", "x_overlay.png old"]
