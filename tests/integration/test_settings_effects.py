"""Every key of `config/defaults/core.yaml` does something, and a test shows what; a key without a test fails here."""

import asyncio
import socket
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any, TypeVar

import pytest
import zmq

from aico_sched.actors import store as store_actor
from aico_sched.bus.access import AccessRules
from aico_sched.bus.broker import Broker, PortInUse
from aico_sched.client import SchedulerClient
from aico_sched.client.errors import ServiceUnreachable, TaskExists
from aico_sched.runtime.cell import TOGETHER
from aico_sched.schedule import format_rfc3339
from aico_sched.security.keys import KeyRing
from aico_sched.service import SchedulerService
from aico_sched.settings.layers import defaults
from aico_sched.store.connection import Database
from aico_sched.store.errors import AlreadyInUse
from aico_sched.tasks import discovery
from aico_sched.topics import names
from tests.integration.support.machine import FakeMachine, SetClock
from tests.integration.support.running import TASK_MODULE, Running, settings_for
from tests.integration.support.tasks import Gate

FAR = "interval:86400"
SOON = "interval:0.05"

Test = TypeVar("Test", bound=Callable[..., Any])
SHOWN: set[str] = set()


def shows(*keys: str) -> Callable[[Test], Test]:
    """Marks a test as the one that shows what these keys do."""

    def mark(test: Test) -> Test:
        SHOWN.update(keys)
        return test

    return mark


ELSEWHERE = {
    "scheduler.log_level": "test_cli.py: it is the process's, not the embedded service's",
    "scheduler.log_format": "test_cli.py",
    "scheduler.log_topic": "bus/test_log_topic.py",
    "scheduler.health_window": "test_health.py",
    "scheduler.longest_pause": "time/test_pauses.py",
    "scheduler.user_idle_after": "time/test_idle.py",
    "scheduler.stress_after": "time/test_stress.py",
    "scheduler.stress_stretch": "time/test_stress.py",
    "scheduler.standby": "test_standby.py",
    "execution.processes": "execution/test_sandboxed_service.py",
    **{
        f"sandbox.{key}": "execution/test_sandboxed_service.py, execution/test_sandbox.py"
        for key in defaults()["sandbox"]
    },
    "scheduler.groups": "time/test_groups.py",
    "scheduler.priority_aging": "time/test_priorities.py",
    "execution.stall_threshold": "execution/test_guard.py",
    "execution.breaker_stalls": "execution/test_guard.py",
    "execution.breaker_window": "property/test_breaker.py",
    "execution.breaker_open_time": "execution/test_guard.py",
    "execution.breaker_trials": "execution/test_guard.py",
    "execution.strikes_to_move": "execution/test_guard.py",
    "execution.strikes_to_disable": "execution/test_guard.py",
    "execution.strike_window": "execution/test_guard.py",
    "cluster.address": "execution/test_cluster.py",
    "cluster.connect_timeout": "execution/test_cluster.py",
    "execution.threads": "execution/test_threads.py",
    "execution.cancel_grace": "execution/test_threads.py",
    "web.host": "api/test_serving.py: what is listened on is what the process serves",
    "web.port": "api/test_serving.py",
    "web.hosts": "api/test_serving.py",
    "web.token_file": "api/test_access.py",
    "bus.codec": "bus/test_aico_bus.py",
    "bus.key_max_age": "test_key_rotation.py",
    "bus.key_overlap": "unit/cli/test_keys.py, test_key_rotation.py",
    "bus.server_key": "bus/test_aico_bus.py",
    "bus.signing_keys": "bus/test_aico_bus.py",
    "bus.unsigned_role": "bus/test_aico_bus.py",
    "bus.signature_window": "bus/test_aico_bus.py",
    "tasks.maintenance.key_rotation": "test_key_rotation.py",
    "scheduler.blackout": "time/test_blackout.py",
    "scheduler.quiet_hours": "time/test_low_activity.py",
    "store.history_days": "store/test_retention.py",
    "store.history_rows": "store/test_retention.py",
    "store.history_mb": "store/test_retention.py",
    "store.history_keep": "store/test_retention.py",
    "store.key_source": "store/test_keys.py",
    "store.maintenance_timeout": "store/test_maintenance.py",
    "data.database": "data/test_access.py",
    "data.key_file": "data/test_access.py",
    "tasks.maintenance.database_vacuum": "store/test_vacuum_task.py",
    "tasks.maintenance.vector_optimization": "vectors/test_optimization.py",
    "tasks.agency.background_learning": "unit/agency/test_background_learning.py",
    "tasks.agency.memory_consolidation": "memory/test_consolidation.py",
    "tasks.agency.emotion_training": "unit/agency/test_emotion_training.py",
    "tasks.agency.personality_evolution": "unit/agency/test_personality.py",
}


