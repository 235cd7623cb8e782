"""Networks on the CPU: one megapixel through each, and their peak memory.

Ours and the lite0 pair run as `Segmenter` runs them (`pano_med.models.lean`), the ResNets as torchvision makes them.
"""

import json
import subprocess
import sys

# One process each, so that peak memory is each network's own; a warm-up call first, then the median of three.
CHILD = """
import json, statistics, sys, time, warnings
from pathlib import Path
import torch
warnings.simplefilter("ignore")
from pano_med.models import TwoNetworks, lean
from pano_med.synthetic import he_tile
from pano_med.weights import load
kind = sys.argv[1]
torch.manual_seed(0)
net = {"ours": lambda: load().model, "plain": lambda: load().model, "pair": lambda: load("he-pair").model,
       "resnets": TwoNetworks.resnet}[kind]().eval()
net = net if kind in ("plain", "resnets") else lean(net)
image = torch.from_numpy(he_tile(0, (1024, 1024), pixel_size_um=0.25).image.copy()).permute(2, 0, 1).float() / 255
def high_water(): # Linux: the peak of this process since it was last cleared, in KiB (ru_maxrss inherits the parent's)
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
times = []
with torch.inference_mode():
    net([image[:, :256, :256]])
    Path("/proc/self/clear_refs").write_text("5")
    before = high_water()
    for _ in range(3):
        t = time.perf_counter(); found = net([image])[0]; times.append(time.perf_counter() - t)
peak = high_water()
print(json.dumps({"s": statistics.median(times), "mib": (peak - before) / 1024, "objects": len(found.instances)}))
"""


def measure(kind: str) -> dict:
    """Seconds, peak MiB above the loaded process and objects found, from a fresh process."""
    done = subprocess.run([sys.executable, "-c", CHILD, kind], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run() -> list[dict]:
    """Rows for `benchmarks/run.py`."""
    ours = measure("ours")
    rows = []
    for kind, name in (("plain", "the same network as it was trained, without `lean`"),
                       ("resnets", "FCN-ResNet50 + Mask R-CNN-ResNet50, random weights"),
                       ("pair", "lite0 + lite0 pair (he-pair)")):
        theirs = measure(kind)
        note = (f"peak memory {ours['mib']:.0f} against {theirs['mib']:.0f} MiB; {ours['objects']} against "
                f"{theirs['objects']} detections before the score cut")
        rows.append({"what": "EfficientPS lite0 (he-nano), 1024 x 1024", "against": name, "ours_s": ours["s"],
                     "theirs_s": theirs["s"], "ratio": theirs["s"] / ours["s"], "note": note})
    return rows
