"""The environment `cluster` on a local Dask cluster: real processes, real losses."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aico_sched.client.errors import InvalidMessage
from aico_sched.topics import names
from tests.integration.execution.conftest import FAR
from tests.integration.support.cluster import local_cluster
from tests.integration.support.running import Running
from tests.integration.support.wire import Wire

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster with one worker, whose nanny replaces it when it is lost."""
    with local_cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


async def service(begin: Any, address: str | None, **settings: Any) -> Running:
    modules = ["tests.integration.execution.cluster_tasks"]
    run: Running = await begin(scheduler__task_modules=modules, cluster__address=address, **settings)
    return run


async def attempts(run: Running, task_id: str) -> Any:
    """Of the newest run of a task."""
    page = await run.client.executions(task_id=task_id, attempts=True, limit=1)
    return page.executions[0].attempts


async def written(path: Path) -> str:
    """The content of a file once it is there."""
    async with asyncio.timeout(30):
        while not path.exists() or not path.read_text():
            await asyncio.sleep(0.02)
    return path.read_text()


async def tasks_run_on_a_worker_are_cancelled_there_and_survive_its_loss(run: Running, tmp_path: Path) -> None:
    # It runs elsewhere, says how far it is, publishes as its creator, and its worker has what it needs.
    await run.client.create("maintenance.places", FAR, resources={"GPU": 1})
    done = await run.ran("maintenance.places")
    assert done.status == "succeeded", done.error_message
    worker = done.result["data"]["pid"]
    assert worker != os.getpid()
    assert done.usage["environment"] == "cluster" and done.usage["cpu_seconds"] >= 0
    progress = await run.events.first(names.EXECUTION_PROGRESS, task_id="maintenance.places")
    assert progress.payload["progress"]["data"] == {"pid": worker}
    # What it logs is kept, once, although its last lines may come before or after its answer.
    (logs,) = [each.logs for each in await attempts(run, "maintenance.places")]
    assert [line.fields for line in logs.lines] == [{"n": n, "password": "********"} for n in range(20, 120)]
    assert logs.dropped == 20
    # Code that blocks too.
    await run.client.create("maintenance.places_blocking", FAR)
    assert (await run.ran("maintenance.places_blocking")).result["data"] == {"pid": worker}
    (logs,) = [each.logs for each in await attempts(run, "maintenance.places_blocking")]
    assert [(line.level, line.message) for line in logs.lines] == [("warning", "blocking")]
    # What it raises arrives as text.
    await run.client.create("maintenance.breaks", FAR)
    broken = await run.ran("maintenance.breaks")
    assert (broken.status, broken.error_message) == ("dead", "as it was told")
    (attempt,) = (await run.client.executions(task_id="maintenance.breaks", attempts=True)).executions[0].attempts
    assert attempt.error_type.endswith("Odd") and "cluster_tasks.py" in attempt.traceback
    # A cancellation reaches it.
    await run.client.create("maintenance.marks", FAR, config={"folder": str(tmp_path)}, retry={"delay": 0})
    execution = (await run.client.trigger("maintenance.marks")).execution_id
    await written(tmp_path / "began-1")
    await run.client.cancel(execution)
    assert (await run.finished(execution)).status == "cancelled"
    async with asyncio.timeout(30):
        while not (tmp_path / "cancelled").exists():
            await asyncio.sleep(0.02)
    # A lost worker is a failed attempt, and the next one succeeds: Dask itself starts none a second time.
    (tmp_path / "began-1").unlink()
    execution = (await run.client.trigger("maintenance.marks")).execution_id
    os.kill(int(await written(tmp_path / "began-1")), signal.SIGKILL)
    lost = await run.client.wait(execution, 60)
    assert (lost.status, lost.attempt) == ("succeeded", 2), lost.error_message
    failed = await run.events.first(names.EXECUTION_FAILED, execution_id=execution)
    assert failed.payload["error_type"] == "aico_sched.execution.cluster.runner.WorkerLost"
    # What it had logged before it was lost is there.
    logs = [each.logs for each in await attempts(run, "maintenance.marks")]
    assert [[line.message for line in each.lines] for each in logs] == [["begun"], ["begun"]]
    # Nobody knows how far it came: what was promised at most once would not be tried again (`test_lost_runs`).
    assert [each.usage.get("lost", False) for each in await attempts(run, "maintenance.marks")] == [True, False]
    figures = (await run.client.stats()).actors["executor"]["environments"]["cluster"]
    assert (figures["lost"], figures["gateways"], figures["running"]) == (1, 1, 0)