def test_every_key_is_shown() -> None:
    keys = {f"{section}.{key}" for section, values in defaults().items() if section != "tasks" for key in values}
    keys |= {f"tasks.{category}.{task}" for category, tasks in defaults()["tasks"].items() for task in tasks}
    assert keys == SHOWN | ELSEWHERE.keys()


def gated(gate: Gate, **options: Any) -> dict[str, Any]:
    return {"task_class": "user.gated", "config": {"gate": gate.name}, **options}


async def figures(run: Running, actor: str) -> dict[str, Any]:
    return (await run.client.stats()).actors[actor]


# The service as a whole.


@shows("scheduler.enabled")
async def test_a_service_that_is_not_enabled_starts_nothing(tmp_path: Path) -> None:
    service = SchedulerService(settings_for(tmp_path / "data", scheduler__enabled=False))
    async with asyncio.timeout(5), service:
        assert not service.running
        await service.wait()
        with pytest.raises(ServiceUnreachable):
            SchedulerClient.discover(tmp_path / "data")
    assert not (tmp_path / "data").exists()


@shows("paths.data_dir", "store.path", "store.key_file")
async def test_files_are_where_the_settings_say(start: Any, tmp_path: Path) -> None:
    path, key = tmp_path / "elsewhere" / "tasks.db", tmp_path / "secret" / "db.key"
    run = await start("kept", store__path=str(path), store__key_file=str(key))
    await run.client.create("user.a", FAR, task_class="demo.echo")
    assert path.stat().st_size > 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert key.stat().st_mode & 0o777 == 0o600
    folder = tmp_path / "kept"
    assert {"keys", "service.json"} <= {entry.name for entry in folder.iterdir()}
    assert not (folder / "scheduler.db").exists()
    assert not (folder / "keys" / "database.key").exists()
    assert b"user.a" not in path.read_bytes() + path.with_name("tasks.db-wal").read_bytes(), "it is encrypted"


@shows("store.synchronous")
@pytest.mark.parametrize(("setting", "pragma"), [("full", 2), ("normal", 1)])
async def test_how_hard_a_commit_is_pressed_onto_the_disk(
    start: Any, monkeypatch: pytest.MonkeyPatch, setting: str, pragma: int
) -> None:
    found = []
    begin = Database.begin

    def watched(self: Database) -> None:
        found.append(self._raw("PRAGMA synchronous")[0][0])
        begin(self)

    monkeypatch.setattr(Database, "begin", watched)
    await start(store__synchronous=setting)
    assert found[-1] == pragma


@shows("scheduler.timezone")
async def test_a_task_without_a_zone_is_in_the_service_s(start: Any) -> None:
    run = await start(scheduler__timezone="Asia/Tokyo")
    view = await run.client.create("user.a", "30 9 * * *", task_class="demo.echo")
    assert view.timezone == "Asia/Tokyo"
    assert view.next_run[11:16] == "00:30"
    assert (await run.client.explain("30 9 * * *", count=1)).next[0].endswith("T09:30:00+09:00")


# Load.


@shows("scheduler.max_concurrent_tasks")
async def test_no_more_than_so_many_run_at_once(start: Any, gate: Gate) -> None:
    run = await start(scheduler__max_concurrent_tasks=2)
    started = []
    for number in range(5):
        await run.client.create(f"user.t{number}", FAR, **gated(gate))
        started.append(await run.client.trigger(f"user.t{number}"))
    await gate.has_entered(2)
    found = await figures(run, "executor")
    assert (found["limit"], found["running"]) == (2, 2)
    gate.open()
    for execution in started:
        assert (await run.finished(execution.execution_id)).status == "succeeded"
    assert gate.most_inside == 2


