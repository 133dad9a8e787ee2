"""`aico-sched why` with what a real service has recorded."""

from pathlib import Path

from aico_sched.host import HostSample
from aico_sched.topics import names
from tests.integration.support.process import command
from tests.integration.support.running import Running

FAR = "interval:86400"


class BusyHost:
    """A machine under load."""

    def sample(self) -> HostSample:
        return HostSample(91.0, 10.0, False)


async def told(run: Running, tmp_path: Path, task_id: str) -> list[str]:
    done = await command(tmp_path, "why", task_id, "--data-dir", str(run.settings.data_dir))
    assert done.code == 0, done.errors
    return done.output.splitlines()


async def test_a_task_that_is_gated_paused_dead_or_unknown(start: object, tmp_path: Path) -> None:
    run: Running = await start(sampler=BusyHost(), scheduler__max_cpu_percent=80)  # type: ignore[operator]
    await run.client.create("user.gated", "interval:1", task_class="demo.echo")
    await run.events.first(names.EXECUTION_DEFERRED, task_id="user.gated")
    lines = await told(run, tmp_path, "user.gated")
    assert "its slot is due and has not started" in lines[0]
    assert "CPU load 91 %" in lines[1]

    await run.client.create("user.triggered", FAR, task_class="demo.echo")
    await run.client.trigger("user.triggered")
    await run.events.first(names.EXECUTION_DEFERRED, task_id="user.triggered")
    lines = await told(run, tmp_path, "user.triggered")
    assert "a run waits for a place" in lines[0]
    assert "it was put off" in lines[1] and "CPU load 91 %" in lines[1]

    await run.client.create("user.paused", FAR, task_class="demo.echo")
    await run.client.pause("user.paused", note="holidays")
    lines = await told(run, tmp_path, "user.paused")
    assert lines[0] == "it is paused: holidays"
    assert lines[1].strip() == "aico-sched resume user.paused"

    unknown = await command(tmp_path, "why", "user.x", "--json", "--data-dir", str(run.settings.data_dir))
    assert (unknown.code, unknown.json["error"]["code"]) == (1, "task_not_found")
