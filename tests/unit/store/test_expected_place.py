"""What the scheduler is told of where a run will go, and what a half-open breaker makes of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aico_sched.execution.breaker import Breaker, BreakerRules
from aico_sched.execution.strikes import StrikeRules
from aico_sched.gates import Gates
from aico_sched.horizon import Item
from aico_sched.planning import Defaults
from aico_sched.quiet import QuietHours
from aico_sched.schedule import parse_rfc3339
from aico_sched.settings import Settings
from aico_sched.store.connection import Database
from aico_sched.store.strikes import Strikes
from aico_sched.store.tasks import Sender, TaskCommands
from aico_sched.store.unit import Unit
from aico_sched.tasks.catalogue import Catalogue
from aico_sched.topics.internal import DueLoad, DueLoaded, LoopStalled
from aico_sched.wiring import Arrangements, database_keys, make_registry, open_database

NOW = parse_rfc3339("2026-05-04T10:00:00Z")
YEAR = 365 * 86_400 * 1_000_000
CODE = """
from aico_sched.tasks import BaseTask, BlockingTask

class Mine(BaseTask):
    name = "user.mine"

    async def execute(self, context):
        return None
"""
MODULE = """
from aico_sched.tasks import BaseTask, BlockingTask

class Far(BaseTask):
    name = "acme.far"
    environment = "process"

    async def execute(self, context):
        return None

class Waits(BlockingTask):
    name = "acme.waits"

    def run(self, context):
        return None

class Near(BaseTask):
    name = "acme.near"

    async def execute(self, context):
        return None
"""


class Store:
    """The part of the store that knows of tasks, with real classes and a real database."""

    def __init__(self, settings: Settings, database: Database) -> None:
        catalogue = Catalogue(make_registry(settings), Arrangements(settings).of)
        self.unit = Unit(database, Defaults("UTC", 300, 4, 60, 3_600), "boot", 100, catalogue.environment_of)
        self.tasks = TaskCommands(self.unit, catalogue)
        self.strikes = Strikes(self.unit, self.tasks, StrikeRules(move=1), lambda alert: None)

    def due(self) -> DueLoaded:
        return self.unit.load_due(DueLoad(NOW + YEAR, 100))

    def places(self) -> dict[str, str]:
        return {task.task_id: task.environment for task in self.due().tasks}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "acme_places.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    folder = tmp_path / "data" / "tasks"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "mine.py").write_text(CODE)
    return Settings.load(environ={
        "AICO_SCHED_DATA_DIR": str(tmp_path / "data"),
        "AICO_SCHED_SCHEDULER__TASK_MODULES": '["acme_places"]',
    })  # fmt: skip


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    database = open_database(settings, database_keys(settings))
    made = Store(settings, database)
    made.unit.begin(NOW)
    yield made
    database.rollback()
    database.close()


def create(store: Store, task_id: str, task_class: str, **options: object) -> None:
    payload = {"task_id": task_id, "task_class": task_class, "schedule": "interval:3600", **options}
    store.tasks.create(payload, Sender("me", "admin"))


EXPECTED = {
    "acme.by_its_class": ("acme.far", {}, "process"),
    "acme.blocks": ("acme.waits", {}, "thread"),
    "acme.plain": ("acme.near", {}, "auto"),
    "acme.says_so": ("acme.near", {"environment": "cluster"}, "cluster"),
    "acme.has_it_back": ("acme.far", {"environment": "loop"}, "loop"),
    "acme.leaves_it": ("acme.far", {"environment": "auto"}, "process"),
    "user.sandboxed": ("user.mine", {}, "sandbox"),
    "user.no_choice": ("user.mine", {"environment": "loop"}, "sandbox"),
}


def test_the_scheduler_is_told_where_each_run_goes(store: Store) -> None:
    for task_id, (task_class, options, _) in EXPECTED.items():
        create(store, task_id, task_class, **options)
    expected = {task_id: place for task_id, (_, _, place) in EXPECTED.items()}
    assert store.places() == expected
    said, _ = store.unit.announce()
    assert {task.task_id: task.environment for task in said.due_tasks} == expected


def test_what_no_class_was_imported_for_is_told_by_its_source(settings: Settings) -> None:
    catalogue = Catalogue(make_registry(settings), Arrangements(settings).of)
    places = {name: catalogue.environment_of(name) for name in ("acme.far", "acme.waits", "acme.near", "user.mine")}
    assert places == {"acme.far": "process", "acme.waits": "thread", "acme.near": "auto", "user.mine": "sandbox"}
    assert catalogue.cache_stats()["task_classes"]["size"] == 0


@pytest.mark.parametrize("asked", [{}, {"environment": "auto"}])
def test_what_was_moved_is_told_at_once_and_until_it_is_edited(store: Store, asked: dict[str, str]) -> None:
    create(store, "acme.plain", "acme.near", **asked)
    store.unit.announce()
    stall = LoopStalled("task", 0.4, 0.4, "here", "stack", "acme.plain", "e1", True, ["loop", "thread", "process"])
    store.strikes.stalled(stall)
    said, _ = store.unit.announce()
    assert [(task.task_id, task.environment) for task in said.due_tasks] == [("acme.plain", "process")]
    assert store.places() == {"acme.plain": "process"}
    assert store.unit.moved.environment_of("acme.plain", asked.get("environment")) == "process"
    store.tasks.update({"task_id": "acme.plain", "config": {}}, Sender("me", "admin"))
    said, _ = store.unit.announce()
    assert [task.environment for task in said.due_tasks] == ["auto"]


def test_only_what_goes_to_the_loop_is_a_trial_of_a_half_open_breaker(store: Store) -> None:
    for task_id in ("acme.by_its_class", "acme.plain", "user.sandboxed"):
        create(store, task_id, EXPECTED[task_id][0])
    breaker = Breaker(BreakerRules(open_time=5.0, trials=1, head_start=0.0))
    gates = Gates(breaker, (), QuietHours.of_window("02:00-05:00", "UTC"))
    breaker.stalled(0.0)
    breaker.advance(5.0)
    breaker.advance(5.0)
    items = {task.task_id: Item(task.task_id, NOW, task, None) for task in store.due().tasks}

    def passes(task_id: str) -> bool:
        return gates.closed(items[task_id], NOW, 5.1) == ""

    assert all(passes(task_id) for task_id in ("acme.by_its_class", "user.sandboxed") for _ in range(3))
    assert passes("acme.plain")
    assert not passes("acme.plain")
    assert passes("acme.by_its_class")
