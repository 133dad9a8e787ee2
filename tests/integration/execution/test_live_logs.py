"""What a run logs is seen while it runs: as events, in answers, and by `logs -f`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from aico_sched.topics import names
from tests.integration.execution.conftest import FAR
from tests.integration.support.process import DEADLINE, environment
from tests.integration.support.running import Running

MODULES = ["tests.integration.execution.log_tasks"]
TASK = "maintenance.logs_on"


async def under_way(run: Running, lines: int = 3, **options: Any) -> str:
    """The id of a run that has logged and goes on, once its lines were told of."""
    await run.client.create(TASK, FAR, config={"lines": lines}, **options)
    execution_id: str = (await run.client.trigger(TASK)).execution_id
    await run.events.first(names.EXECUTION_LOGGED, execution_id=execution_id)
    return execution_id


@pytest.mark.parametrize("where", ["loop", "thread", "process"])
async def test_lines_come_while_the_run_goes_on(begin: Any, where: str) -> None:
    run: Running = await begin(scheduler__task_modules=MODULES)
    execution_id = await under_way(run, environment=where)

    def seen() -> list[dict[str, Any]]:
        told = run.events.of(names.EXECUTION_LOGGED, execution_id=execution_id, attempt=1)
        return [line for event in told for line in event.payload["lines"]]

    await run.events.until(lambda: len(seen()) == 3, "three lines")
    assert [(line["level"], line["fields"]["n"], line["fields"]["token"]) for line in seen()] == [
        ("info", n, "********") for n in range(3)
    ]
    (execution,) = (await run.client.executions(execution_id=execution_id, attempts=True)).executions
    assert (execution.status, execution.attempts) == ("running", [])
    assert execution.logs is not None
    assert [line.model_dump() for line in execution.logs.lines] == seen()
    await run.client.cancel(execution_id)
    over = await run.finished(execution_id)
    (over,) = (await run.client.executions(execution_id=execution_id, attempts=True)).executions
    assert over.logs is None
    assert over.attempts is not None and over.attempts[0].logs is not None
    assert [line.model_dump() for line in over.attempts[0].logs.lines] == seen()


async def test_the_last_lines_of_a_short_run_come_before_its_end(begin: Any) -> None:
    run: Running = await begin(scheduler__task_modules=MODULES)
    await run.client.create("maintenance.logs", FAR, config={"lines": 2})
    execution_id = (await run.client.trigger("maintenance.logs")).execution_id
    await run.events.first(names.EXECUTION_SUCCEEDED, execution_id=execution_id)
    kinds = [topic.rpartition(".")[2] for topic in run.events.topics(execution_id=execution_id)]
    assert kinds == ["started", "logged", "succeeded"]


async def test_a_run_that_logs_nothing_says_nothing(begin: Any) -> None:
    run: Running = await begin(scheduler__task_modules=MODULES)
    await run.client.create("maintenance.logs", FAR, config={"lines": 0})
    execution_id = (await run.client.trigger("maintenance.logs")).execution_id
    await run.events.first(names.EXECUTION_SUCCEEDED, execution_id=execution_id)
    await run.barrier()
    assert run.events.of(names.EXECUTION_LOGGED) == []


async def test_of_a_flood_the_newest_lines_come(begin: Any) -> None:
    run: Running = await begin(scheduler__task_modules=MODULES)
    execution_id = await under_way(run, lines=5_000, environment="thread")
    await run.events.until(
        lambda: run.events.of(names.EXECUTION_LOGGED)[-1].payload["total"] == 5_000, "the newest line"
    )
    told = run.events.of(names.EXECUTION_LOGGED, execution_id=execution_id)
    assert told[-1].payload["lines"][-1]["fields"]["n"] == 4_999
    numbers = [line["fields"]["n"] for event in told for line in event.payload["lines"]]
    assert numbers == sorted(set(numbers))
    assert sum(len(event.payload["lines"]) for event in told) <= 100 * len(told)


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
async def test_the_command_line_follows_a_run_that_began_before_it(begin: Any, tmp_path: Path, as_json: bool) -> None:
    """Each line once: those so far from an answer, the others as they come."""
    run: Running = await begin(scheduler__task_modules=MODULES)
    execution_id = await under_way(run)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aico_sched.cli.app", "logs", TASK, "-f", *(["--json"] if as_json else []),
        "--data-dir", str(run.settings.data_dir), env=environment(tmp_path), cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    shown: list[str] = []

    async def until(what: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while what not in "".join(shown):
                line = await process.stdout.readline()  # type: ignore[union-attr]
                assert line, shown
                shown.append(line.decode())

    try:
        await until('"n": 2' if as_json else "n 2")
        await run.client.cancel(execution_id)
        await until("execution.cancelled")
        second = (await run.client.trigger(TASK)).execution_id
        await until(second)
        await until(names.EXECUTION_LOGGED if as_json else "log info")
        await run.client.cancel(second)
    finally:
        process.kill()
        await process.wait()
    text = "".join(shown)
    if as_json:
        lines = [json.loads(line) for line in shown]
        assert [line["n"] for line in (each["fields"] for each in lines[1]["logs"]["lines"])] == [0, 1, 2]
        assert lines[-1]["topic"] == names.EXECUTION_LOGGED
    else:
        before, _, _ = text.partition("execution.cancelled")
        assert before.count("token ********") == 3, text
        assert f"{execution_id} attempt 1 of {TASK} so far" in before
        assert f"log info               {TASK}  line  n 0  token ********" in text
