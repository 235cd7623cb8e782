"""Fixtures that every test file may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real images (`PANO_MED_DATA`); tests that need it skip where it is absent."""
    root = os.environ.get("PANO_MED_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("real images are not here: set PANO_MED_DATA to the folder that holds them")
    return Path(root)
