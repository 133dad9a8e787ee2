"""`aico-sched tasks` and `aico-sched run-task`: without a service, in a process of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aico_sched.cli.app import app

SLOW = '''
import asyncio
from aico_sched.tasks import BaseTask

class Slow(BaseTask):
    """Takes its time."""
    name = "user.slow"

    async def execute(self, context):
        (context.data_dir / "begun").touch()
        try:
            await asyncio.sleep(600)
        finally:
            (context.data_dir / "ended").touch()
'''


@pytest.fixture
def aico(tmp_path: Path) -> Any:
    def run(*arguments: str) -> Any:
        environ = {"AICO_SCHED_DATA_DIR": str(tmp_path), "AICO_LOGS_DIR": str(tmp_path / "logs")}
        return CliRunner().invoke(app, list(arguments), env=environ)

    return run


def test_every_class_is_listed_with_what_people_ask_about(aico: Any) -> None:
    listed = {one["name"]: one for one in json.loads(aico("tasks", "--json").output)["tasks"]}
    cleanup = listed["maintenance.log_cleanup"]
    assert cleanup["schedule"] == "0 3 * * *" and cleanup["description"] and "files.system" in cleanup["permissions"]
    keys = {key["name"]: key for key in cleanup["config"]}
    assert keys["retention_days"]["default"] == 30 and keys["retention_days"]["description"]
    assert listed["bus.publish"]["schedule"] is None
    assert next(key for key in listed["bus.publish"]["config"] if key["name"] == "topic")["required"]
    shown = aico("tasks").output
    assert "agency.background_learning" in shown and "min_days=14" in shown and "topic=REQUIRED" in shown


def test_a_task_runs_alone_and_tells_how_it_went(aico: Any) -> None:
    done = aico("run-task", "demo.echo", "--config", "a=1", "--json")
    assert done.exit_code == 0 and json.loads(done.output)["data"] == {"a": 1}
    assert "succeeded" in aico("run-task", "demo.sleep", "--config", "seconds=0.01").output
    failed = aico("run-task", "demo.fail")
    assert failed.exit_code == 1 and "fails as it was asked to" in failed.output
    skipped = aico("run-task", "maintenance.vector_optimization", "--config", "path=/nowhere/at/all")
    assert skipped.exit_code == 0 and "skipped: there is no ChromaDB" in skipped.output


def test_a_dry_run_changes_nothing(aico: Any, tmp_path: Path) -> None:
    old = tmp_path / "logs" / "app.log.1"
    old.parent.mkdir()
    old.write_text("x")
    os.utime(old, (0, 0))
    dry = aico("run-task", "maintenance.log_cleanup", "--dry-run", "--json")
    assert json.loads(dry.output)["data"]["files_removed"] == 1 and old.exists()
    assert aico("run-task", "maintenance.log_cleanup").exit_code == 0 and not old.exists()
    assert "has no dry run" in aico("run-task", "demo.echo", "--dry-run").output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["demo.ech"], 1, "did you mean 'demo.echo'"),
        (["demo.sleep", "--config", "seconds=-1"], 2, "seconds"),
        (["demo.sleep", "--config", "oops"], 2, "KEY=VALUE"),
    ],
)
def test_wrong_arguments_are_told(aico: Any, arguments: list[str], code: int, words: str) -> None:
    result = aico("run-task", *arguments)
    assert result.exit_code == code and words in result.output


def test_ctrl_c_ends_the_task_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir(mode=0o700)
    (folder / "slow.py").write_text(SLOW)
    environ = {**os.environ, "AICO_SCHED_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "aico_sched.cli.app", "run-task", "user.slow"]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    data = tmp_path / "task_data" / "user.slow"
    deadline = time.monotonic() + 30
    while not (data / "begun").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stdout and process.stdout.read()
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130, output
    assert (data / "ended").exists() and b"Traceback" not in output