async def what_no_worker_has_is_waited_for_and_can_be_cancelled(run: Running) -> None:
    # The gateway is up before a run has only seconds.
    await run.client.create("maintenance.places_blocking", FAR)
    assert (await run.ran("maintenance.places_blocking")).status == "succeeded"
    await run.client.create("maintenance.places", FAR, resources={"QUANTUM": 1}, timeout=3, retry={"max_attempts": 1})
    waited = await run.ran("maintenance.places")
    assert (waited.status, "abandoned" in waited.usage) == ("dead", False), "it never began"
    assert (await run.events.first(names.EXECUTION_TIMED_OUT)).payload["task_id"] == "maintenance.places"
    # A gateway that dies takes no run with it: the next one has another.
    gateway = run.service._environments._runners["cluster"]._gateway  # type: ignore[union-attr, attr-defined]
    gateway._process.kill()
    await run.client.update("maintenance.places", resources=None, timeout=60, retry={"max_attempts": 2, "delay": 0})
    assert (await run.ran("maintenance.places")).status == "succeeded"


async def respond(wire: Wire) -> None:
    """Answer three questions of `double.ask`, as another module would."""
    for _ in range(3):
        asked = await wire.hear("double.ask")
        attributes = {"correlation_id": asked["attributes"]["correlation_id"]}
        await wire.send(asked["attributes"]["reply_to"], {"n": 2 * asked["payload"]["n"]}, attributes=attributes)


async def a_run_on_a_worker_asks_the_service_and_the_bus(run: Running, other: Wire) -> None:
    await other.subscribe("double.ask")
    responding = asyncio.create_task(respond(other))
    await run.client.create("maintenance.asks", FAR, retry={"max_attempts": 1})
    done = await run.ran("maintenance.asks")
    assert done.status == "succeeded", done.error_message
    await responding
    assert done.result["data"] == {
        "rows": [{"task_id": "maintenance.asks"}],
        "refused": "DatabaseRefused",
        "silent": "TimeoutError",
        "answers": [{"n": 0}, {"n": 2}, {"n": 4}],
    }
    # What waits for an answer is cancelled like any other.
    await run.client.create("maintenance.asks_for_ever", FAR, retry={"max_attempts": 1})
    execution = (await run.client.trigger("maintenance.asks_for_ever")).execution_id
    await run.events.first(names.EXECUTION_PROGRESS, execution_id=execution)
    await run.client.cancel(execution)
    assert (await run.finished(execution)).status == "cancelled"
    # Its worker is free again, and what a class declares of its errors counts there.
    await run.client.create("maintenance.breaks_once", FAR, resources={"GPU": 1}, retry={"delay": 0})
    execution = (await run.client.trigger("maintenance.breaks_once")).execution_id
    done = await run.client.wait(execution, 60)
    assert (done.status, done.attempt) == ("succeeded", 2), done.error_message


async def what_does_not_end_there_is_left_alone_and_its_worker_is_free(run: Running) -> None:
    """The worker has two threads and one GPU: were they lost, nothing would run there any more."""
    for task_id in ("maintenance.deaf_there", "maintenance.deaf_blocking_there"):
        await run.client.create(task_id, FAR, resources={"GPU": 1}, retry={"max_attempts": 1})
        execution = (await run.client.trigger(task_id)).execution_id
        await run.events.first(names.EXECUTION_PROGRESS, execution_id=execution)
        await run.client.cancel(execution)
        done = await run.finished(execution)
        assert done.status == "cancelled"
        assert done.usage["abandoned"] is True
        assert "left to itself" in str(done.reason)
        alert = await run.events.first(names.ALERT, task_id=task_id)
        assert alert.payload["key"] == f"abandoned:{task_id}"
    await run.client.create("maintenance.breaks_once", FAR, resources={"GPU": 1}, retry={"delay": 0})
    assert (await run.ran("maintenance.breaks_once")).status == "succeeded"
    await run.client.create("maintenance.places", FAR, resources={"GPU": 1})
    runs = [(await run.client.trigger("maintenance.places")).execution_id for _ in range(2)]
    assert [(await run.finished(one)).status for one in runs] == ["succeeded", "succeeded"]
    async with asyncio.timeout(20):
        while (figures := (await run.client.stats()).actors["executor"]["environments"]["cluster"])["running"]:
            pass
    assert figures["abandoned"] == 2


