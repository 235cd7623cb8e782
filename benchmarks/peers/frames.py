"""Arrays through a pipe between two Pythons: a line of JSON, then their bytes. NumPy only, because both sides use it.

(`np.load` needs a file that can seek, and pickle is out of the question.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np


def send(stream: BinaryIO, facts: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Write one message."""
    described = [[a.dtype.str, list(a.shape)] for a in arrays]
    stream.write(json.dumps({"arrays": described, **facts}).encode() + b"\n")
    for array in arrays:
        stream.write(np.ascontiguousarray(array).tobytes())
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
    """
    line = stream.readline()
    if not line:
        raise EOFError("the other process has ended")
    facts = json.loads(line)
    arrays = []
    for kind, shape in facts.pop("arrays"):
        size = np.dtype(kind).itemsize * int(np.prod(shape))
        data = stream.read(size)
        if len(data) < size:
            raise EOFError("the other process ended in the middle of a message")
        arrays.append(np.frombuffer(data, kind).reshape(shape))
    return facts, arrays
