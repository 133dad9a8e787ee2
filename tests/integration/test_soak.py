"""A short piece of `make soak`: a real service under a steady load, watched from outside, neither loses nor leaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONG = os.environ.get("AICO_SCHED_LONG") == "1"
SECONDS, EXECUTIONS, COMMANDS = (120, 500, 1_000) if LONG else (18, 100, 200)
TIMING = frozenset({"p99, start delay", "p99, commands"})
"""Not judged in the short form: the suite's other tests run on the same processors."""


@pytest.mark.timeout(300)
def test_a_steady_load_loses_no_slot_and_leaks_nothing(tmp_path: Path) -> None:
    found = tmp_path / "soak.json"
    load = ["--seconds", str(SECONDS), "--executions", str(EXECUTIONS), "--commands", str(COMMANDS)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "benchmarks" / "soak.py"), *load, "--every", "1", "--out", str(found)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert found.exists(), done.stderr
    verdicts = json.loads(found.read_text(encoding="utf-8"))["verdicts"]
    judged = [verdict for verdict in verdicts if LONG or verdict["what"] not in TIMING]
    assert len(judged) >= 8, done.stdout
    assert [verdict for verdict in judged if not verdict["holds"]] == [], done.stdout
