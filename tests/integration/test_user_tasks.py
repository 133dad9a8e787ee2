"""Task classes in the user's folder: found, run, missed when they go, back when they return, harmless when broken."""

from pathlib import Path
from typing import Any

import pytest

from aico_sched.client import SchedulerClient
from aico_sched.client.errors import Conflict, InvalidMessage, PermissionDenied, UnknownTaskClass
from aico_sched.schedule import format_rfc3339, parse_rfc3339
from aico_sched.security.keys import KeyRing
from aico_sched.topics import names
from tests.integration.support.running import Running

FAR = "interval:86400"

CODE = """
from aico_sched.tasks import BaseTask, TaskContext, TaskResult

class Mine(BaseTask):
    '''Says its word.'''
    name = "user.mine"

    async def execute(self, context: TaskContext) -> TaskResult:
        return TaskResult.ok("{word}")
"""


@pytest.fixture
async def run(start: Any, tmp_path: Path) -> Running:
    """A service whose user-task folder is there, and holds one task."""
    folder = tmp_path / "data" / "tasks"
    folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "data").chmod(0o700)
    (folder / "mine.py").write_text(CODE.format(word="one"))
    running: Running = await start(sandbox__enabled=True)
    return running


def code(run: Running) -> Path:
    return run.settings.user_task_folder / "mine.py"


async def test_a_file_is_found_when_it_is_looked_for_and_its_changes_too(run: Running) -> None:
    another = code(run).with_name("another.py")
    another.write_text(CODE.format(word="x").replace("user.mine", "user.another"))
    with pytest.raises(UnknownTaskClass):
        await run.client.create("user.another", FAR)
    changes = await run.client.reload()
    assert (changes.added, changes.removed, changes.changed, changes.problems) == (["user.another"], [], [], {})
    await run.client.create("user.another", FAR)
    assert (await run.ran("user.another")).status == "succeeded"

    await run.client.create("user.mine", FAR)
    assert (await run.ran("user.mine")).result["message"] == "one"
    code(run).write_text(CODE.format(word="two"))
    assert (await run.client.reload()).changed == ["user.mine"]
    assert (await run.ran("user.mine")).result["message"] == "two"
    found = {each.name: each for each in (await run.client.registry()).classes}["user.mine"]
    assert (found.source, found.available, found.description) == ("user_folder", True, "Says its word.")


async def test_a_task_whose_code_is_gone_is_parked_until_it_returns(run: Running) -> None:
    client = run.client
    created = await client.create("user.mine", FAR, config={}, tags=["kept"])
    text = code(run).read_text()
    code(run).unlink()
    assert (await client.reload()).removed == ["user.mine"]
    parked = (await client.status("user.mine")).task
    assert (parked.state, parked.next_run, parked.options) == ("unavailable", None, {"tags": ["kept"]})
    assert "user.mine" in str(parked.note)
    event = await run.events.first(names.TASK_UNAVAILABLE)
    assert (event.payload["task_id"], event.payload["state"]) == ("user.mine", "unavailable")
    health = await client.health()
    assert health.status == "degraded"
    assert health.checks["task_classes"] == {"ok": False, "unavailable": ["user.mine"]}
    assert [task.task_id for task in (await client.list(state="unavailable")).tasks] == ["user.mine"]
    with pytest.raises(UnknownTaskClass):
        await client.trigger("user.mine")

    code(run).write_text(text)
    assert (await client.reload()).added == ["user.mine"]
    back = (await client.status("user.mine")).task
    assert (back.state, back.note, back.task_class) == ("active", None, created.task_class)
    assert back.next_run is not None
    assert (await run.events.first(names.TASK_AVAILABLE)).payload["task_id"] == "user.mine"
    assert (await client.health()).status == "healthy"
    assert (await run.ran("user.mine")).status == "succeeded"


FAILS_ONCE = """
from aico_sched.tasks import BaseTask, TaskContext, TaskResult, TransientError

class Mine(BaseTask):
    name = "user.mine"

    async def execute(self, context: TaskContext) -> TaskResult:
        if context.attempt == 1:
            raise TransientError("not yet")
        return TaskResult.ok("now")
"""


async def test_a_run_that_waits_is_not_started_while_its_class_is_gone(run: Running) -> None:
    code(run).write_text(FAILS_ONCE)
    await run.client.reload()
    await run.client.create("user.mine", FAR, retry={"delay": 0.2, "max_attempts": 2})
    execution = (await run.client.trigger("user.mine")).execution_id
    retrying = await run.events.first(names.EXECUTION_RETRYING, task_id="user.mine")
    code(run).unlink()
    await run.client.reload()
    # Another task tells that the time of the retry is over.
    later = parse_rfc3339(retrying.payload["retry_at"]) + 300_000
    await run.client.create("demo.later", f"at:{format_rfc3339(later)}", task_class="demo.echo")
    await run.events.first(names.EXECUTION_SUCCEEDED, task_id="demo.later")
    assert len(run.events.of(names.EXECUTION_STARTED, task_id="user.mine")) == 1

    code(run).write_text(FAILS_ONCE)
    await run.client.reload()
    ended = await run.finished(execution)
    assert (ended.status, ended.attempt, ended.result["message"]) == ("succeeded", 2, "now")


