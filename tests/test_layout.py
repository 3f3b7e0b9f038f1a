"""The folders, the listed packages and the static tools' links name the same things."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def package_folders() -> set[Path]:
    top = {p.parent for p in ROOT.glob("*/__init__.py")}
    return top | {ROOT / "src/neuropyro"}


def test_listed_packages_are_exactly_the_folders_with_an_init():
    listed = {ROOT / folder for folder in SETUPTOOLS["package-dir"].values()}
    assert listed == package_folders()
    assert set(SETUPTOOLS["packages"]) == set(SETUPTOOLS["package-dir"])


def test_each_link_resolves_to_its_top_level_folder():
    links = {p.name: p.resolve() for p in (ROOT / "src/neuropyro").iterdir() if p.is_symlink()}
    assert links == {p.name: p for p in package_folders() if p.name != "neuropyro"}


def test_folders_are_flat():
    nested = [p for folder in package_folders() for p in folder.glob("*/*.py") if not p.parent.is_symlink()]
    assert nested == []


def test_each_constraint_is_one_version_of_another_package():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    assert all(len(pair) == 2 for pair in pairs)
    assert len({name for name, _ in pairs}) == len(pairs)
