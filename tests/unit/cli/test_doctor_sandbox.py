"""`doctor` tries the sandbox out and says what it is made of, or why there is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from aico_sched.execution.sandbox import landlock


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AICO_SCHED_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AICO_SCHED_CONFIG_DIR", str(tmp_path / "config"))


def check(aico: Any) -> dict[str, Any]:
    found = json.loads(aico("doctor", "--json").stdout)["checks"]
    (one,) = [each for each in found if each["name"] == "sandbox"]
    return dict(one)


def test_the_sandbox_is_tried_out(aico: Any) -> None:
    found = check(aico)
    if landlock.version():
        assert found["status"] == "ok"
        assert f"Landlock {landlock.version()}" in found["detail"]
    else:
        assert found["status"] == "warning"


def test_one_that_is_switched_off_is_warned_of(aico: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICO_SCHED_SANDBOX__ENABLED", "false")
    assert check(aico)["status"] == "warning"