async def test_a_class_that_went_while_the_service_was_down_is_missed_at_the_start(start: Any, run: Running) -> None:
    await run.client.create("user.mine", "interval:0.05")
    await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.mine")
    await run.service.stop()
    text = code(run).read_text()
    code(run).unlink()
    second = await start(sandbox__enabled=True)
    assert (await second.client.status("user.mine")).task.state == "unavailable"
    assert second.events.of(names.EXECUTION_STARTED) == []
    await second.service.stop()
    code(run).write_text(text)
    third = await start(sandbox__enabled=True)
    await third.events.first(names.EXECUTION_SUCCEEDED, task_id="user.mine")


async def test_deleting_a_task_removes_its_file_only_when_asked(run: Running) -> None:
    await run.client.create("user.mine", FAR)
    await run.client.delete("user.mine")
    assert code(run).exists()
    await run.client.create("user.mine", FAR)
    await run.client.delete("user.mine", remove_code=True)
    await run.barrier()
    assert not code(run).exists()
    with pytest.raises(UnknownTaskClass):
        await run.client.create("user.mine", FAR)


async def test_a_refused_delete_removes_no_file(run: Running) -> None:
    await run.client.create("user.e", FAR, task_class="demo.echo")
    with pytest.raises(InvalidMessage) as refused:
        await run.client.delete("user.e", remove_code=True)
    assert refused.value.details["field"] == "remove_code"
    assert (await run.client.status("user.e")).task.state == "active"
    assert code(run).exists()


async def test_code_that_another_task_needs_is_not_removed(run: Running) -> None:
    await run.client.create("user.mine", FAR)
    await run.client.create("user.second", FAR, task_class="user.mine")
    with pytest.raises(Conflict, match=r"user\.mine"):
        await run.client.delete("user.second", remove_code=True)
    await run.barrier()
    assert code(run).exists()
    assert (await run.client.status("user.second")).task.state == "active"
    await run.client.delete("user.second")
    await run.client.delete("user.mine", remove_code=True)
    await run.barrier()
    assert not code(run).exists()


async def test_who_may_not_delete_a_task_does_not_remove_its_code_either(run: Running) -> None:
    await run.client.create("maintenance.mine", FAR, task_class="user.mine")
    ring = KeyRing(run.settings.data_dir / "keys")
    ring.reload()
    ring.create("someone", "module")
    assert run.service._bus._watch is not None
    await run.service._bus._watch.look()
    async with SchedulerClient.discover(run.settings.data_dir, name="someone") as someone:
        with pytest.raises(PermissionDenied):
            await someone.delete("maintenance.mine", remove_code=True)
    await run.barrier()
    assert code(run).exists()
    assert (await run.client.status("maintenance.mine")).task.state == "active"


@pytest.mark.parametrize(
    "text",
    [
        "this is not python",
        "import no_such_module_at_all\n" + CODE.format(word="x"),
        "raise SystemExit(3)\n" + CODE.format(word="x"),
        "1 / 0\n" + CODE.format(word="x"),
        CODE.format(word="x").replace("async def", "def"),
        CODE.format(word="x").replace("user.mine", "maintenance.mine"),
        CODE.format(word="x").replace(
            'name = "user.mine"', 'name = "user.mine"\n    default_options = {"timeout": "x"}'
        ),
        "\x00",
        "",
    ],
    ids=["no-python", "import", "exit", "raises", "not-async", "foreign-name", "options", "nul", "empty"],
)
async def test_a_broken_file_harms_nothing(run: Running, text: str) -> None:
    await run.client.create("user.mine", FAR)
    await run.client.create("user.e", FAR, task_class="demo.echo")
    code(run).write_text(text)
    await run.client.reload()
    execution = None
    if (await run.client.status("user.mine")).task.state == "active":
        execution = await run.client.trigger("user.mine")
        assert (await run.ran("user.e")).status == "succeeded"
        page = await run.client.executions(execution_id=execution.execution_id, attempts=True)
        assert page.executions[0].status != "succeeded"
        await run.client.cancel(execution.execution_id)
    assert (await run.ran("user.e")).status == "succeeded"
    health = await run.client.health()
    assert health.ready
    assert health.checks["actors"]["restarts"] == {}
    code(run).write_text(CODE.format(word="mended"))
    await run.client.reload()
    assert (await run.ran("user.mine")).result["message"] == "mended"


async def test_a_file_that_others_may_write_is_not_run(run: Running) -> None:
    code(run).chmod(0o666)
    changes = await run.client.reload()
    assert changes.removed == ["user.mine"]
    assert "chmod go-w" in changes.problems[str(code(run))]
