"""Image in, panoptic map out: one call, any size, any pixel size."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pano_med import weights as weight_files
from pano_med.fusion import FusionRules, HeuristicRules, MergeRules, fuse, merge_heuristic
from pano_med.models import lean
from pano_med.predict.doubt import doubted
from pano_med.predict.familiar import strangeness
from pano_med.predict.scale import estimate_mpp, rescaled, to_tensor
from pano_med.tiles import NOBODY, Grid, Piece, cut_piece, join
from pano_med.types import DEMONSTRATION, Panoptic, Prediction, Taxonomy, check_pixel_size
from pano_med.weights import LoadedWeights

#: Side of a tile and overlap of neighbours, in pixels of the model; both multiples of 32.
TILE, OVERLAP = 1024, 128
#: The network takes no smaller image.
_SMALLEST = 32


@dataclass(frozen=True)
class Segmented:
    """A segmented image.

    Attributes:
        panoptic: the map, of the size of the image.
        mpp: micrometres per pixel of the image that the result rests on.
        mpp_source: "given" or "estimated".
        warnings: what the reader should know, one sentence each.
        seconds: time it took.
    """

    panoptic: Panoptic
    mpp: float
    mpp_source: str
    warnings: tuple[str, ...]
    seconds: float


class Segmenter:
    """Weights ready to segment images.

    Args:
        loaded: network and card, see `pano_med.weights.load`.
        device: where to compute; None = an accelerator where there is one, else the CPU.
        score: cut on the score of things, 0..1; None = the card's, else the fusion's.
        types: whether things keep their types although the card does not call them validated. Then `taxonomy.note`
            says that they are a demonstration, and so does every output. The things are the same in either case.

    Attributes:
        taxonomy: of the maps: the network's own, or `Taxonomy.plain` of it.
    """

    def __init__(self, loaded: LoadedWeights, device: str | torch.device | None = None,
                 score: float | None = None, types: bool = False) -> None:
        self.device, self.taxonomy = pick_device(device), _spoken(loaded, types)
        self.loaded, self.model = loaded, loaded.model.to(self.device)
        self._network = lean(self.model)  # says the same in less time and memory
        cut = loaded.meta.get("score", FusionRules().score) if score is None else score
        heuristic = loaded.meta["config"]["name"] != "efficientps"
        gain = float(loaded.meta.get("mask_gain", FusionRules().mask_gain))
        # Confined, because FL comes back to 0 where both heads say no: on a slide where every stuff logit is low, an
        # instance would fill its box.
        fusion = FusionRules(score=cut, mask_gain=gain, confine_positive=True)
        self.rules = HeuristicRules(score=cut) if heuristic else fusion

    def __call__(self, image: np.ndarray, pixel_size_um: float | None = None,
                 on_tile: Callable[[int, int], None] | None = None) -> Segmented:
        """Segment one image.

        Args:
            image: (H, W, 3) uint8 RGB, any size; large ones go through in overlapping tiles.
            pixel_size_um: side of a pixel; None = estimated from the size of nuclei, which is said in `warnings`.
            on_tile: called with (tiles done, tiles in all).

        Raises:
            ValueError: not such an image, or not a positive pixel size.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError("an image must be (H, W, 3) uint8 with at least one pixel, "
                             f"got {image.shape} of {image.dtype}")
        check_pixel_size(pixel_size_um)
        began, notes = time.perf_counter(), [s for s in (strangeness(image),) if s]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            mpp, source = pixel_size_um, "given"
            if mpp is None:
                mpp, note = self._guess(image)
                source = "estimated"
                notes.append(note)
            panoptic = self._segment(image, mpp, on_tile)
        notes += [self.taxonomy.note] if self.taxonomy.note else []
        notes += sorted({str(w.message) for w in caught if issubclass(w.category, UserWarning)})
        return Segmented(panoptic, mpp, source, tuple(notes), time.perf_counter() - began)

    def predict(self, image: np.ndarray, mpp: float) -> Prediction:
        """What the network says of a whole image, on the image's own grid, before fusion.

        Args:
            image: (H, W, 3) uint8; small enough for memory.
            mpp: micrometres per pixel of the image.
        """
        h, w = image.shape[:2]
        factor = mpp / self.loaded.model_mpp
        size = max(_SMALLEST, round(h * factor)), max(_SMALLEST, round(w * factor))
        with torch.inference_mode():
            said = self._network([to_tensor(image, size).to(self.device)])[0]
            return rescaled(said, (h, w), mpp)

    def _guess(self, image: np.ndarray) -> tuple[float, str]:
        start = self.loaded.model_mpp
        um = self.loaded.nucleus_um
        if um is None:
            return start, ("the pixel size is unknown, and these weights find no nuclei to guess it by: "
                           f"{start:g} um is assumed; give the true one")
        mpp, count = estimate_mpp(image, lambda part, assumed: self._segment(part, assumed, None), um, start)
        if not count:
            return start, ("the pixel size is unknown and too few nuclei were found to guess it: "
                           f"{start:g} um is assumed")
        return mpp, (f"the pixel size is unknown: {mpp:.2f} um is guessed from {count} nuclei; "
                     "give the true one if you can")

    def _segment(self, image: np.ndarray, mpp: float, on_tile: Callable[[int, int], None] | None) -> Panoptic:
        size = image.shape[:2]
        factor = self.loaded.model_mpp / mpp  # pixels of the image per pixel of the model
        tile, overlap = max(64, round(TILE * factor)), max(8, round(OVERLAP * factor))
        if max(size) <= tile + overlap:  # a thin second tile would cost time and help nobody
            tile = max(*size, 2 * overlap + 1)
        grid = Grid(size, tile, overlap)
        ids, winner = np.zeros(size, np.int32), np.full(size, NOBODY, np.uint8)
        pieces: dict[int, Piece] = {}
        numbers: dict[int, np.ndarray] = {}
        classes: dict[int, int] = {}
        scores: dict[int, float] = {}
        large = 0
        for index, place in enumerate(grid):
            said = self.predict(image[place.window], mpp)
            pieces[index] = piece_of(grid, index, said, self.rules, self.taxonomy)
            joined = join(grid, index, pieces, numbers, len(classes) + 1)
            numbers[index], ids[place.cell], winner[place.cell] = joined.numbers, joined.ids, joined.winner
            found = pieces[index].arrays
            for number, category, score in zip(joined.numbers.tolist(), found["categories"].tolist(),
                                               found["scores"].tolist(), strict=True):
                if number:
                    classes[number] = category
                    if not np.isnan(score):
                        scores[number] = score
            large += int(np.count_nonzero(~found["whole"]))
            for old in [i for i in pieces if i < index - grid.shape[1]]:
                del pieces[old], numbers[old]
            if on_tile is not None:
                on_tile(index + 1, len(grid))
        if large:
            warnings.warn(f"{large} objects are larger than the overlap of the tiles, {overlap * mpp:.0f} um, and were "
                          "left out: no tile sees them whole", stacklevel=2)
        return self._finish(ids, winner, classes, scores, mpp)

    def _finish(self, ids: np.ndarray, winner: np.ndarray, classes: dict[int, int], scores: dict[int, float],
                mpp: float) -> Panoptic:
        """Things over stuff; a stuff class below the area limit becomes void."""
        taxonomy, count = self.taxonomy, len(classes)
        limit = self.rules.stuff_limit_px(ids.shape, mpp)
        free = ids == 0
        for channel, category in enumerate(taxonomy.stuff):
            mine = free & (winner == channel)
            area = np.count_nonzero(mine)
            if area and area >= limit:
                number = count + 1 + channel
                classes[number] = category.id
                ids[mine] = number
        return Panoptic.from_ids(ids, classes, taxonomy, mpp, scores)


