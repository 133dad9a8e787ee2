"""What keeps a start from working is told once, says what to do, and loses nothing; with the real command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.support.process import command, environment, server


def data(folder: Path) -> Path:
    return folder / ".local/share/aico/scheduler"


async def used(folder: Path) -> None:
    """A service has run here."""
    async with server(folder, "run") as service:
        await service.says("service_started")
        assert (await command(folder, "create", "user.kept", "@yearly", "--task-class", "demo.echo")).code == 0
        await service.stop()


async def failure(folder: Path, **settings: Any) -> str:
    """The one error of a start that fails."""
    ended = await command(folder, "run", **settings)
    assert ended.code == 1
    return one_error(ended.errors)


def one_error(text: str) -> str:
    lines = [json.loads(line) for line in text.splitlines()]
    errors = [line for line in lines if line["level"] in ("error", "critical")]
    assert [line["event"] for line in errors] == ["service_failed"]
    assert "traceback" not in errors[0]
    return str(errors[0]["reason"])


async def is_kept(folder: Path) -> None:
    async with server(folder, "run") as service:
        await service.says("service_started")
        assert (await command(folder, "status", "user.kept")).code == 0
        await service.stop()


async def test_a_wrong_key(tmp_path: Path) -> None:
    await used(tmp_path)
    said = await failure(tmp_path, database_key="w" * 32)
    assert "the key does not fit" in said and "Use the key it was made with" in said
    await is_kept(tmp_path)


async def test_a_file_that_was_cut_off(tmp_path: Path) -> None:
    await used(tmp_path)
    path = data(tmp_path) / "scheduler.db"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // 4096 * 4096])
    assert "aico-sched restore FILE" in await failure(tmp_path)
    assert path.read_bytes() == content[: len(content) // 2 // 4096 * 4096]
    path.write_bytes(content)
    await is_kept(tmp_path)


async def test_a_second_instance(tmp_path: Path) -> None:
    await used(tmp_path)
    async with server(tmp_path, "run") as service:
        await service.says("service_started")
        assert "Stop that one" in await failure(tmp_path)
        await service.stop()
    await is_kept(tmp_path)


async def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "read_only"
    folder.mkdir()
    folder.chmod(0o555)
    # Root may write anywhere.
    as_nobody = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    ended = subprocess.run(
        [*as_nobody, sys.executable, "-m", "aico_sched.cli.app", "run",
         "--data-dir", str(folder)],
        env=environment(folder), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "Permission denied" in ended.stderr or "yours to write" in ended.stderr
    assert list(folder.iterdir()) == []
