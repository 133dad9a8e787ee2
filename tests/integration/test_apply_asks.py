"""Whom `apply` asks before it changes anything: a person at a terminal, never a program."""

import asyncio
import os
import sys
from pathlib import Path

from tests.integration.support.process import DEADLINE, command, environment, server

FILE = """
name: home
tasks:
  - {task_id: user.%s, schedule: "@yearly", task_class: demo.echo}
"""


async def at_a_terminal(folder: Path, *arguments: str, answer: str | None, piped: str | None = None) -> tuple[int, str]:
    """The exit code and all that the terminal showed. `answer` is typed once it asks; `piped` takes the place of the
    keyboard."""
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aico_sched.cli.app", *arguments, cwd=folder, env=environment(folder) | {"TERM": "dumb"},
        stdin=asyncio.subprocess.PIPE if piped is not None else theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    if piped is not None:
        assert process.stdin is not None
        process.stdin.write(piped.encode())
        process.stdin.close()
    shown = b""
    try:
        async with asyncio.timeout(DEADLINE):
            while piece := await asyncio.to_thread(_read, ours):
                shown += piece
                if answer is not None and b"Change this?" in shown:
                    os.write(ours, f"{answer}\n".encode())
                    answer = None
            return await process.wait(), shown.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4_096)
    except OSError:
        # How Linux tells that nobody holds the other end any more.
        return b""


async def exists(folder: Path, task_id: str) -> bool:
    return (await command(folder, "status", task_id)).code == 0


async def test_a_person_is_asked_and_a_program_is_not(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(FILE % name)
    async with server(tmp_path, "run") as service:
        await service.says("service_started")

        code, shown = await at_a_terminal(tmp_path, "apply", "-f", "one.yaml", answer="n")
        assert (code, "+ user.one" in shown, await exists(tmp_path, "user.one")) == (1, True, False)
        code, shown = await at_a_terminal(tmp_path, "apply", "-f", "one.yaml", answer="y")
        assert (code, await exists(tmp_path, "user.one")) == (0, True), shown
        # Nothing to change is nothing to ask.
        code, shown = await at_a_terminal(tmp_path, "apply", "-f", "one.yaml", answer=None)
        assert (code, "Change this?" in shown) == (0, False)

        # The file comes where the answer would.
        code, shown = await at_a_terminal(tmp_path, "apply", "-f", "-", answer=None, piped=FILE % "two")
        assert (code, "--yes" in shown, await exists(tmp_path, "user.two")) == (2, True, False)
        ended = await command(tmp_path, "apply", "-f", "two.yaml")
        assert (ended.code, await exists(tmp_path, "user.two")) == (0, True), ended.errors
        await service.stop()
