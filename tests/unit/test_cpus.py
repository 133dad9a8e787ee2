"""How many processors may be used: affinity, container limits of both kinds, and every group above."""

import os
from pathlib import Path

import pytest

from aico_sched.cpus import usable_cpus

ALL = len(os.sched_getaffinity(0))


def group(root: Path, path: str = ".", **files: str) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / path / name.replace("__", ".")).write_text(text)


@pytest.fixture
def member(tmp_path: Path) -> Path:
    path = tmp_path / "membership"
    path.write_text("0::/system.slice/aico.service\n")
    return path


def test_without_limits_it_is_the_affinity(tmp_path: Path, member: Path) -> None:
    assert usable_cpus(tmp_path / "none", member) == ALL
    assert usable_cpus(tmp_path / "none", tmp_path / "no membership") == ALL


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", ALL),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("150000 100000", min(2, ALL)),
        ("100000000 100000", ALL),
        ("rubbish", ALL),
        ("5 0", ALL),
    ],
)
def test_a_container_s_quota_counts_in_whole_processors(
    tmp_path: Path, member: Path, quota: str, expected: int
) -> None:
    group(tmp_path / "v2", cpu__max=quota)
    assert usable_cpus(tmp_path / "v2", member) == expected


def test_the_tightest_of_the_groups_above_counts(tmp_path: Path, member: Path) -> None:
    group(tmp_path / "v2", cpu__max="max 100000")
    group(tmp_path / "v2", "system.slice", cpu__max="100000 100000")
    group(tmp_path / "v2", "system.slice/aico.service", cpu__max="800000 100000")
    assert usable_cpus(tmp_path / "v2", member) == 1


def test_the_older_kind_of_limit_counts_too(tmp_path: Path, member: Path) -> None:
    group(tmp_path / "v1", "cpu", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    assert usable_cpus(tmp_path / "v1", member) == 1
    group(tmp_path / "v1", "cpu", cpu__cfs_quota_us="-1")
    assert usable_cpus(tmp_path / "v1", member) == ALL
