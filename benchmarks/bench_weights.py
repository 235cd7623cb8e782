"""Nuclei PQ of the shipped weights on the validation part, against watershed (columns: PQ in place of seconds)"""

import os

from scoring import compare

from pano_med.weights import DEFAULT, load


def run() -> list[dict]:
    """Rows for `benchmarks/run.py`; needs PANO_MED_DATA."""
    rows = []
    for name, row in compare(load(DEFAULT), os.environ["PANO_MED_DATA"]).items():
        low, high = row["pq_95"]
        note = (f"{row['images']} images; SQ {row['sq']:.3f}, RQ {row['rq']:.3f}; 95 % interval {low:.3f} to "
                f"{high:.3f}, watershed {row['watershed_pq_95'][0]:.3f} to {row['watershed_pq_95'][1]:.3f}, gain "
                f"{row['gain_95'][0]:.3f} to {row['gain_95'][1]:.3f} (paired bootstrap over images)")  # fmt: skip
        rows.append({"what": f"nuclei PQ, {name}", "against": "watershed on haematoxylin", "ours_s": row["pq"],
                     "theirs_s": row["watershed_pq"], "ratio": row["pq"] / row["watershed_pq"], "note": note})
    return rows
