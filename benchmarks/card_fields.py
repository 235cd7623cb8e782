"""The validation images of a model card: each predicted once, fused at every cut, and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from card_looks import Look, look_of

from pano_med.data import card, card_names, load, load_split, written_split
from pano_med.metrics import PQCounts, ThingTable, panoptic_quality, things_quality, things_table
from pano_med.predict import Segmenter
from pano_med.training.recipe import HE_CORE_WEIGHTS, he_core
from pano_med.training.validate import without_things
from pano_med.types import HE_CORE, Panoptic, Prediction, Sample, Taxonomy

#: Cuts on the score that the card tells of, beside the shipped one; calibration looks at all above the first.
CUTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

#: Starts of the names of images whose labels do not lie on their things, by set (`label_faults` of the data card).
MISDRAWN: Mapping[str, str] = {"tnbc_breast_nuclei": "distorted_"}

#: Sets that the recipe of the shipped weights never draws from, so that all their images are of other patients. They
#: judge what the validation part can't: tissue and types of patients whose slides training never saw.
NEVER_DRAWN = ("camelyon_lymphnode_tumour_regions", "csmp_cervix_panoptic")


@dataclass(frozen=True)
class Field:
    """One validation image and what became of it.

    Attributes:
        sample: image, truth, pixel size.
        found: the map at the shipped cut.
        cut: the shipped cut.
        look: of its stain.
        classes: counts of the classes that its labels know, at the shipped cut.
        stuff: pixels that truth and map share, and pixels of either, of each stuff class that the labels know.
        by_cut: for each cut the things found and missed without their types; empty where things were not drawn.
        tables: for each cut every thing by itself; empty there too.
    """

    sample: Sample
    found: Panoptic
    cut: float
    look: Look
    classes: PQCounts
    stuff: Mapping[int, tuple[int, int]]
    by_cut: Mapping[float, PQCounts]
    tables: Mapping[float, ThingTable]

    @property
    def drawn(self) -> bool:
        """Whether every thing was drawn, so that they can be counted."""
        return bool(self.by_cut)

    @property
    def unseen(self) -> bool:
        """Whether training saw no other part of its slide."""
        return not written_split(self.sample.source).same_slide

    @property
    def misdrawn(self) -> bool:
        """Whether the labels are known not to lie on the things, so that mistakes may be the labels'."""
        start = MISDRAWN.get(self.sample.source)
        return start is not None and self.sample.name.startswith(start)

    @property
    def ignore(self) -> np.ndarray | None:
        """(H, W) bool, where nothing is known."""
        return None if self.sample.ignore is None else self.sample.ignore.numpy()

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.ascontiguousarray(self.sample.image.permute(1, 2, 0).numpy())


class Once(Segmenter):
    """A segmenter that asks the network once for each tile of an image, however often the image is fused.

    Attributes:
        things: False takes the things out of what the network says.
    """

    things = True
    _said: dict[str, Prediction]

    def maps(self, image: np.ndarray, pixel_size_um: float | None, cuts: Sequence[float], things: bool = True
             ) -> dict[float, Panoptic]:
        """The map of one image at each cut, as `Segmenter` makes it."""
        self._said, self.things, rules = {}, things, self.rules
        out = {}
        for cut in cuts:
            self.rules = replace(rules, score=cut)
            out[cut] = self(image, pixel_size_um).panoptic
        self.rules, self._said = rules, {}
        return out

    def predict(self, image: np.ndarray, mpp: float) -> Prediction:
        """As `Segmenter.predict`; a tile that was asked for before is not computed again."""
        key = f"{image.shape} {mpp} {hashlib.sha256(image.tobytes()).hexdigest()}"
        if key not in self._said:
            said = super().predict(image, mpp)
            self._said[key] = said if self.things else without_things(said)
        return self._said[key]


def validation(taxonomy: Taxonomy, root: str | Path) -> list[Sample]:
    """The validation part that belongs to the taxonomy of the weights.

    Raises:
        ValueError: no data card speaks this taxonomy.
    """
    if taxonomy == HE_CORE:
        return he_core(root, tiles=0).validation
    fitting = [name for name in card_names() if card(name).training and card(name).taxonomy == taxonomy]
    if not fitting:
        raise ValueError(f"no data card speaks the taxonomy {taxonomy.name!r} of these weights, so there is nothing to "
                         "measure them on; add a card with its classes to data_cards/")
    return [s for name in fitting for s in load_split(name, root).validation]


def never_drawn(taxonomy: Taxonomy, root: str | Path) -> list[Sample]:
    """Every image of the sets in `NEVER_DRAWN`; none for weights of another taxonomy than theirs."""
    if taxonomy != HE_CORE:
        return []
    if drawn := set(NEVER_DRAWN) & set(HE_CORE_WEIGHTS):
        raise ValueError(f"the recipe draws from {', '.join(sorted(drawn))} now; take it out of NEVER_DRAWN")
    return [s for name in NEVER_DRAWN for s in load(name, root, glass=True)]


def measure(segmenter: Once, sample: Sample) -> Field:
    """Predict one sample and count what was found, by the rules of `pano_med.training.validate.Scores`."""
    if sample.truth is None:
        raise ValueError(f"a validation sample needs a truth, {sample.name or sample.source} has none")
    taxonomy, shipped = segmenter.model.taxonomy, segmenter.rules.score
    ignore = None if sample.ignore is None else sample.ignore.numpy()
    things = {c.id for c in taxonomy.things}
    drawn = things <= sample.known or (taxonomy.unclassed is not None and taxonomy.unclassed.id in sample.known)
    stuff = sample.known & {c.id for c in taxonomy.stuff}
    image = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
    cuts = sorted({*CUTS, shipped}) if drawn else [shipped]
    maps = segmenter.maps(image, sample.pixel_size_um, cuts, things=drawn)
    found = maps[shipped]
    known = sample.known & (things | stuff)
    classes = panoptic_quality(sample.truth, found, categories=known, void_is_background=True, ignore=ignore)
    judged = np.ones(sample.size, bool) if ignore is None else ~ignore
    area = {}
    for number in sorted(stuff):
        a, b = ((p.semantic() == number) & judged for p in (sample.truth, found))
        area[number] = int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))
    return Field(
        sample, found, shipped, look_of(image, ignore), classes, area,
        {cut: things_quality(sample.truth, m, ignore) for cut, m in maps.items()} if drawn else {},
        {cut: things_table(sample.truth, m, ignore) for cut, m in maps.items()} if drawn else {},
    )  # fmt: skip
