"""Node with the packages that `make node` installs."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def node() -> Callable[[Path], str]:
    """Gives Node for a folder whose packages are installed. Only outside CI may it be missing."""

    def of(folder: Path) -> str:
        program = shutil.which("node")
        if program is not None and (folder / "node_modules" / ".installed").exists():
            return program
        if os.environ.get("CI"):
            pytest.fail("CI needs Node with npm, and `make node`")
        pytest.skip("needs Node with npm, and `make node`")

    return of


@pytest.fixture
def run_node(node: Callable[[Path], str]) -> Callable[..., str]:
    """Runs a script of a folder to its end and gives what it printed."""

    def run(script: Path, *arguments: str) -> str:
        command = [node(script.parent), str(script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{script.name} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
