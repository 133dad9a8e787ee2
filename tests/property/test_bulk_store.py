"""What the store does for many at once is what it does for each: the same random life, told to one store in groups and
to another message by message, leaves the same rows, answers, events and words to the other actors."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aico_sched.actors.store import StoreActor
from aico_sched.execution.states import OUTCOME_EVENTS
from aico_sched.horizon import Horizon
from aico_sched.planning import plan_slot
from aico_sched.schedule import format_rfc3339, parse_rfc3339, parse_schedule
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.store import bulk_claim, bulk_end, commands
from aico_sched.topics import names
from aico_sched.topics.internal import (
    AttemptEnd,
    AttemptsEnded,
    AttemptStart,
    DueChanged,
    DueLoad,
    DueTask,
    ReplyReady,
    Request,
    Slot,
    SlotsClaim,
)
from tests.support.clock import FakeClock

TABLES = (
    "scheduled_tasks",
    "task_executions",
    "task_attempts",
    "scheduler_dead_letters",
    "scheduler_seen_messages",
    "scheduler_audit",
)
START = parse_rfc3339("2026-05-04T10:00:00Z")
SCHEDULES = (
    "interval:1",
    "interval:2.5",
    "*/5 * * * *",
    "at:2026-05-04T10:00:03Z",
    "after:user.t1",
    "no such schedule",
    "0 0 31 2 *",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"overlap": "queue"},
    {"overlap": "cancel_previous"},
    {"overlap": "allow"},
    {"max_runs": 2},
    {"fixed_delay": True},
    {"jitter": 3.0},
    {"delivery": "at_most_once"},
    {"retry": {"max_attempts": 1}},
    {"catchup_window": 0.0},
    {"misfire": "all"},
    {"priority": 7, "description": "zwölf \u0000 Boxkämpfer"},
)
COMMANDS = (names.TASK_DELETE, names.TASK_TRIGGER, names.TASK_PAUSE, names.TASK_RESUME, names.TASK_DISABLE)


class Effects:
    """Keeps what a turn says."""

    def __init__(self) -> None:
        self.children: dict[str, Any] = {}
        self.sent: list[tuple[str, Any]] = []
        self.replies: list[tuple[str, Any]] = []

    def send(self, topic: str, message: Any) -> None:
        self.sent.append((topic, message))

    def reply(self, answer: ReplyReady) -> None:
        self.replies.append((answer.message_id, msgpack.unpackb(answer.body)))


class Store:
    """A store actor with a database of its own, and what is known from what it says."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.clock.wall_us = START
        self.folder, self.effects = folder, Effects()
        self.actor: StoreActor
        self.running: dict[tuple[str, str, int], AttemptStart] = {}
        self.heard: list[Any] = []

    async def start(self) -> None:
        environ = {
            "AICO_SCHED_DATA_DIR": str(self.folder),
            "AICO_SCHED_SCHEDULER__DEFAULT_RETRY_COUNT": "1",
            "AICO_SCHED_SCHEDULER__DEFAULT_RETRY_DELAY": "1",
            "AICO_SCHED_SCHEDULER__TIMEZONE": "UTC",
            "AICO_SCHED_STORE__SYNCHRONOUS": "normal",
        }
        plans = SchedulerService(Settings.load(environ=environ), clock=self.clock)._crew().plans()
        self.actor = next(make() for kind, make in plans if kind is StoreActor)  # type: ignore[assignment]
        self.actor._boot_id = "boot"
        self.actor.effects = self.effects  # type: ignore[assignment]
        await self.actor.on_start()
        self.hear()

    def turn(self, *handlings: tuple[str, Any]) -> None:
        for method, message in handlings:
            getattr(self.actor, method)(message)
        self.actor.end_turn()
        self.hear()

    def change(self, topic: str, request: Request) -> None:
        self.actor.change(topic, request)
        self.actor.end_turn()
        self.hear()

    def hear(self) -> None:
        for topic, message in self.effects.sent:
            if topic == names.ATTEMPTS_START:
                for start in message.attempts:
                    self.running[start.task_id, start.scheduled_for_us, start.attempt] = start
            if topic == names.EVENTS_COMMITTED:
                self.heard += message.events
            elif topic in (names.DUE_CHANGED, names.ATTEMPT_CANCEL, names.ATTEMPTS_START):
                self.heard.append((topic, message))
        self.effects.sent.clear()

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        return self.actor._database._raw(query, parameters)  # type: ignore[union-attr]

    def due(self) -> list[DueTask]:
        return self.actor._unit.load_due(DueLoad(self.clock.now_us(), 1_000)).tasks

    def waiting(self) -> list[str]:
        now = format_rfc3339(self.clock.now_us())
        query = (
            "SELECT execution_id FROM task_executions WHERE run_at <= ? AND status IN ('queued', 'retrying') "
            "ORDER BY run_at, task_id, scheduled_for"
        )
        return [row[0] for row in self.rows(query, now)]


