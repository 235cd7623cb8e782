"""How much a lesson's cell does: more where torch finds an accelerator. Imports torch, so ask for it by its module."""

from typing import TypeVar

import torch

T = TypeVar("T")


def more(cpu: T, accelerator: T) -> T:
    """The second value where torch finds an accelerator, else the first.

    Args:
        cpu: what two cores of a processor do in a few seconds, a number of fields for example.
        accelerator: what an accelerator does in that time.
    """
    return accelerator if torch.accelerator.is_available() else cpu
