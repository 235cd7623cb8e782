"""`pano-med train`: real tiles from the data folder, synthetic tiles beside them, the loop of `pano_med.training`."""
