"""What users install is what stands in the tree, whichever way it is built."""

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aico_sched import __version__

SHIPPED = {".py", ".yaml", ".sql", ".typed", ".html", ".js", ".css", ".svg"}


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def sources(tree: Path) -> Iterator[tuple[str, bytes]]:
    """Every file to ship with its name in the package, read through the links as a checkout is."""
    for folder in (tree / "aico_sched", *(tree / "aico_sched" / name for name in ("actors", "topics", "config"))):
        for path in folder.rglob("*"):
            if path.suffix in SHIPPED and "__pycache__" not in path.parts:
                yield path.relative_to(tree).as_posix(), path.read_bytes()


def test_the_wheel_holds_the_tree_and_nothing_else(tree: Path, wheel: Path) -> None:
    expected, found = dict(sources(tree)), contents(wheel)
    hint = "a new package folder must stand in `packages` of pyproject.toml"
    assert sorted(found) == sorted(expected), hint
    assert found == expected


def test_the_top_level_folders_arrive_as_subpackages(wheel: Path) -> None:
    names = set(contents(wheel))
    assert {"aico_sched/actors/__init__.py", "aico_sched/topics/registry.py"} <= names
    assert {"aico_sched/config/defaults/core.yaml", "aico_sched/py.typed"} <= names
    assert {name.partition("/")[0] for name in names} == {"aico_sched"}


def test_the_metadata_names_version_licence_and_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"aico_sched-{__version__}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode()
        assert "aico-sched = aico_sched.cli.app:main" in archive.read(f"{info}/entry_points.txt").decode()
        assert b"Apache License" in archive.read(f"{info}/licenses/LICENSE")
    assert f"Version: {__version__}" in metadata
    assert "License-Expression: Apache-2.0" in metadata


def test_the_sdist_builds_the_same_wheel(
    sdist: Path, wheel: Path, build_wheel: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        # Python 3.11 has the filter from 3.11.4 on.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)  # type: ignore[assignment]
        archive.extractall(tmp_path)
    (unpacked,) = tmp_path.iterdir()
    (tmp_path / "wheel").mkdir()
    assert contents(build_wheel(unpacked, tmp_path / "wheel")) == contents(wheel)


@pytest.mark.parametrize("name", ["LICENSE", "README.md", "CHANGELOG.md", "DECISIONS.md", "Makefile", "pyproject.toml"])
def test_the_sdist_brings_the_documents(sdist: Path, name: str) -> None:
    with tarfile.open(sdist) as archive:
        assert any(member.partition("/")[2] == name for member in archive.getnames())