@shows("scheduler.max_cpu_percent", "scheduler.max_memory_percent", "scheduler.resource_check_interval")
@pytest.mark.parametrize(("what", "word"), [("cpu", "CPU"), ("memory", "memory")])
async def test_nothing_starts_on_a_machine_that_is_too_busy(start: Any, what: str, word: str) -> None:
    machine = FakeMachine(**{what: 61.0})
    run = await start(
        sampler=machine,
        scheduler__max_cpu_percent=60,
        scheduler__max_memory_percent=60,
        scheduler__resource_check_interval=0.05,
    )
    assert (await run.client.health()).status == "degraded"
    await run.client.create("user.a", SOON, task_class="demo.echo")
    deferred = await run.events.first(names.EXECUTION_DEFERRED, task_id="user.a")
    assert word in deferred.payload["reason"]
    assert f"max_{what}_percent (60 %)" in deferred.payload["reason"]
    await machine.was_looked_at(machine.looks + 3)
    assert run.events.of(names.EXECUTION_STARTED) == []
    setattr(machine, what, 59.0)
    await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.a")


@shows("scheduler.resource_check_interval")
async def test_the_machine_is_looked_at_as_often_as_the_settings_say(start: Any) -> None:
    often, seldom = FakeMachine(), FakeMachine()
    await start("often", sampler=often, scheduler__resource_check_interval=0.05)
    run = await start("seldom", sampler=seldom, scheduler__resource_check_interval=3600)
    await often.was_looked_at(4)
    await run.barrier()
    assert seldom.looks == 1


@shows("scheduler.idle_threshold_cpu", "scheduler.idle_threshold_memory")
@pytest.mark.parametrize("load", [{"cpu": 26.0}, {"memory": 46.0}, {"battery": True}], ids=["cpu", "memory", "battery"])
async def test_what_is_for_idle_hours_waits_for_them(start: Any, load: dict[str, Any]) -> None:
    machine = FakeMachine(**load)
    run = await start(
        sampler=machine,
        scheduler__idle_threshold_cpu=25,
        scheduler__idle_threshold_memory=45,
        scheduler__resource_check_interval=0.05,
    )
    await run.client.create("user.idle", SOON, task_class="demo.echo", idle_only=True)
    await run.client.create("user.any", SOON, task_class="demo.echo")
    deferred = await run.events.first(names.EXECUTION_DEFERRED, task_id="user.idle")
    assert "not idle" in deferred.payload["reason"]
    await run.events.several(3, names.EXECUTION_SUCCEEDED, task_id="user.any")
    assert run.events.of(names.EXECUTION_STARTED, task_id="user.idle") == []
    machine.cpu, machine.memory, machine.battery = 24.0, 44.0, False
    await run.events.first(names.EXECUTION_SUCCEEDED, task_id="user.idle")


@pytest.mark.parametrize(
    ("action", "event"),
    [("run", names.EXECUTION_SUCCEEDED), ("skip", names.EXECUTION_SKIPPED), ("fail", names.EXECUTION_DEAD)],
)
async def test_patience_with_a_busy_machine_ends_as_the_task_says(start: Any, action: str, event: str) -> None:
    machine = FakeMachine(cpu=99.0)
    run = await start(sampler=machine, scheduler__max_cpu_percent=50, scheduler__resource_check_interval=0.05)
    options = {"max_defer": 0.1, "on_max_defer": action, "max_runs": 1}
    await run.client.create("user.a", SOON, task_class="demo.echo", **options)
    await run.events.first(names.EXECUTION_DEFERRED, task_id="user.a")
    told = await run.events.first(event, task_id="user.a")
    if action != "run":
        assert "max_defer" in told.payload["reason"]


# Finding task classes.


async def class_names(run: Running) -> dict[str, str]:
    return {found.name: found.source for found in (await run.client.registry()).classes}


@shows("scheduler.auto_discover")
async def test_without_discovery_there_are_only_the_generic_classes(start: Any) -> None:
    run = await start(scheduler__auto_discover=False)
    assert {name.partition(".")[0] for name in await class_names(run)} == {"bus", "demo", "notify"}
    assert (await run.client.list()).tasks == []


@shows("scheduler.task_modules")
async def test_task_classes_come_from_the_modules_that_are_named(start: Any) -> None:
    named = await start("named", scheduler__task_modules=[TASK_MODULE])
    assert (await class_names(named))["user.gated"] == "module"
    other = await start("other", scheduler__task_modules=[])
    assert "user.gated" not in await class_names(other)


