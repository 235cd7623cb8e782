"""From files to the dictionary that the other transforms work on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Transform

from pano_med.formats import read_coco, read_image
from pano_med.transforms.targets import to_dict
from pano_med.types import Sample


class LoadPanopticd(Transform):
    """Reads the files that a dictionary names and gives what `to_dict` gives.

    The dictionary has "image": path of an image file; "truth": path of a COCO panoptic PNG (may be absent); "segments":
    path of its JSON (absent: the PNG's name with `.json`); "known": ids of the categories that were drawn exhaustively
    (absent: all of the truth's taxonomy, as in a map that was labelled as a whole); "pixel_size_um" (absent: what the
    image file says, else the truth); "name" and "source".

    Raises:
        KeyError: no "image" in the dictionary.
        OSError: a file cannot be read.
        ValueError: a file is broken, PNG and JSON disagree, or image and truth differ in size.
    """

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if "image" not in data:
            raise KeyError(f"a record needs the path of its image under 'image', this one has only {sorted(data)}")
        image = read_image(data["image"])
        png = data.get("truth")
        truth = None if png is None else read_coco(png, data.get("segments") or Path(png).with_suffix(".json"))
        everything = () if truth is None else (c.id for c in truth.taxonomy.all)
        sample = Sample(
            image=torch.tensor(image.array).permute(2, 0, 1).contiguous(),
            truth=truth,
            pixel_size_um=data.get("pixel_size_um") or image.pixel_size_um or (truth and truth.pixel_size_um),
            source=data.get("source", ""),
            known=frozenset(data.get("known", everything)),
            name=data.get("name") or Path(data["image"]).name,
        )
        return to_dict(sample)
