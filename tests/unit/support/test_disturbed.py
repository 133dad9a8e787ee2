"""What fails while the machine is disturbed runs once more; what fails on a quiet one fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.disturbed import Watch

ROOT = Path(__file__).parents[3]

CASES = """
import time
from pathlib import Path

RUNS = Path(__file__).with_name("runs")


def test_is_wrong():
    with RUNS.open("a") as runs:
        runs.write("wrong ")
    assert 1 == 2


def test_is_disturbed_once(monkeypatch):
    with RUNS.open("a") as runs:
        runs.write("disturbed ")
    if RUNS.read_text().count("disturbed") == 1:
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 0.15)
        assert 1 == 2
"""


@pytest.mark.parametrize(
    ("wall", "ticks", "said"),
    [
        (110.0, [], None),
        (110.01, [], None),
        (109.86, [], "the wall clock was set by -0.140 s"),
        (170.0, [], "the wall clock was set by +60.000 s"),
        (110.0, [0.25, 0.6, 2.0], None),
        (110.0, [0.25, 3.5], "the machine stood still for 3.0 s"),
    ],
)
def test_a_disturbance_is_a_step_or_a_standstill(wall: float, ticks: list[float], said: str | None) -> None:
    watch = Watch(100.0, 0.0)
    for moment in ticks:
        watch.tick(moment)
    assert watch.verdict(wall, 10.0) == said


def test_only_what_was_disturbed_runs_again(tmp_path: Path) -> None:
    cases = tmp_path / "test_cases.py"
    cases.write_text(CASES, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.disturbed"]
    project = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(cases)]
    ran = subprocess.run(
        [*command, *project],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert ran.stdout.splitlines()[-1].startswith("1 failed, 1 passed, 1 rerun in "), ran.stdout
    assert (tmp_path / "runs").read_text(encoding="utf-8").split() == ["wrong", "disturbed", "disturbed"]