@shows("scheduler.entry_points")
async def test_task_classes_come_from_installed_packages_if_they_may(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced = EntryPoint("user.gated", f"{TASK_MODULE}:Gated", discovery.ENTRY_POINT_GROUP)
    monkeypatch.setattr(discovery, "entry_points", lambda group: EntryPoints([announced]))
    run = await start("with", scheduler__task_modules=[])
    assert (await class_names(run))["user.gated"] == "entry_point"
    without = await start("without", scheduler__task_modules=[], scheduler__entry_points=False)
    assert "user.gated" not in await class_names(without)


@shows("scheduler.user_task_folder")
async def test_task_classes_come_from_the_user_s_folder(start: Any, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o700)
    (folder / "mine.py").write_text(
        "from aico_sched.tasks import BaseTask\nclass Mine(BaseTask):\n    name = 'user.mine'\n"
        "    async def execute(self, context):\n        return {'mine': True}\n"
    )
    run = await start(scheduler__user_task_folder=str(folder))
    assert (await class_names(run))["user.mine"] == "user_folder"
    await run.client.create("user.mine", FAR)
    assert (await run.ran("user.mine")).result["data"] == {"mine": True}


# Retries and times.


async def waits(run: Running) -> list[float]:
    """Seconds from each failure to the attempt after it."""
    found = []
    for event in run.events.of(names.EXECUTION_RETRYING):
        failed = run.events.of(names.EXECUTION_FAILED, attempt=event.payload["attempt"])[0]
        retry_at = datetime.fromisoformat(event.payload["retry_at"])
        found.append((retry_at - datetime.fromisoformat(failed.payload["completed_at"])).total_seconds())
    return found


@shows("scheduler.default_retry_count", "scheduler.default_retry_delay", "scheduler.max_retry_delay")
async def test_a_task_that_says_nothing_of_retries_gets_the_service_s(start: Any) -> None:
    run = await start(
        scheduler__default_retry_count=3, scheduler__default_retry_delay=0.02, scheduler__max_retry_delay=0.03
    )
    await run.client.create("user.f", FAR, task_class="demo.fail", config={"times": 99})
    execution = await run.ran("user.f")
    assert (execution.status, execution.attempt, execution.retry_count) == ("dead", 4, 3)
    assert await waits(run) == pytest.approx([0.02, 0.03, 0.03], abs=0.001)


@shows("scheduler.default_timeout")
async def test_a_task_that_says_nothing_of_its_time_gets_the_service_s(start: Any, gate: Gate) -> None:
    run = await start(scheduler__default_timeout=0.05, scheduler__default_retry_count=0)
    await run.client.create("user.a", FAR, **gated(gate))
    execution = await run.ran("user.a")
    assert "timeout of 0.05 s" in str(execution.error_message)


@shows("scheduler.shutdown_grace")
async def test_what_runs_may_finish_for_as_long_as_the_grace_lasts(start: Any, gate: Gate) -> None:
    outcomes = {}
    for folder, grace in (("short", 0), ("long", 20)):
        run = await start(folder, scheduler__shutdown_grace=grace)
        await run.client.create("user.a", FAR, **gated(gate, delivery="at_most_once"))
        gate.shut()
        entered = gate.entered
        await run.client.trigger("user.a")
        await gate.has_entered(entered + 1)
        stopping = asyncio.create_task(run.service.stop())
        if grace:
            await run.events.first(names.AVAILABILITY, status="stopping")
            gate.open()
        await stopping
        outcomes[folder] = run.query("SELECT status, reason FROM task_executions WHERE task_id = 'user.a'")
    assert outcomes == {"short": [("interrupted", "the service stopped")], "long": [("succeeded", None)]}


@shows("scheduler.scheduler_interval")
async def test_a_clock_that_was_set_is_noticed_within_the_interval(start: Any) -> None:
    """Due in an hour; then the clock is set. Whoever looks seldom finds out late."""
    runs = []
    for interval in (0.02, 30):
        clock = SetClock()
        run = await start(
            f"every{interval}", clock=clock, scheduler__scheduler_interval=interval,
            scheduler__heartbeat_interval=0.05, sampler=FakeMachine(),
        )  # fmt: skip
        due = format_rfc3339(clock.now_us() + 3_600_000_000)
        await run.client.create("user.a", f"at:{due}", task_class="demo.echo")
        clock.set_forward(3_601)
        runs.append(run)
    soon, late = runs
    await soon.events.first(names.EXECUTION_SUCCEEDED, task_id="user.a")
    assert (await soon.events.first(names.ALERT)).payload["key"] == "clock_step"
    await late.events.several(3, names.AVAILABILITY)
    assert late.events.of(names.EXECUTION_STARTED) == []


# The machinery.


async def commits_for(run: Running, creates: int) -> int:
    before = (await figures(run, "store"))["commits"]
    await asyncio.gather(*(run.client.create(f"user.t{n}", FAR, task_class="demo.echo") for n in range(creates)))
    return int((await figures(run, "store"))["commits"]) - before


@shows("scheduler.batch_size")
async def test_so_many_commands_share_a_commit(start: Any) -> None:
    one = await start("one", scheduler__batch_size=1)
    many = await start("many", scheduler__batch_size=100, scheduler__turn_budget=1.0)
    assert await commits_for(one, 60) >= 60
    assert await commits_for(many, 60) < 30


@shows("scheduler.turn_budget")
async def test_a_turn_ends_when_its_time_is_over(start: Any) -> None:
    short = await start("short", scheduler__batch_size=1_000, scheduler__turn_budget=0.0001)
    long = await start("long", scheduler__batch_size=1_000, scheduler__turn_budget=1.0)
    # A turn looks at its budget after each group of messages that are handled together.
    in_short_turns = await commits_for(short, 10 * TOGETHER)
    assert in_short_turns >= 10
    assert await commits_for(long, 10 * TOGETHER) < in_short_turns


@shows("scheduler.mailbox_limit")
async def test_mailboxes_of_one_message_hold_nothing_up(start: Any) -> None:
    run = await start(scheduler__mailbox_limit=1)
    assert run.service._router is not None
    assert run.service._router._mark == 1
    count = 50
    await asyncio.gather(
        *(run.client.create(f"user.t{n}", SOON, task_class="demo.echo", max_runs=1) for n in range(count))
    )
    await run.events.several(count, names.EXECUTION_SUCCEEDED)
    large = await start("large", scheduler__mailbox_limit=900)
    assert large.service._router is not None
    assert large.service._router._mark == 450


@shows("scheduler.cache_size")
async def test_every_cache_is_as_large_as_the_settings_say(start: Any) -> None:
    run = await start(scheduler__cache_size=7)
    for number in range(12):
        await run.client.create(f"user.t{number}", f"{number} 0 1 1 *", task_class="demo.echo")
        await run.client.explain(f"{number} 1 1 1 *")
    caches = (await run.client.stats()).caches
    assert len(caches) >= 3
    for name, cache in caches.items():
        assert cache.get("maxsize", cache.get("limit")) == 7, name
        assert cache["size"] <= 7, name
    assert sum(cache["misses"] for cache in caches.values()) > 12


class Crashes:
    """Makes an actor raise at its next send, as often as is asked."""

    def __init__(self) -> None:
        self.left = 0

    def __call__(self, actor: str, phase: str, topic: str) -> None:
        if actor == "health" and self.left:
            self.left -= 1
            raise RuntimeError("injected")


@shows("scheduler.restart_budget", "scheduler.restart_window")
@pytest.mark.parametrize(("budget", "window", "survives"), [(0, 60, False), (3, 60, True), (0, 0.0001, False)])
async def test_an_actor_may_crash_so_often(start: Any, budget: int, window: float, survives: bool) -> None:
    crashes = Crashes()
    run = await start(
        fault=crashes, scheduler__restart_budget=budget, scheduler__restart_window=window,
        scheduler__resource_check_interval=0.05,
    )  # fmt: skip
    crashes.left = 1
    if survives:
        async with asyncio.timeout(20):
            while not (await run.client.health()).checks["actors"]["restarts"]:
                pass
        assert run.service.running
    else:
        with pytest.raises(RuntimeError, match="health actor crashed 1 times"):
            async with asyncio.timeout(20):
                await run.service.wait()
        assert not run.service.running


@shows("scheduler.restart_window")
async def test_crashes_longer_apart_than_the_window_are_forgotten(start: Any) -> None:
    crashes, machine = Crashes(), FakeMachine()
    run = await start(
        fault=crashes, sampler=machine, scheduler__restart_budget=1, scheduler__restart_window=0.001,
        scheduler__resource_check_interval=0.05,
    )  # fmt: skip
    for count in range(1, 5):
        crashes.left = 1
        await machine.was_looked_at(machine.looks + 2)
        async with asyncio.timeout(20):
            while (await figures(run, "health"))["restarts"] < count:
                await machine.was_looked_at(machine.looks + 1)
    assert run.service.running


@shows("scheduler.heartbeat_interval")
async def test_the_heart_beats_as_often_as_the_settings_say(start: Any) -> None:
    often = await start("often", scheduler__heartbeat_interval=0.05)
    seldom = await start("seldom", scheduler__heartbeat_interval=3600)
    await often.events.several(4, names.AVAILABILITY)
    assert len(seldom.events.of(names.AVAILABILITY)) <= 1


@shows("scheduler.event_retention")
async def test_old_events_are_dropped_beyond_so_many(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_actor, "HOUSEKEEPING_INTERVAL", 0.02)
    run = await start(scheduler__event_retention=100, scheduler__heartbeat_interval=0.05)
    await asyncio.gather(*(run.client.create(f"user.t{n}", FAR, task_class="demo.echo") for n in range(150)))
    async with asyncio.timeout(20):
        while run.query("SELECT count(*) FROM scheduler_events WHERE topic = ?", names.TASK_CREATED)[0][0] > 0:
            # What is published is noted with the next change; only that may go.
            await run.client.update("user.t0", priority=1)
    assert (await run.client.event_list(names.TASK_CREATED, after_seq=0)).events[:1] == []
    assert run.query("SELECT count(*) FROM scheduler_events")[0][0] <= 110
    newest = run.events.of(names.TASK_UPDATED)[-1]
    assert (await run.client.event_list(names.TASK_UPDATED, after_seq=newest.seq - 1)).events[0].seq == newest.seq


@shows("scheduler.audit_retention")
async def test_old_audit_lines_are_dropped_beyond_so_many(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_actor, "HOUSEKEEPING_INTERVAL", 0.02)
    run = await start(scheduler__audit_retention=100, scheduler__heartbeat_interval=0.05)
    for number in range(650):
        await run.client.explain(f"{number % 60} 3 * * *")
    async with asyncio.timeout(20):
        while (page := await run.client.audit(limit=1)).anchor.id == 0:
            pass
    assert 100 <= page.head.id - page.anchor.id < 650


@shows("scheduler.message_id_retention")
async def test_an_answer_is_remembered_for_so_long(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_actor, "HOUSEKEEPING_INTERVAL", 0.02)
    clock = SetClock()
    run = await start(clock=clock, scheduler__message_id_retention=60, scheduler__heartbeat_interval=0.05)
    payload = {"task_id": "user.a", "schedule": FAR, "task_class": "demo.echo"}
    first = await run.client.request(names.TASK_CREATE, payload, message_id="m1")
    clock.set_forward(50)
    assert await run.client.request(names.TASK_CREATE, payload, message_id="m1") == first
    clock.set_forward(20)
    async with asyncio.timeout(20):
        while run.query("SELECT 1 FROM scheduler_seen_messages WHERE message_id LIKE '%m1'"):
            await run.events.several(len(run.events.of(names.AVAILABILITY)) + 1, names.AVAILABILITY)
    # Another client of the same key: on a slow machine an answer to a repetition of the request before may still be on
    # its way to the first one, under the same id.
    async with SchedulerClient.discover(run.settings.data_dir) as client:
        with pytest.raises(TaskExists):
            await client.request(names.TASK_CREATE, payload, message_id="m1")


# The bus.


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@shows("bus.host", "bus.publish_port", "bus.subscribe_port")
async def test_the_bus_listens_where_the_settings_say(start: Any, tmp_path: Path) -> None:
    host = "127.0.0.2"
    ports = free_port(host), free_port(host)
    run = await start(bus__host=host, bus__publish_port=ports[0], bus__subscribe_port=ports[1])
    address = run.service.address
    assert (address.publish, address.subscribe) == (f"tcp://{host}:{ports[0]}", f"tcp://{host}:{ports[1]}")
    second = SchedulerService(settings_for(tmp_path / "second", bus__host=host, bus__publish_port=ports[0]))
    with pytest.raises(PortInUse, match=str(ports[0])):
        await second.start()
    assert not second.running


@shows("bus.name")
async def test_the_service_speaks_under_its_name(start: Any, wire_to: Any) -> None:
    run = await start(bus__name="night-watch")
    wire = await wire_to(run)
    await wire.ask(names.HEALTH, {})
    assert {body["source"] for topic, body in wire.heard if "probe" not in topic} == {"night-watch"}


@shows("bus.rate_limit")
async def test_who_says_too_much_is_not_heard(start: Any, wire_to: Any) -> None:
    run = await start(bus__rate_limit=20, roles={"chatty": "operator"})
    chatty = await wire_to(run, "chatty")
    sent = [await chatty.send(names.TASK_LIST, {}) for _ in range(200)]
    # As much again as may be answered, and time for it.
    await chatty.answer(sent[0])
    await run.barrier()
    found = await figures(run, "bridge")
    assert 5 <= found["received"] < 100


@shows("bus.connect", "bus.keys")
async def test_a_bus_may_be_joined_with_its_keys(start: Any, tmp_path: Path) -> None:
    keys = KeyRing(tmp_path / "hub" / "keys")
    keys.ensure("aico-sched")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    broker = Broker(context, keys, AccessRules.load())
    address = await broker.start()
    try:
        connect = f"{address.publish},{address.subscribe.rpartition(':')[2]}"
        run = await start(bus__connect=connect, bus__keys=str(tmp_path / "hub" / "keys"))
        assert (run.service.address, run.service._bus._broker) == (address, None)
        await run.client.create("user.a", FAR, task_class="demo.echo")
        assert (await run.ran("user.a")).status == "succeeded"
        await run.service.stop()
    finally:
        await broker.stop()
        context.destroy(linger=0)


# The tasks that come with the service.


@shows("tasks.maintenance.health_check", "tasks.maintenance.log_cleanup")
@pytest.mark.parametrize("task", ["health_check", "log_cleanup"])
async def test_the_settings_arrange_the_system_s_tasks(start: Any, task: str) -> None:
    checks = ("database", "message_bus", "disk_space", "memory", "clock", "keys")
    own = {"health_check": {f"check_{name}": False for name in checks},
           "log_cleanup": {"retention_days": 3, "max_size_mb": 7}}[task]  # fmt: skip
    usual = defaults()["tasks"]["maintenance"][task]
    run = await start()
    view = (await run.client.status(f"maintenance.{task}")).task
    assert (view.state, view.schedule, view.protected, view.created_by) == (
        "active", usual["schedule"], True, "aico-sched",
    )  # fmt: skip
    assert view.config == {key: value for key, value in usual.items() if key not in ("enabled", "schedule")}
    await run.service.stop()

    # The same database, other settings.
    arranged = {"enabled": False, "schedule": "5 5 * * *", "max_duration": 11, "idle_only": True, **own}
    changed = await start(sampler=FakeMachine(), tasks__maintenance={task: arranged})
    view = (await changed.client.status(f"maintenance.{task}")).task
    assert (view.state, view.schedule, view.config) == ("disabled", "5 5 * * *", own)
    assert (view.options["timeout"], view.options["idle_only"]) == (11, True)
    execution = await changed.ran(f"maintenance.{task}")
    assert execution.status == "succeeded"
    if task == "health_check":
        assert execution.result["data"] == {"checks": {}}


async def test_a_key_that_a_system_task_does_not_know_is_an_alert(start: Any) -> None:
    run = await start(tasks__maintenance={"log_cleanup": {"retention_dayz": 3}})
    alerts = (await run.client.event_list(names.ALERT)).events
    assert [alert.payload["key"] for alert in alerts] == ["system_task"]
    assert "retention_dayz" in str(alerts[0].payload["message"])


async def test_what_a_user_changed_stays_until_the_settings_change(start: Any) -> None:
    run = await start()
    await run.client.update("maintenance.log_cleanup", schedule="1 1 * * *")
    await run.client.disable("maintenance.health_check")
    await run.service.stop()
    again = await start()
    assert (await again.client.status("maintenance.log_cleanup")).task.schedule == "1 1 * * *"
    assert (await again.client.status("maintenance.health_check")).task.state == "disabled"


async def test_a_start_that_fails_leaves_nothing_running(start: Any, tmp_path: Path) -> None:
    await start()
    second = SchedulerService(settings_for(tmp_path / "data"))
    with pytest.raises(AlreadyInUse, match="another aico-sched service"):
        await second.start()
    assert not second.running


async def test_a_start_that_fails_leaves_the_running_service_s_announcement(start: Any, tmp_path: Path) -> None:
    await start()
    with pytest.raises(AlreadyInUse):
        await SchedulerService(settings_for(tmp_path / "data")).start()
    assert (tmp_path / "data" / "service.json").exists()
