"""`python -m pano_med` is `pano-med`."""

from pano_med.cli import main

main()
