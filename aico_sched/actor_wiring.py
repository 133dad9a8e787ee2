"""The actors of a service, each with what it needs and nothing else; the part of the composition root about them."""

import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from aico_sched import __version__
from aico_sched.actors.bridge import BridgeActor
from aico_sched.actors.executor import ExecutorActor
from aico_sched.actors.health import HealthActor
from aico_sched.actors.scheduler import SchedulerActor
from aico_sched.actors.store import StoreActor
from aico_sched.bus.access import AccessRules
from aico_sched.bus_wiring import BusSide
from aico_sched.clock import Clock
from aico_sched.data.source import DataSource
from aico_sched.execution.environments import Environments
from aico_sched.execution.guard import LoopGuard
from aico_sched.execution.pauses import Pauses
from aico_sched.health import Thresholds
from aico_sched.host import HostSampler, PsutilSampler
from aico_sched.log_topic import LogTopic
from aico_sched.process_wiring import PowerSource, config_judge
from aico_sched.quiet import QuietHours
from aico_sched.runtime.supervisor import Plan
from aico_sched.security.key_sources import KeySource
from aico_sched.settings import Settings
from aico_sched.store.connection import Database
from aico_sched.store.housekeeping import Kept
from aico_sched.stress import Stress
from aico_sched.tasks.catalogue import Catalogue
from aico_sched.tracing import Tracing
from aico_sched.wiring import (
    Arrangements,
    Classes,
    breaker_rules,
    defaults,
    history_limits,
    learned_quiet_hours,
    make_registry,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Crew:
    """The parts of a service that its actors are made of. `names` are the actors', as they report to health."""

    settings: Settings
    clock: Clock
    sampler: HostSampler | None
    names: tuple[str, ...]
    rules: AccessRules
    bus: BusSide
    open_store: Callable[[], Database]
    open_data: Callable[[], AbstractAsyncContextManager[DataSource]]
    database_keys: KeySource
    log_topic: LogTopic | None
    tracing: Tracing
    guard: LoopGuard
    environments: Environments
    powers: PowerSource

    def plans(self) -> list[Plan]:
        """The actors in the order in which they start. What outlives an actor's crash is made here, once."""
        boot_id = f"{self.clock.now_us():014x}{secrets.token_hex(3)}"
        judge = config_judge(self.settings, self.environments)
        pauses = Pauses(self.settings.scheduler.longest_pause)
        claim_ids = iter(range(0, 2**62, 2**32))
        return [
            (StoreActor, partial(self._store, boot_id, Arrangements(self.settings), judge.ask)),
            (HealthActor, self._health),
            (ExecutorActor, partial(self._executor, pauses)),
            (SchedulerActor, lambda: self._scheduler(next(claim_ids))),
            (BridgeActor, self._bridge),
        ]

    def _store(self, boot_id: str, arrangements: Arrangements, judge: Any) -> StoreActor:
        settings, scheduler = self.settings, self.settings.scheduler
        return StoreActor(
            self.clock,
            self.open_store,
            Catalogue(make_registry(settings), arrangements.of),
            defaults(settings),
            boot_id,
            cache_size=scheduler.cache_size,
            kept=Kept(scheduler.event_retention, scheduler.audit_retention, scheduler.message_id_retention),
            heartbeat_interval=scheduler.heartbeat_interval,
            keys=self.database_keys,
            maintenance_timeout=settings.store.maintenance_timeout,
            history=history_limits(settings),
            tracing=self.tracing,
            judge=judge,
        )

    def _health(self) -> HealthActor:
        scheduler = self.settings.scheduler
        return HealthActor(
            self.clock,
            self.sampler or PsutilSampler(),
            Thresholds(
                scheduler.max_cpu_percent,
                scheduler.max_memory_percent,
                scheduler.idle_threshold_cpu,
                scheduler.idle_threshold_memory,
            ),
            actors=self.names,
            check_interval=scheduler.resource_check_interval,
            window=scheduler.health_window,
            user_idle_after=scheduler.user_idle_after,
            stress=Stress(scheduler.stress_after, scheduler.stress_stretch),
            version=__version__,
            key_ages=self.bus.key_ages,
            max_key_age=self.settings.bus.key_max_age,
        )

    def _executor(self, pauses: Pauses) -> ExecutorActor:
        settings, scheduler = self.settings, self.settings.scheduler
        return ExecutorActor(
            self.clock,
            Classes(make_registry(settings)),
            self.environments,
            self.guard,
            pauses,
            settings.data_dir / "task_data",
            self.rules.may_publish,
            max_concurrent=scheduler.max_concurrent_tasks,
            shutdown_grace=scheduler.shutdown_grace,
            cancel_grace=settings.execution.cancel_grace,
            default_timeout=scheduler.default_timeout,
            probe_bus=self.bus.round_trip,
            open_data=self.open_data,
            make_powers=self.powers.make,
            session_keys=self.bus.session_keys,
            tracing=self.tracing,
        )

    def _scheduler(self, first_claim_id: int) -> SchedulerActor:
        settings, scheduler = self.settings, self.settings.scheduler
        return SchedulerActor(
            self.clock,
            timezone=settings.timezone,
            cache_size=scheduler.cache_size,
            longest_sleep=scheduler.scheduler_interval,
            priority_aging=scheduler.priority_aging,
            groups=scheduler.groups,
            first_claim_id=first_claim_id,
            breaker=breaker_rules(settings),
            default_quiet=QuietHours.of_window(scheduler.quiet_hours, settings.timezone),
            learned_quiet=lambda: learned_quiet_hours(settings),
            blackout=scheduler.blackout,
        )

    def _bridge(self) -> BridgeActor:
        bus = self.bus
        return BridgeActor(
            self.clock,
            bus.endpoint,
            self.settings.bus.name,
            bus.role_of,
            self.rules.may_publish,
            heartbeat_interval=self.settings.scheduler.heartbeat_interval,
            terms=bus.terms,
            take_refusals=bus.take_refusals,
            bus_figures=bus.figures,
            log_lines=self.log_topic,
            tracing=self.tracing,
        )
