"""The data cards lie at the top of the repository, where people look, and travel inside the package."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["pano_med*"]), "pano_med.data_cards"],
    package_dir={"pano_med.data_cards": "data_cards"},
)