async def one_that_is_cancelled_at_once_says_so(run: Running) -> None:
    """Within a grace that a busy machine keeps, so that only one that never says so is left alone."""
    await run.client.create("maintenance.places", FAR, resources={"GPU": 1})
    execution = (await run.client.trigger("maintenance.places")).execution_id
    await run.client.cancel(execution)
    done = await run.finished(execution)
    assert done.status in ("cancelled", "succeeded") and "abandoned" not in (done.usage or {})


async def test_runs_on_a_cluster(begin: Any, cluster: str, wire_to: Any, tmp_path: Path) -> None:
    """One test, so that one cluster is started: tests that stand by themselves go to several processes."""
    run = await service(begin, cluster, folder="first")
    await tasks_run_on_a_worker_are_cancelled_there_and_survive_its_loss(run, tmp_path)
    run = await service(begin, cluster, folder="second")
    await what_no_worker_has_is_waited_for_and_can_be_cancelled(run)
    run = await service(begin, cluster, folder="third")
    await a_run_on_a_worker_asks_the_service_and_the_bus(run, await wire_to(run))
    run = await service(begin, cluster, folder="fourth", execution__cancel_grace=1.0)
    await what_does_not_end_there_is_left_alone_and_its_worker_is_free(run)
    run = await service(begin, cluster, folder="fifth", execution__cancel_grace=20.0)
    await one_that_is_cancelled_at_once_says_so(run)


async def test_limits_that_nobody_holds_to_there_are_refused(begin: Any) -> None:
    run = await service(begin, None)
    limits = {"cpu_seconds": 1.0}
    with pytest.raises(InvalidMessage, match=r"limits\.cpu_seconds cannot be held to on a cluster"):
        await run.client.create("user.x", FAR, task_class="demo.echo", environment="cluster", limits=limits)
    await run.client.create("user.x", FAR, task_class="demo.echo", limits=limits)
    with pytest.raises(InvalidMessage, match="limits"):
        await run.client.update("user.x", environment="cluster")
    await run.client.update("user.x", environment="cluster", limits={"query_seconds": 1.0})
    # Of a class that says by itself where it runs, the run is refused.
    await run.client.create("maintenance.places", FAR, limits={"memory_mb": 64})
    done = await run.ran("maintenance.places")
    assert (done.status, done.attempt) == ("dead", 1)
    assert "limits.memory_mb" in done.error_message


async def test_without_a_cluster_it_is_said_what_to_do(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await service(begin, None)
    await run.client.create("maintenance.places", FAR)
    done = await run.ran("maintenance.places")
    assert (done.status, done.attempt) == ("dead", 1)
    assert "set cluster.address" in done.error_message


async def test_without_dask_it_is_said_how_to_get_it(begin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await service(begin, "tcp://127.0.0.1:9")
    await run.client.create("maintenance.places", FAR)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = await run.ran("maintenance.places")
    monkeypatch.undo()
    assert (done.status, done.attempt) == ("dead", 1)
    assert "pip install 'aico-sched[cluster]'" in done.error_message


async def test_a_cluster_that_is_not_there_is_tried_again(begin: Any) -> None:
    run = await service(begin, "tcp://127.0.0.1:9", cluster__connect_timeout=1.0)
    await run.client.create("maintenance.places", FAR, retry={"max_attempts": 2, "delay": 0})
    done = await run.client.wait((await run.client.trigger("maintenance.places")).execution_id, 60)
    assert (done.status, done.attempt) == ("dead", 2)
    assert "cluster at tcp://127.0.0.1:9 cannot be reached" in done.error_message
