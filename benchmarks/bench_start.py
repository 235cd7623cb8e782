"""How soon the package and the command line answer, against the import of torch that they put off."""

import subprocess
import sys
import time


def best_of(words: list[str], runs: int = 7) -> float:
    """Least seconds of several fresh processes."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return min(times)


def run() -> list[dict]:
    """Rows for `benchmarks/run.py`."""
    torch = best_of(["-c", "import torch"], 3)
    cases = {
        "import pano_med": (["-c", "import pano_med"], 0.3),
        "pano-med --help": (["-m", "pano_med", "--help"], 0.5),
    }
    rows = []
    for what, (words, limit) in cases.items():
        ours = best_of(words)
        note = f"whole process, best of 7; the goal is {limit} s"
        rows.append(
            {
                "what": what,
                "against": "import torch",
                "ours_s": ours,
                "theirs_s": torch,
                "ratio": torch / ours,
                "note": note,
            }
        )
    return rows