def _spoken(loaded: LoadedWeights, types: bool) -> Taxonomy:
    """The taxonomy of the maps; plain unless types are validated or asked for."""
    own, plain = loaded.taxonomy, loaded.taxonomy.plain()
    if loaded.types_validated or plain is own:
        return own
    return replace(own, note=DEMONSTRATION) if types else plain


def piece_of(grid: Grid, index: int, prediction: Prediction, rules: MergeRules, taxonomy: Taxonomy) -> Piece:
    """Fuse one tile and keep what `pano_med.tiles.join` needs.

    Args:
        grid: the tiles.
        index: the tile.
        prediction: of that tile.
        rules: the kind decides the merge: `FusionRules` the fusion of EfficientPS, else the heuristic one.
        taxonomy: of the piece: the prediction's, or `Taxonomy.plain` of it.
    """
    logits = prediction.semantic_logits[: prediction.taxonomy.num_stuff].float().cpu().numpy()
    return cut_piece(grid, index, logits, merged_tile(prediction, rules, taxonomy))


def merged_tile(prediction: Prediction, rules: MergeRules, taxonomy: Taxonomy) -> Panoptic:
    """The map of one tile; small stuff is judged on the whole image, not here. Arguments as `piece_of`.

    Types are taken off or doubted after the merge, so that the same things come out with and without them.
    """
    rules = replace(rules, min_stuff_um2=0.0, min_stuff_fraction=0.0)
    merged = (fuse if isinstance(rules, FusionRules) else merge_heuristic)(prediction, rules).panoptic
    return doubted(merged, prediction) if taxonomy == merged.taxonomy else merged.plain()


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name; None = the accelerator that torch finds, else the CPU.

    Raises:
        ValueError: a device that this machine or torch does not have.
    """
    if name is None:
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"the device must be one that this machine has, {name!r} is not: try cpu") from error
    return device


def load_segmenter(weights: str | Path = weight_files.DEFAULT, device: str | torch.device | None = None,
                   score: float | None = None, types: bool = False) -> Segmenter:
    """Weights by name or path, ready to segment.

    Args:
        weights: a name of the weights that ship with the package, or a .safetensors file.
        device: see `Segmenter`.
        score: see `Segmenter`.
        types: see `Segmenter`.

    Raises:
        FileNotFoundError: no such weights.
        ValueError: broken weights, an unknown device, or a score outside 0..1.
    """
    return Segmenter(weight_files.load(weights, pick_device(device)), device, score, types)
