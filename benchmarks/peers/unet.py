"""The strong simple way: a U-Net on our encoder, three classes (background, inside, boundary), watershed.

The encoder is lite0 with the ImageNet weights that ours starts from, the decoder is the usual one (as in
segmentation_models: upsample, join, two convolutions), and prediction gets the same help as ours: norms folded into
convolutions, strips, channels last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from monai.inferers import sliding_window_inference
from scipy import ndimage
from skimage import measure, segmentation
from torch import Tensor, nn
from torch.nn import functional as F

from pano_med.models import lean
from pano_med.models.sampling import own_randomness
from pano_med.training import TrainConfig
from pano_med.training.recipe import Ingredients
from pano_med.types import HE_CORE
from pano_med.weights import imagenet_lite0
from peers.budget import facts, labels, nuclei_only, train_network
from peers.peer import Method, at_model_scale, count, filled

BACKGROUND, INSIDE, BOUNDARY = range(3)
#: Value of pixels that teach nothing.
IGNORED = 255
WIDTHS = (256, 128, 64, 32, 16)
#: Larger images go through in windows of this side.
WINDOW = 1024
#: Smaller pieces are no nuclei, in pixels of the model.
MIN_PX = 80


class UNet(nn.Module):
    """lite0 and a decoder with skips at strides 16, 8, 4 and 2.

    Args:
        pretrained: weights of the encoder in timm's names, or None for random ones.
        seed: of the rest.
    """

    taxonomy = HE_CORE

    def __init__(self, pretrained: Mapping[str, Tensor] | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config = {"name": "unet"}
        with own_randomness(seed, torch.device("cpu")):
            self.encoder = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
            skips = self.encoder.feature_info.channels()[::-1]  # coarsest first
            incoming = (skips[0], *WIDTHS[:-1])
            self.steps = nn.ModuleList(_two_convolutions(a + b, w) for a, b, w in
                                       zip(incoming, (*skips[1:], 0), WIDTHS, strict=True))  # fmt: skip
            self.last = nn.Conv2d(WIDTHS[-1], 3, 3, padding=1)
        if pretrained is not None:
            own = self.encoder.state_dict()
            self.encoder.load_state_dict({k: pretrained[k] for k in own})
        for name in ("mean", "std"):
            values = torch.tensor(self.encoder.default_cfg[name]).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Losses of crops: cross-entropy and Dice of nucleus pixels."""
        return pixel_losses(self.logits(torch.stack(list(images))), torch.stack([t["classes"] for t in targets]).long())

    def logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) pixels 0..1, any size -> (B, 3, H, W) logits."""
        height, width = images.shape[2:]
        x = F.pad((images - self.mean) / self.std, (0, -width % 32, 0, -height % 32), mode="replicate")
        *skips, x = self.encoder(x.contiguous(memory_format=torch.channels_last))
        for step, skip in zip(self.steps, (*skips[::-1], None), strict=True):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = step(x if skip is None else torch.cat([x, skip], 1))
        return self.last(x)[..., :height, :width]


def pixel_losses(logits: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Of (B, 3, H, W) logits and (B, H, W) int64 classes: mean cross-entropy, and Dice of what is nucleus."""
    good = truth != IGNORED
    said, nucleus = logits.softmax(1)[:, INSIDE:].sum(1) * good, (truth > BACKGROUND) & good
    dice = 1 - (2 * (said * nucleus).sum() + 1) / (said.sum() + nucleus.sum() + 1)
    entropy = F.cross_entropy(logits, truth, ignore_index=IGNORED, reduction="sum") / good.sum().clamp(min=1)
    return {"entropy": entropy, "dice": dice}


def _two_convolutions(incoming: int, width: int) -> nn.Sequential:
    parts = [(nn.Conv2d(c, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
             for c in (incoming, width)]  # fmt: skip
    return nn.Sequential(*parts[0], *parts[1])


def boundary_targets(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """"classes", (H, W) uint8: the outer two pixels of each nucleus are boundary, its rest inside."""
    classes = boundary_classes(labels(target["masks"]).numpy())
    return {"classes": torch.from_numpy(classes).masked_fill(target["ignore"], IGNORED)}


def boundary_classes(ids: np.ndarray) -> np.ndarray:
    """(H, W) numbers of nuclei -> (H, W) uint8 classes; the border of the image is no boundary."""
    rim = segmentation.find_boundaries(ids, connectivity=1, mode="inner")
    rim = ndimage.binary_dilation(rim) & (ids > 0)
    return np.where(rim, BOUNDARY, np.where(ids > 0, INSIDE, BACKGROUND)).astype(np.uint8)


def train(parts: Ingredients, config: TrainConfig, folder: Path) -> None:
    """Train, or go on, in a folder."""
    model = UNet(imagenet_lite0(), config.seed)
    train_network(model, nuclei_only(parts), config, folder, boundary_targets)


def load(folder: Path) -> Method:
    """The trained network with its watershed."""
    model = filled(UNet(), folder)
    mpp = float((facts(folder) or {})["config"]["model_mpp"])
    slim = lean(model)

    def label(image: Tensor) -> np.ndarray:
        x = image[None]
        if max(x.shape[2:]) > WINDOW * 9 // 8:  # a thin second window would cost time and help nobody
            said = sliding_window_inference(x, WINDOW, 1, slim.logits, overlap=0.125, mode="gaussian")
        else:
            said = slim.logits(x)
        return split(said[0].softmax(0).numpy())

    return Method(at_model_scale(label, mpp), count(model))


def split(shares: np.ndarray) -> np.ndarray:
    """(3, H, W) probabilities -> (H, W) int32 numbers: seeds are where inside wins, they flood all that is nucleus."""
    inside, nucleus = shares[INSIDE], shares[BACKGROUND] < 0.5
    seeds = measure.label(inside > 0.5, connectivity=1)
    pieces = measure.label(nucleus, connectivity=1)
    thin = ~np.isin(pieces, np.unique(pieces[seeds > 0])) & nucleus  # too thin to have an inside
    seeds = np.where(thin, pieces + seeds.max(), seeds)
    ids = segmentation.watershed(-inside, seeds, mask=nucleus)
    return np.where(np.bincount(ids.ravel())[ids] >= MIN_PX, ids, 0).astype(np.int32)
