"""Turn a finished run of `pano-med train` into weights that ship.

Usage: `ship_weights.py RUN pano_med/weights/NAME.safetensors`.

Takes the run's best averaged weights, scores them on the validation part (PANO_MED_DATA) and writes file and card. For
weights of another taxonomy than he-core the scores are those of the run's own validation.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from scoring import compare

from pano_med import models, weights
from pano_med.training import checkpoint
from pano_med.types import HE_CORE

#: Cut on the score of things: the middle of the plateau on the validation part (0.6 to 0.8 differ by 0.01 PQ).
SCORE = 0.65
#: Mask logits count so many times in the fusion (the authors' published code says 4, too): TNBC 0.508 -> 0.525 PQ, DSB
#: 0.603 -> 0.614; 2 and 8 lie between or equal it.
MASK_GAIN = 4.0
#: Median nucleus that `predict` scales an image of unknown pixel size to, in micrometres.
NUCLEUS_UM = 7.0


def main() -> None:
    """Read the command line, write the weights and their card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--score", type=float, default=SCORE, help="cut on the score of things (bench_pair.py --cuts)")
    parser.add_argument("--mask-gain", type=float, default=MASK_GAIN, help="weight of mask logits in the fusion")
    parser.add_argument("--licence", default="Apache-2.0; data under CC0, CC BY 4.0 and BSD-3, see the .md beside this "
                        "file")
    args = parser.parse_args()
    _, facts = checkpoint.read(args.run, "best")
    model = models.build(facts["model"])
    checkpoint.load_weights(model, args.run, "best")
    card = {
        "model_mpp": facts["config"]["model_mpp"], "score": args.score, "mask_gain": args.mask_gain,
        **({"nucleus_um": NUCLEUS_UM} if model.taxonomy == HE_CORE else {}), "licence": args.licence,
        "data": sorted(facts["config"]["source_weights"]), "recipe": {"steps": facts["step"], **facts["config"]},
    }  # fmt: skip
    weights.save(model.eval(), args.out, card)
    if model.taxonomy == HE_CORE:
        scores = compare(weights.load(args.out), os.environ["PANO_MED_DATA"])
    else:
        scores = {"its own": facts["best"]}
    weights.save(model, args.out, {**card, "scores": {"validation": scores, "history": facts["history"]}})
    for name, row in scores.items():
        print(name, {k: v if isinstance(v, int) else [round(x, 3) for x in v] if isinstance(v, list) else round(v, 3)
                     for k, v in row.items()})


if __name__ == "__main__":
    main()
