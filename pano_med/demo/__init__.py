"""The demo: one real region from file to report."""

from pano_med.demo.fetch import NotFetched, cache_folder, fetch_hgsc
from pano_med.demo.region import TEST_ROW, Quality, Region, he_region, ihc_region, quality
from pano_med.demo.show import Shown, show

__all__ = [
    "TEST_ROW",
    "NotFetched",
    "Quality",
    "Region",
    "Shown",
    "cache_folder",
    "fetch_hgsc",
    "he_region",
    "ihc_region",
    "quality",
    "show",
]
