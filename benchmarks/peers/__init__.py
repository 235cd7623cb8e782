"""Other ways to find nuclei, each trained from the same data for the same time; see `benchmarks/bench_peers.py`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from peers import hovernet, ours, stardist, unet, watershed
from peers.peer import Method, Peer

__all__ = ["OURS", "PEERS", "Method", "Peer"]

OURS = "efficientps"
_PEERS = (
    Peer(OURS, "EfficientPS (ours)", "ImageNet", ours.train_efficientps, ours.load),
    Peer("small-pair", "FCN + Mask R-CNN, lite0 each", "ImageNet", ours.train_small_pair, ours.load),
    Peer("resnet-pair", "FCN + Mask R-CNN, ResNet-50 each (torchvision)", "random", ours.train_resnet_pair, ours.load),
    Peer("hovernet", "HoVer-Net fast (MONAI)", "random", hovernet.train, hovernet.load),
    Peer("unet", "U-Net with boundary class, lite0", "ImageNet", unet.train, unet.load),
    Peer("stardist", "StarDist, 32 rays", "random", stardist.train, stardist.load, stardist.absent),
    Peer("watershed", "watershed (scikit-image)", "nothing to learn", None, watershed.load),
)

#: Every peer by its name, ours first.
PEERS: Mapping[str, Peer] = MappingProxyType({peer.name: peer for peer in _PEERS})
