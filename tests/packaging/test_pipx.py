"""`pipx run` and `pipx install` make of the wheel a command that works (its entry point: `test_distributions.py`)."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aico_sched import __version__


@pytest.mark.timeout(600)
@pytest.mark.skipif(not os.environ.get("AICO_SCHED_LONG"), reason="long: installs the package from a package index")
def test_pipx_runs_and_installs_it(wheel: Path, run: Callable[..., str], tmp_path: Path) -> None:
    """With pipx itself, and everything the package needs from the package index this machine is set up for."""
    index = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_")) or "proxy" in name}
    index |= {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    if "PIP_CONFIG_FILE" not in index and (own := Path.home() / ".config/pip/pip.conf").exists():
        index["PIP_CONFIG_FILE"] = str(own)
    run(sys.executable, "-m", "venv", tmp_path / "v", cwd=tmp_path)
    run(tmp_path / "v/bin/python", "-m", "pip", "install", "--quiet", "pipx", cwd=tmp_path, **index)
    pipx = tmp_path / "v/bin/pipx"
    told = run(pipx, "run", "--spec", wheel, "aico-sched", "--version", cwd=tmp_path, **index)
    assert told.split() == ["aico-sched", __version__]
    run(pipx, "install", f"{wheel}[api]", cwd=tmp_path, **index)
    assert '"expression": "@daily"' in run(tmp_path / "bin/aico-sched", "next", "@daily", "--json", cwd=tmp_path)