def believe(horizon: Horizon, changed: DueChanged) -> None:
    """What the scheduler makes of it."""
    for task in changed.tasks:
        horizon.put_task(task)
    for run in changed.runs:
        horizon.put_run(run)
    for gone in changed.gone:
        horizon.drop_task(*gone)


def told(store: Store) -> tuple[Any, ...]:
    """All that came of a life, with executions named by what they are rather than by the order of their making."""
    named: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for execution_id, task_id, slot, trigger in store.rows(
        "SELECT execution_id, task_id, scheduled_for, trigger FROM task_executions ORDER BY task_id, scheduled_for, id"
    ):
        name = f"{task_id}|{slot}|{trigger}"
        counts[name] += 1
        named[execution_id] = f"{name}|{counts[name]}"

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            for execution_id, name in named.items():
                value = value.replace(execution_id, name)
            return value
        if isinstance(value, bytes):
            return plain(msgpack.unpackb(value))
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    tables = {}
    for table in TABLES:
        # Numbers that only count rows, and the hashes over them, may differ.
        first, last = {"task_executions": (1, None), "scheduler_audit": (1, 8)}.get(table, (0, None))
        rows = [plain(row[first:last]) for row in store.rows(f"SELECT * FROM {table}")]
        tables[table] = sorted(rows, key=repr)
    events, words, horizon = Counter[str](), Counter[str](), Horizon(1_000, 0)
    horizon.until_us = 2**62
    sequences: dict[str, list[int]] = {}
    for word in store.heard:
        if isinstance(word[0], int):
            sequences.setdefault(word.topic, []).append(word.seq)
            events[repr((word.topic, word.timestamp, plain(word.body)))] += 1
        else:
            topic, message = word
            if topic == names.DUE_CHANGED:
                believe(horizon, message)
            elif topic == names.ATTEMPT_CANCEL:
                words[repr(plain(message))] += 1
            else:
                words.update(repr(plain(start)) for start in message.attempts)
    believed = sorted(repr(plain(item[1:])) for item in horizon._items.values())
    replies = {key: plain(answer) for key, answer in store.effects.replies}
    return tables, events, sequences, words, believed, replies


