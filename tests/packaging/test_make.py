"""`make` finds a Python that works, explains itself, and CI runs what a developer runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, path: Path | None = None) -> "subprocess.CompletedProcess[str]":
    tools = "/usr/bin:/bin" if path is None else str(path)
    environ = {"PATH": tools, "HOME": os.environ.get("HOME", "/")}
    command = [str(shutil.which("make")), "--no-print-directory", "VENV=none", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A path with a shell and nothing that could be Python."""
    for name in ("sh", "bash", "awk", "touch"):
        if found := shutil.which(name):
            (tmp_path / name).symlink_to(found)
    return tmp_path


def command(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_every_target_is_explained() -> None:
    targets = set(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split())
    shown = {line.split()[1] for line in make("help").stdout.splitlines()}
    assert shown == targets
    assert {
        "demo",
        "docs",
        "test",
        "lint",
        "types",
        "layers",
        "check",
        "bench",
        "fuzz-cron",
        "torture",
        "long",
        "clean",
    } <= shown


def test_an_interpreter_that_does_not_run_is_passed_over(tools: Path) -> None:
    command(tools, "python3", "exit 127")
    command(tools, "python3.13", "exit 127")
    command(tools, "python3.12", f'exec {sys.executable} "$@"')
    assert f"{tools}/python3.12 -m venv" in make("-n", "install", path=tools).stdout


def test_python3_comes_first_where_it_fits(tools: Path) -> None:
    for name in ("python3", "python3.12"):
        command(tools, name, f'exec {sys.executable} "$@"')
    assert f"{tools}/python3 -m venv" in make("-n", "install", path=tools).stdout


def test_no_python_at_all_is_said_with_a_way_out(tools: Path) -> None:
    done = make("test", path=tools)
    assert done.returncode == 2
    assert "No Python 3.11, 3.12 or 3.13" in done.stderr
    assert "PYTHON=" in done.stderr


def test_ci_runs_the_checks_and_the_tests_last() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    steps = [line.split() for line in script.read_text().splitlines() if line.startswith("make ")]
    targets = [[word for word in step[1:] if not word.startswith("-")] for step in steps]
    assert {"lint", "types", "layers"} <= set(targets[0])
    assert targets[1:] == [["test"]]
    assert script.read_text().rstrip().endswith("test")


def test_where_uv_fails_pip_installs(tools: Path) -> None:
    """An index that only pip is configured for."""
    log = tools / "log"
    command(tools, "python3", "exit 0")
    environment = tools / "venv"
    (environment / "bin").mkdir(parents=True)
    command(environment / "bin", "python", f'echo "$@" >> {log}')
    command(environment / "bin", "uv", "echo unreachable >&2; exit 2")
    done = make("--jobs=2", "install", f"VENV={environment}", path=tools)
    assert done.returncode == 0
    assert "unreachable" not in done.stderr
    assert log.read_text().splitlines()[-1].endswith("--no-compile --editable .[dev]")
    assert (environment / ".installed").exists()


@pytest.fixture
def javascript(tools: Path) -> Path:
    """A tree of which the tests have passed already, with a folder of JavaScript."""
    (tools / "code").mkdir()
    (tools / "code" / "package.json").write_text("{}")
    environment = tools / "venv" / "bin"
    environment.mkdir(parents=True)
    (environment / ".installed").touch()
    (tools / "venv" / ".installed").touch()
    command(environment, "python", "exit 0")
    command(tools, "chromium", "exit 0")
    return tools


def with_npm(tools: Path, target: str) -> "subprocess.CompletedProcess[str]":
    return make(target, f"VENV={tools / 'venv'}", f"NODE_FOLDERS={tools / 'code'}", path=tools)


@pytest.mark.parametrize("npm", ["echo $@ >> {log}; exit 1", None], ids=["no registry", "no npm"])
def test_without_packages_for_node_the_tests_run_and_node_alone_fails(npm: str | None, javascript: Path) -> None:
    log = javascript / "log"
    if npm is not None:
        command(javascript, "npm", npm.format(log=log))
    tested = with_npm(javascript, "test")
    assert tested.returncode == 0, tested.stderr
    assert "The tests that need them are skipped." in tested.stderr
    assert not (javascript / "code" / "node_modules" / ".installed").exists()
    asked = with_npm(javascript, "node")
    assert asked.returncode == 2
    assert "npm" in asked.stderr and "skipped" not in asked.stderr
    if npm is not None:
        patient = [line.split("--fetch-timeout=")[1] for line in log.read_text().splitlines()]
        assert patient == ["10000", "60000"]


def test_with_packages_for_node_they_are_installed_once(javascript: Path) -> None:
    log = javascript / "log"
    folder = javascript / "code" / "node_modules"
    (javascript / "mkdir").symlink_to(str(shutil.which("mkdir")))
    command(javascript, "npm", f"mkdir -p {folder}; echo installed >> {log}")
    for target in ("node", "test", "test"):
        assert with_npm(javascript, target).returncode == 0
    assert log.read_text() == "installed\n"


def test_ci_cannot_do_without_the_packages_for_node() -> None:
    first = next(line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make "))
    assert "node" in first.split()
