"""What a task logs is kept with its attempt, wherever the task runs, and shown to those who ask."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from aico_sched.execution.environments import RemoteFailure
from aico_sched.topics import limits
from aico_sched.topics.views import AttemptLogs
from tests.integration.execution.conftest import FAR
from tests.integration.execution.support import bench
from tests.integration.support.process import command
from tests.integration.support.running import Running

MODULES = ["tests.integration.execution.log_tasks"]
HIDDEN = "********"


async def logs_of(run: Running, execution_id: str) -> list[AttemptLogs | None]:
    """Of each attempt of an execution that is over."""
    await run.finished(execution_id)
    (execution,) = (await run.client.executions(execution_id=execution_id, attempts=True)).executions
    assert execution.attempts is not None
    return [attempt.logs for attempt in execution.attempts]


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("maintenance.logs", "loop"),
        ("maintenance.logs", "thread"),
        ("maintenance.logs_blocking", "thread"),
        ("maintenance.logs", "process"),
        ("maintenance.logs_blocking", "process"),
    ],
)
async def test_lines_are_kept_wherever_a_task_runs(begin: Any, name: str, environment: str) -> None:
    run = await begin(scheduler__task_modules=MODULES)
    await run.client.create(name, FAR, config={"lines": 130}, environment=environment)
    with capture_logs() as written:
        (logs,) = await logs_of(run, (await run.client.trigger(name)).execution_id)
    assert logs is not None
    assert [line.fields["n"] for line in logs.lines] == list(range(30, 130))
    assert logs.dropped == 30
    assert {(line.level, line.message, line.fields["token"]) for line in logs.lines} == {("info", "line", HIDDEN)}
    ours = [entry for entry in written if entry["event"] == "line"]
    assert {entry["task_id"] for entry in ours} == {name}
    assert [entry["n"] for entry in ours][-100:] == list(range(30, 130))
    stored = run.query("SELECT logs FROM task_attempts")[0][0]
    assert "very secret" not in stored


async def test_each_attempt_has_its_own_and_they_are_shown_on_the_command_line(begin: Any, tmp_path: Path) -> None:
    run = await begin(scheduler__task_modules=MODULES)
    retry = {"max_attempts": 2, "delay": 0}
    await run.client.create("maintenance.logs", FAR, config={"lines": 2, "fail": True}, retry=retry)
    execution_id = (await run.client.trigger("maintenance.logs")).execution_id
    first, second = await logs_of(run, execution_id)
    assert first is not None and second is not None
    for logs in (first, second):
        assert [line.message for line in logs.lines] == ["line", "line", "about to fail"]
        assert json.loads(str(logs.lines[2].fields["why"])) == {"password": HIDDEN, "code": 7}
    assert max(line.at for line in first.lines) < min(line.at for line in second.lines)
    data = ["--data-dir", str(run.settings.data_dir)]
    for words in (("logs", "maintenance.logs", "--attempts"), ("dead", "show", execution_id)):
        shown = (await command(tmp_path, *words, *data)).output
        assert shown.count("about to fail") == 2, shown
        assert f"token {HIDDEN}" in shown
    letter = json.loads((await command(tmp_path, "dead", "show", execution_id, "--json", *data)).output)
    assert letter["attempts"][1]["logs"] == second.model_dump()


async def test_an_answer_has_room_whatever_an_execution_has_logged(begin: Any) -> None:
    """Six attempts, each as much as is kept of one."""
    run = await begin(scheduler__task_modules=MODULES)
    retry = {"max_attempts": 6, "delay": 0}
    await run.client.create("maintenance.logs", FAR, config={"lines": 400, "fail": True}, retry=retry)
    attempts = await logs_of(run, (await run.client.trigger("maintenance.logs")).execution_id)
    assert all(logs is not None and logs.dropped + len(logs.lines) == 401 for logs in attempts)
    assert len((attempts[-1] or AttemptLogs(lines=[], dropped=0)).lines) == 100
    kept = sum(len(logs.model_dump_json()) for logs in attempts if logs is not None)
    assert kept < limits.MAX_SHOWN_LOG_BYTES + 1_000


async def test_a_run_that_logs_nothing_has_none(begin: Any) -> None:
    run = await begin(scheduler__task_modules=MODULES)
    await run.client.create("maintenance.logs", FAR, config={"lines": 0})
    assert await logs_of(run, (await run.client.trigger("maintenance.logs")).execution_id) == [None]
    assert run.query("SELECT logs FROM task_attempts") == [(None,)]


async def test_lines_of_a_child_that_dies_or_floods_are_kept_within_bounds(tmp_path: Path) -> None:
    async with bench(tmp_path) as here:
        job = here.job("context.log.info('last words', n=1)\nos._exit(3)")
        with pytest.raises(RemoteFailure), capture_logs() as written:
            await here.runner.run(job)
        assert [line["message"] for line in job.logs.since(0)] == ["last words"]
        assert [(entry["event"], entry["n"]) for entry in written if "n" in entry] == [("last words", 1)]
        job = here.job("for n in range(20_000): context.log.info('flood', n=n)", execution_id="e2")
        with capture_logs() as written:
            await here.runner.run(job)
        kept = job.logs.plain() or {}
        assert [line["fields"]["n"] for line in kept["lines"]] == list(range(19_900, 20_000))
        assert kept["dropped"] == 19_900
        assert len([entry for entry in written if entry["event"] == "flood"]) <= 1_100


async def test_a_child_that_forges_lines_ends_its_own_run(tmp_path: Path) -> None:
    """It writes frames of its own into the socket, past everything that bounds what an honest task sends."""
    forge = """
        import msgpack, struct
        frame = msgpack.packb({{"kind": "logged", "lines": {lines}, "total": {total}}})
        os.write(int(sys.argv[1]), struct.pack("!I", len(frame)) + frame)
        await asyncio.sleep(30)
    """
    good = '{"at": "", "level": "info", "message": "m", "fields": {}}'
    async with bench(tmp_path) as here:
        for lines, total in (
            (f"[{good}] * 101", "101"),
            (f"[{{**{good}, 'level': 'debug'}}]", "1"),
            (f"[{{**{good}, 'message': 'x' * 501}}]", "1"),
            (f"[{{**{good}, 'fields': {{'a': [1]}}}}]", "1"),
            (f"[{{**{good}, 'more': 1}}]", "1"),
            (f"[{good}]", "-1"),
            (f"[{good}]", "2**60"),
        ):
            job = here.job(forge.format(lines=lines, total=total))
            with pytest.raises(RemoteFailure) as failed:
                await here.runner.run(job)
            assert failed.value.error_type.endswith("ProtocolBroken"), (lines, failed.value)
            assert job.logs.total == 0


def test_the_bounds_fit_into_one_frame() -> None:
    assert limits.MAX_LOG_BYTES < limits.MAX_SHOWN_LOG_BYTES < limits.MAX_FRAME_BYTES // 4
