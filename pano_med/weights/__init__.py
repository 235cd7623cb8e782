"""Weights as safetensors with a card: what they were made from, what they can do, and the hash of the file.

This folder is the registry of what ships with the package: each `NAME.json` is a card, beside its `NAME.safetensors`.
"""

from pano_med.weights.cards import read_card, shipped
from pano_med.weights.imagenet import imagenet_lite0
from pano_med.weights.store import DEFAULT, LoadedWeights, find, load, save

__all__ = ["DEFAULT", "LoadedWeights", "find", "imagenet_lite0", "load", "read_card", "save", "shipped"]
