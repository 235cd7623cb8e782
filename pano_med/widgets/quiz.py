"""StuffThingsQuiz: regions of an image one after another; is each stuff or a thing?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import traitlets

from pano_med.pictures import inner_border
from pano_med.types import Panoptic
from pano_med.widgets.base import Picture, code
from pano_med.widgets.layer import as_rgb, check_pair, image_bytes, layer

#: Seed of the order in which regions are asked, so that a class sees what the teacher saw.
_SEED = 20


class StuffThingsQuiz(Picture):
    """Outlines regions; the learner decides stuff or thing by button, key s or key t, and hears why.

    Regions can also be clicked or painted. After the last answer the triptych appears: semantic, instance, panoptic.

    Args:
        image: (H, W, 3) uint8; a grey (H, W) image is shown as it is.
        panoptic: the map of the same size.
        regions: ids of the segments to ask about, in this order; None: `count` of them, the largest of each class.
        count: how many regions are asked.
        title: a line above.

    Attributes:
        questions: ids of the segments that are asked, in order.
        asked: the id that is asked now.
        answers: "stuff" or "thing" for each answered id; the ids are strings, as JSON has no other keys.
        correct: how many of the answers are right.
        shown: whether the triptych is seen.

    Raises:
        TypeError: not an image, not a Panoptic.
        ValueError: sizes differ, no segments, an unknown id.
    """

    _esm, _css = code("quiz").values()
    image = traitlets.Bytes().tag(sync=True)
    panoptic = traitlets.Dict().tag(sync=True)
    pixel_size = traitlets.Float(None, allow_none=True).tag(sync=True)
    questions = traitlets.List(traitlets.Int()).tag(sync=True)
    asked = traitlets.Int(0).tag(sync=True)
    answers = traitlets.Dict().tag(sync=True)
    correct = traitlets.Int(0).tag(sync=True)
    shown = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        image: np.ndarray,
        panoptic: Panoptic,
        regions: Sequence[int] | None = None,
        count: int = 8,
        title: str = "Stuff or thing?",
    ) -> None:
        rgb = as_rgb(image)
        check_pair(rgb, panoptic)
        if not panoptic.segments:
            raise ValueError("a quiz needs at least one segment, this map is void everywhere")
        if count < 1:
            raise ValueError(f"`count` is how many regions are asked, at least 1, got {count}")
        asked = _pick(panoptic, count) if regions is None else [int(i) for i in regions]
        known = {s.id: "thing" if panoptic.taxonomy[s.category_id].isthing else "stuff" for s in panoptic.segments}
        strange = [i for i in asked if i not in known]
        if strange or not asked:
            raise ValueError(f"`regions` are ids of segments, got {strange or 'none'}; ids there: {[*known][:8]}")
        self._rgb, self._ids, self._right = rgb, panoptic.ids, known
        super().__init__(
            image=image_bytes(rgb),
            panoptic=layer(panoptic),
            pixel_size=panoptic.pixel_size_um,
            questions=asked,
            asked=asked[0],
            title=title,
        )
        self.observe(self._count, "answers")

    def still(self) -> np.ndarray:
        """The image with the asked regions outlined in black and white, nothing told."""
        picture, asked = self._rgb.copy(), np.isin(self._ids, self.questions)
        ids = np.where(asked, self._ids, 0)
        picture[inner_border(ids, 3)] = 255
        picture[inner_border(ids, 1)] = 0
        return picture

    def alt(self) -> str:
        """What is seen and asked."""
        height, width = self._rgb.shape[:2]
        return (
            f"Image of {height} x {width} pixels (rows x columns) with {len(self.questions)} outlined regions; "
            "for each the live quiz asks: stuff or thing?"
        )

    @traitlets.validate("answers")
    def _known_answers(self, proposal: dict[str, Any]) -> dict[str, str]:
        answers = {str(i): said for i, said in proposal["value"].items()}
        wrong = {i: said for i, said in answers.items() if said not in ("stuff", "thing")}
        known = {str(i) for i in self._right}
        if wrong or not set(answers) <= known:
            raise traitlets.TraitError(
                f"`answers` says 'stuff' or 'thing' for ids of segments, got {wrong or sorted(set(answers) - known)}"
            )
        return answers

    def _count(self, change: dict[str, Any]) -> None:
        self.correct = sum(self._right[int(i)] == said for i, said in change["new"].items())


def _pick(panoptic: Panoptic, count: int) -> list[int]:
    """The largest segments, class by class in turn, in a fixed mixed order."""
    groups = [[s for s in panoptic.segments if s.category_id == c.id] for c in panoptic.taxonomy.all]
    columns = [sorted(group, key=lambda s: -s.area) for group in groups]
    turns = [s.id for s in chain.from_iterable(zip_longest(*columns)) if s is not None][:count]
    return [turns[i] for i in np.random.default_rng(_SEED).permutation(len(turns))]