class Life:
    """The same random happenings for two stores."""

    def __init__(self, seed: int, together: Store, apart: Store) -> None:
        self.random = random.Random(seed)
        self.together, self.apart = together, apart
        self.numbers = 0

    def request(self, payload: dict[str, Any]) -> Request:
        self.numbers += 1
        # Some ids come twice, in one turn or in two.
        number = self.numbers if self.random.random() > 0.1 else self.random.randint(1, self.numbers)
        role = "observer" if self.random.random() < 0.1 else "admin"
        return Request(f"m{number}", "admin", role, "reply", f"c{number}", "msgpack", payload)

    def task_id(self) -> str:
        return f"user.t{self.random.randint(0, 25)}"

    def create(self) -> None:
        def payload() -> dict[str, Any]:
            draw = self.random
            known = {
                "task_id": self.task_id(),
                "schedule": draw.choice(SCHEDULES[:5] if draw.random() < 0.9 else SCHEDULES),
            }
            known["task_class"] = "demo.echo" if draw.random() < 0.95 else "demo.other"
            known["config"] = {"n": draw.randint(0, 9), "text": "\u0000 ß"}
            return {**known, **draw.choice(OPTIONS)}

        requests = [self.request(payload()) for _ in range(self.random.randint(1, 20))]
        self.together.turn(("create", requests))
        for request in requests:
            self.apart.turn(("create", [request]))

    def command(self) -> None:
        topic, request = self.random.choice(COMMANDS), self.request({"task_id": self.task_id()})
        self.together.change(topic, request)
        self.apart.change(topic, request)

    def wait(self) -> None:
        pause = self.random.choice((200_000, 1_000_000, 7_000_000))
        for store in (self.together, self.apart):
            store.clock.wall_us += pause

    def claim(self) -> None:
        now = self.together.clock.now_us()
        planned = [plan_slot(task, parse_schedule(task.schedule, task.timezone), now) for task in self.together.due()]
        slots = [slot for slot in planned if slot is not None]
        assert [slot.task_id for slot in slots] == [
            task.task_id for task in self.apart.due() if task.task_id in {s.task_id for s in slots}
        ]
        if slots and self.random.random() < 0.3:
            slots.append(self.random.choice(slots))
        other = self.task_id()
        if slots and self.random.random() < 0.3 and other not in {slot.task_id for slot in slots}:
            slots.append(slots[0]._replace(revision=99, task_id=other))
        runs = self.apart.waiting()
        self.together.turn(("claim", SlotsClaim(1, slots, self.together.waiting())))
        for slot in slots:
            self.apart.turn(("claim", SlotsClaim(1, [Slot(*slot)], [])))
        for run in runs:
            self.apart.turn(("claim", SlotsClaim(1, [], [run])))

    def end(self) -> None:
        keys = sorted(self.together.running.keys() & self.apart.running.keys())
        chosen = self.random.sample(keys, min(len(keys), self.random.randint(1, 12)))
        if chosen and self.random.random() < 0.2:
            chosen.append(chosen[0])
        ends = [self.ending(key) for key in chosen]
        for store, size in ((self.together, len(ends)), (self.apart, 1)):
            own = [
                end._replace(execution_id=store.running[key].execution_id)
                for key, end in zip(chosen, ends, strict=True)
            ]
            for start in range(0, len(own), size or 1):
                store.turn(("ended", AttemptsEnded(own[start : start + size])))
        for key in set(chosen):
            del self.together.running[key], self.apart.running[key]

    def ending(self, key: tuple[str, str, int]) -> AttemptEnd:
        draw, now = self.random, self.together.clock.now_us()
        outcome = "succeeded" if draw.random() < 0.7 else draw.choice(sorted(OUTCOME_EVENTS))
        good = outcome == "succeeded"
        result = '{"message":"","data":{"n":1}}' if good and draw.random() < 0.8 else None
        error = (None, None, None) if good else ("ValueError", "it broke", "Traceback …")
        retry = 0 if good or draw.random() < 0.5 else now + 1_000_000
        return AttemptEnd("", key[2], outcome, now - 5_000, now, result, *error, retry, None)

    def live(self, steps: int) -> None:
        for _ in range(steps):
            self.random.choice((self.create, self.create, self.command, self.wait, self.claim, self.claim, self.end))()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("bulk")


@settings(
    max_examples=500 if os.environ.get("AICO_SCHED_LONG") else 12,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    # A smaller seed is no simpler life.
    phases=[Phase.generate],
)
@given(seed=st.integers(0, 2**32))
async def test_many_at_once_are_as_each_alone(folders: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(bulk_claim, "FEWEST", 2)
    monkeypatch.setattr(bulk_end, "FEWEST", 2)
    monkeypatch.setattr(commands, "FEWEST_CREATES", 2)
    made = len(list(folders.iterdir()))
    together, apart = (Store(folders / f"{made}.{name}") for name in ("together", "apart"))
    await together.start()
    await apart.start()
    try:
        Life(seed, together, apart).live(40)
        for ours, theirs in zip(told(together), told(apart), strict=True):
            assert ours == theirs
    finally:
        await together.actor.on_stop()
        await apart.actor.on_stop()
