"""The training loop: one config, exact resume, checkpoints without pickle, partial labels from the start."""

from pano_med.training.checkpoint import load_weights
from pano_med.training.config import TrainConfig
from pano_med.training.loop import FitResult, fit
from pano_med.training.progress import Interrupted
from pano_med.training.validate import Scores, at_mpp, predict_sample

__all__ = ["FitResult", "Interrupted", "Scores", "TrainConfig", "at_mpp", "fit", "load_weights", "predict_sample"]
