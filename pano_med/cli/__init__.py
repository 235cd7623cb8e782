"""The command line. Thin: each command calls the rooms below; heavy imports wait inside, so that help comes at once."""

from __future__ import annotations

from pano_med.cli.app import app, main
from pano_med.cli.commands import demo, doctor, evaluate, segment, train
from pano_med.cli.data_commands import data_app

__all__ = ["app", "data_app", "demo", "doctor", "evaluate", "main", "segment", "train"]
