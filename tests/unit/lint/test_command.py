"""`aico-sched lint`: what it finds with flake8, how it says it, and that it runs nothing of what it reads."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aico_sched.cli.app import app
from aico_sched.lint import report
from aico_sched.lint.rules import check

BAD = """
import subprocess
import time
from pathlib import Path

import requests

Path("witness").write_text("it was run")

from aico_sched.tasks import BaseTask


class Bad(BaseTask):
    name = "user.bad"

    async def execute(self, context):
        time.sleep(1)
        open("x")
        subprocess.run(["ls"])
        requests.get("http://x")
        while True:
            pass
"""
GOOD = """
from aico_sched.tasks import BaseTask


class Good(BaseTask):
    name = "user.good"

    async def execute(self, context):
        while True:
            await context.sleep(1)
        for x in context.items:  # noqa: ACS101
            pass
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "good.py").write_text(GOOD)
    return tmp_path


def lint(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["lint", *map(str, arguments)])


def test_what_blocks_and_what_never_yields_is_found(folder: Path) -> None:
    result = lint("--json", folder)
    assert result.exit_code == 1
    found = json.loads(result.stdout)["findings"]
    assert [(each["line"], each["code"]) for each in found] == [
        (17, "ASYNC251"),
        (18, "ASYNC230"),
        (19, "ASYNC221"),
        (20, "ASYNC210"),
        (21, "ACS100"),
    ]
    assert {each["file"] for each in found} == {str(folder / "bad.py")}
    assert all(each["mend"] and each["message"] and each["column"] == 9 for each in found)


def test_people_get_a_line_each_and_how_to_mend_it(folder: Path) -> None:
    lines = lint(folder / "bad.py").stdout.splitlines()
    assert lines[8] == f"{folder}/bad.py:21:9: ACS100 this while loop never lets others run"
    assert "context.checkpoint()" in lines[9]
    assert lines[-1] == "5 found"


def test_code_without_findings(folder: Path) -> None:
    result = lint(folder / "good.py")
    assert (result.exit_code, result.stdout) == (0, "Nothing found.\n")


def test_a_file_that_is_no_python_is_said(folder: Path) -> None:
    (folder / "bad.py").write_text("class (:\n")
    result = lint("--json", folder / "bad.py")
    assert result.exit_code == 1
    assert [each["code"] for each in json.loads(result.stdout)["findings"]] == ["E999"]


def test_nothing_beside_the_code_is_run(folder: Path) -> None:
    (folder / ".flake8").write_text("[flake8:local-plugins]\nextension =\n  X = planted:Plugin\npaths = .\n")
    planted = "from pathlib import Path\nPath('witness').write_text('run')\n"
    for name in ("planted", "flake8", "sitecustomize", "ast"):
        (folder / f"{name}.py").write_text(planted)
    assert lint(folder / "bad.py").exit_code == 1
    assert not (folder / "witness").exists()


def test_a_path_that_is_not_there_is_wrong_usage(folder: Path) -> None:
    result = lint(folder / "absent.py")
    assert result.exit_code == 2
    assert "absent.py" in result.stderr


def test_without_flake8_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    result = lint(folder)
    assert result.exit_code == 2
    assert "aico-sched[lint]" in result.stderr


def test_flake8_alone_knows_the_rules(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "flake8", "--isolated", "--select=ACS", "bad.py", "good.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "bad.py:21:9: ACS100 this while loop never lets others run\n"


def test_the_tasks_that_come_along_hold_up_nobody() -> None:
    tasks = Path(report.__file__).parents[1] / "tasks"
    files = list(tasks.rglob("*.py"))
    assert len(files) > 10
    found = {str(file): list(check(ast.parse(file.read_text()))) for file in files}
    assert {file: findings for file, findings in found.items() if findings} == {}
