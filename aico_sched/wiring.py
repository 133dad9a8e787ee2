"""Made of the settings: what the composition root hands to the actors."""

import json
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Any

import structlog

from aico_sched.cpus import usable_cpus
from aico_sched.data.database import open_database as open_source
from aico_sched.data.source import DataSource
from aico_sched.execution.breaker import BreakerRules
from aico_sched.execution.cluster.runner import ClusterRunner
from aico_sched.execution.environments import Environments, Runner
from aico_sched.execution.guard import LoopGuard
from aico_sched.execution.in_thread import ThreadRunner
from aico_sched.execution.on_loop import LoopRunner
from aico_sched.execution.strikes import StrikeRules
from aico_sched.execution.watch import LoopWatch
from aico_sched.planning import Defaults
from aico_sched.process_wiring import is_sandboxed, process_runners
from aico_sched.quiet import QuietHours
from aico_sched.security.database_key import secret_text
from aico_sched.security.key_sources import GivenByProgram, GivenKey, KeySource, source_of
from aico_sched.settings import Settings
from aico_sched.store.connection import Database
from aico_sched.store.lock import DatabaseLock
from aico_sched.store.retention import HistoryLimits
from aico_sched.tasks.agency.background_learning import QUIET_FILE, BackgroundLearning
from aico_sched.tasks.catalogue import Arranged
from aico_sched.tasks.registry import BUILTIN_MODULES, TaskRegistry
from aico_sched.topics.internal import SANDBOX

log = structlog.get_logger(__name__)

GENERIC_MODULES = ("aico_sched.tasks.bus", "aico_sched.tasks.demo", "aico_sched.tasks.notify")


MORE_THREADS = 4
"""Threads beyond one per processor: many blocking tasks wait rather than compute."""


HEAD_START = 1.0
"""Seconds for which a half-open breaker waits for a critical task before it tries another."""


class Classes:
    """The executor's own view of the task classes."""

    def __init__(self, registry: TaskRegistry) -> None:
        self._registry = registry
        registry.discover()
        self.load, self.find = registry.load, registry.find

    def rescan(self) -> None:
        """Look for classes anew."""
        self._registry.discover()

    def cache_stats(self) -> dict[str, Any]:
        """Figures of the cache of loaded classes."""
        return {"running_task_classes": self._registry.cache_stats()}


class Arrangements:
    """What `tasks:` in the settings says of each system task. The seeds keep `security.key_rotation` under
    `maintenance:`, so a security task is looked for there too."""

    def __init__(self, settings: Settings) -> None:
        self._tasks = settings.tasks

    def of(self, task_id: str) -> Arranged:
        """The arrangement of a task by its id; an empty one if there is none."""
        category, _, name = task_id.partition(".")
        found = self._tasks.get(category, {}).get(name)
        if found is None and category == "security":
            found = self._tasks.get("maintenance", {}).get(name)
        if found is None:
            return Arranged(True, None, {}, {})
        return Arranged(found.enabled, found.schedule, found.config, found.options)


def make_registry(settings: Settings, *, sandbox: bool = True) -> TaskRegistry:
    """The task classes the settings name; without `auto_discover` only the generic ones. Without `sandbox` the code of
    users' tasks is imported here too, for somebody who runs a task of their own by hand."""
    scheduler = settings.scheduler
    if not scheduler.auto_discover:
        return TaskRegistry(GENERIC_MODULES, use_entry_points=False, cache_size=scheduler.cache_size)
    return TaskRegistry(
        (*BUILTIN_MODULES, *scheduler.task_modules),
        use_entry_points=scheduler.entry_points,
        user_folder=settings.user_task_folder,
        cache_size=scheduler.cache_size,
        foreign=lambda name: sandbox and is_sandboxed(settings, name),
    )


def make_guard(settings: Settings, own_tasks: Iterable[str], *, real_time: bool) -> LoopGuard:
    """The loop's guard. On a clock that stands still while the loop works no stall means anything: none is seen."""
    threshold = settings.execution.stall_threshold if real_time else None
    dump = settings.data_dir / "loop_blocked.txt"
    return LoopGuard(LoopWatch(inf if threshold is None else threshold, frozenset(own_tasks), dump))


def breaker_rules(settings: Settings) -> BreakerRules:
    """When the loop is given a rest."""
    execution = settings.execution
    return BreakerRules(
        stalls=execution.breaker_stalls,
        window=execution.breaker_window,
        open_time=execution.breaker_open_time,
        trials=execution.breaker_trials,
        head_start=min(HEAD_START, execution.breaker_open_time),
    )


def make_environments(settings: Settings, watch: LoopWatch) -> Environments:
    """Where attempts run."""
    execution = settings.execution
    threads = execution.threads or usable_cpus() + MORE_THREADS
    runners: dict[str, Runner] = {
        "loop": LoopRunner(watch),
        "thread": ThreadRunner(threads, execution.cancel_grace),
        "cluster": ClusterRunner(settings.cluster.address, settings.cluster.connect_timeout, execution.cancel_grace),
        **process_runners(settings),
    }
    return Environments(runners, lambda start: SANDBOX if is_sandboxed(settings, start.task_class) else None)


def database_keys(settings: Settings, given: GivenKey | None = None) -> KeySource:
    """Where the database's key comes from: the settings say, unless it is `given` by the embedding program."""
    if given is not None:
        return GivenByProgram(given)
    key_file = settings.store.key_file or settings.data_dir / "keys" / "database.key"
    return source_of(settings.store.key_source, key_file, settings.database_path)


def history_limits(settings: Settings) -> HistoryLimits:
    """How much of the past is kept."""
    store = settings.store
    return HistoryLimits(store.history_days, store.history_rows, store.history_mb, store.history_keep)


def open_database(settings: Settings, keys: KeySource, held: DatabaseLock | None = None) -> Database:
    """The database of the settings, with its key; under the lock that the caller has `held`, if it has."""
    return Database.open(settings.database_path, keys.current, settings.store.synchronous, held)


def open_data(settings: Settings, keys: KeySource | None = None) -> AbstractAsyncContextManager[DataSource]:
    """AICO's data as the settings name it, for the length of a block."""
    database, key_file = settings.data.database, settings.data.key_file
    if database is None:
        return open_source(settings.database_path, (keys or database_keys(settings)).current)
    return open_source(database, lambda: None if key_file is None else secret_text(key_file))


def learned_quiet_hours(settings: Settings) -> QuietHours | None:
    """What background learning predicted last; None if it has not, or its file is damaged."""
    path = settings.data_dir / "task_data" / BackgroundLearning.name / QUIET_FILE
    try:
        return QuietHours.from_plain(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("quiet_hours_unreadable", file=str(path), error=str(error))
        return None


def defaults(settings: Settings) -> Defaults:
    """What tasks fall back to."""
    scheduler = settings.scheduler
    return Defaults(
        timezone=settings.timezone,
        timeout=scheduler.default_timeout,
        max_attempts=scheduler.default_retry_count + 1,
        retry_delay=scheduler.default_retry_delay,
        max_retry_delay=scheduler.max_retry_delay,
        groups=scheduler.groups,
        strikes=StrikeRules(
            settings.execution.strikes_to_move,
            settings.execution.strikes_to_disable,
            settings.execution.strike_window,
        ),
    )
