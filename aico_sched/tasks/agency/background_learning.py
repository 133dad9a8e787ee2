"""Learns when the user is away and how long tasks take, and tells the scheduler, which then places heavy work there."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from aico_sched.data.source import DataSource, NothingThere, Table
from aico_sched.host_zone import host_zone
from aico_sched.quiet import HOUR_US, QuietHours, hour_start
from aico_sched.tasks.agency.activity_profile import ActivityProfile, CostProfile
from aico_sched.tasks.base import BaseTask, TaskResult
from aico_sched.tasks.context import TaskContext
from aico_sched.topics.commands import Environment

PAGE = 500
QUIET_FILE = "quiet_hours.json"
"""In the task's data folder: the prediction in force; no file while the default window is."""

_STATE = "profile.json"
_SETTLED_US = 24 * HOUR_US
"""A run that has not ended a day after it began is waited for no longer."""

_REMEMBERED_HOURS = 24 * 7 * 26


@dataclass(slots=True)
class Memory:
    """What is kept between runs. `after` are the last rows read; `counted` the executions beyond it that were."""

    profile: ActivityProfile = field(default_factory=ActivityProfile)
    costs: dict[str, CostProfile] = field(default_factory=dict)
    activity_after: int = 0
    executions_after: int = 0
    counted: set[int] = field(default_factory=set)
    open_hours: set[int] = field(default_factory=set)

    def save(self, path: Path) -> None:
        """Write it down."""
        plain = {
            "profile": self.profile.plain(),
            "costs": {task: asdict(cost) for task, cost in self.costs.items()},
            "activity_after": self.activity_after,
            "executions_after": self.executions_after,
            "counted": sorted(self.counted),
            "open_hours": sorted(self.open_hours),
        }
        _write(path, plain)

    @classmethod
    def load(cls, path: Path) -> "Memory":
        """What was saved; an empty one if there is none, or it is damaged: it can be learned again."""
        try:
            plain = json.loads(path.read_text())
            return cls(
                ActivityProfile.from_plain(plain["profile"]),
                {task: CostProfile(**cost) for task, cost in plain["costs"].items()},
                plain["activity_after"],
                plain["executions_after"],
                set(plain["counted"]),
                set(plain["open_hours"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return cls()


class BackgroundLearning(BaseTask):
    """Learns the user's quiet hours and the cost of tasks, so that heavy work runs when it disturbs nobody."""

    name = "agency.background_learning"
    default_schedule = "*/30 * * * *"
    environment: ClassVar[Environment] = "loop"
    default_options: ClassVar[Mapping[str, Any]] = {"idle_only": True, "timeout": 600}

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        activity_table: str = Field(default="events", description="columns id, timestamp (RFC 3339), topic")
        activity_topics: tuple[str, ...] = Field(
            default=("user.", "conversation."), description="topics that begin so are the user's doing"
        )
        executions_table: str = Field(
            default="task_executions", description="columns id, task_id, status, started_at, duration_seconds"
        )
        timezone: str | None = Field(default=None, description="the user's IANA zone; the host's if absent")
        min_days: float = Field(default=14, ge=7, le=365, description="the default window applies until then")
        min_confidence: float = Field(default=0.9, ge=0.5, le=1, description="an hour is quiet from here on")
        cpu_share: float = Field(default=0.2, gt=0, le=1, description="of one core, at most")
        dry_run: bool = Field(default=False, description="learn nothing, tell what would be predicted")

        @field_validator("timezone")
        @classmethod
        def _is_a_zone(cls, name: str | None) -> str | None:
            try:
                return name if name is None else ZoneInfo(name).key
            except (ZoneInfoNotFoundError, OSError, ValueError) as error:
                raise ValueError(f"{name!r} is no IANA time zone") from error

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Reads only what is new since the last run. Every page is saved as it is learned, so that a run may end
        anywhere; running it again learns nothing twice."""
        config = context.config
        path = context.data_dir / _STATE
        memory = Memory.load(path)
        zone = ZoneInfo(config.timezone or host_zone())
        learner = _Learner(context, memory, zone, None if config.dry_run else path)
        try:
            async with context.data() as data:
                rows = await learner.activity(data)
                runs = await learner.executions(data)
        except NothingThere as error:
            return TaskResult.skip(f"{error}; see activity_table and executions_table")
        seconds = {task: round(cost.expected, 3) for task, cost in memory.costs.items()}
        found = memory.profile.quiet_hours(config.min_days, config.min_confidence, zone, seconds)
        if not config.dry_run:
            _keep(context.data_dir / QUIET_FILE, found)
            context.tell_quiet_hours(found)
        quiet = [] if found is None else [h for h, c in enumerate(found.confidence) if c >= found.threshold]
        brier = {name: round(error, 4) for name, error in memory.profile.brier().items()}
        await context.progress(1.0, f"{len(quiet)} quiet hours a week")
        return TaskResult.ok(
            f"{found.origin} predicts {len(quiet)} quiet hours a week" if found else "the default window applies",
            model=found.origin if found else "default",
            held_out_brier=brier,
            days=round(memory.profile.days, 1),
            quiet_hours=quiet,
            activity_rows=rows,
            executions=runs,
            dry_run=config.dry_run,
        )


def _keep(path: Path, found: QuietHours | None) -> None:
    """For the scheduler's next start."""
    if found is None:
        path.unlink(missing_ok=True)
    else:
        _write(path, found.plain())


def _write(path: Path, plain: dict[str, Any]) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(plain))
    os.replace(temporary, path)  # noqa: PTH105


async def _known(data: DataSource, table: Table, after: int) -> int:
    """`after`, or 0 where the table has neither that row nor a newer one: it was emptied or made anew, and its rows are
    numbered from the beginning. Hours that were learned are not learned again."""
    return after if after == 0 or await data.page(table, after - 1, 1) else 0


class _Learner:
    """One run's work on a `Memory`; saved to `path` after each page unless that is None."""

    def __init__(
        self, context: TaskContext[BackgroundLearning.Config], memory: Memory, zone: ZoneInfo, path: Path | None
    ) -> None:
        self._context, self._memory, self._zone, self._path = context, memory, zone, path
        self._page_began = perf_counter()

    async def activity(self, data: DataSource) -> int:
        """Learn every hour that is over; how many rows were read."""
        table = Table(self._context.config.activity_table, {"timestamp": "TEXT", "topic": "TEXT"})
        memory, read = self._memory, 0
        memory.activity_after = await _known(data, table, memory.activity_after)
        while page := await data.page(table, memory.activity_after, PAGE):
            self._page_began = perf_counter()
            for row in page:
                if str(row["topic"]).startswith(self._context.config.activity_topics):
                    self._saw(row["timestamp"])
            memory.activity_after = page[-1]["id"]
            read += len(page)
            await self._pause(f"{read} rows of activity")
        await self._close_hours()
        await self._pause("hours learned")
        return read

    def _saw(self, timestamp: str) -> None:
        try:
            at_us = round(datetime.fromisoformat(timestamp).timestamp() * 1_000_000)
        except (ValueError, TypeError):
            return
        hour = hour_start(at_us, self._zone)
        # What comes late, about an hour that was learned already, would need that hour to be forgotten.
        if hour >= self._memory.profile.until_us:
            self._memory.open_hours.add(hour)

    async def _close_hours(self) -> None:
        """Learn the hours that have passed since the last run; the first is the first with activity in it. What lies
        further back than is remembered is passed over, for the service may have been off, or the clock set."""
        memory = self._memory
        now = int(self._context.now().timestamp() * 1_000_000)
        first = memory.profile.until_us or min(memory.open_hours, default=now)
        oldest = now - _REMEMBERED_HOURS * HOUR_US
        if first < oldest:
            first = hour_start(oldest, self._zone)
        async for hours in self._context.batches(range(first, now - HOUR_US + 1, HOUR_US), size=50):
            for hour in hours:
                memory.profile.learn(hour, hour in memory.open_hours, self._zone)
        memory.open_hours = {hour for hour in memory.open_hours if hour >= memory.profile.until_us}

    async def executions(self, data: DataSource) -> int:
        """Learn what tasks cost from the runs that have ended since the last time; how many they were."""
        columns = {"task_id": "TEXT", "status": "TEXT", "started_at": "TEXT", "duration_seconds": "REAL"}
        table = Table(self._context.config.executions_table, columns)
        memory, learned, after = self._memory, 0, self._memory.executions_after
        waits_for: int | None = None
        while page := await data.page(table, after, PAGE):
            self._page_began = perf_counter()
            for row in page:
                if row["status"] in ("queued", "running", "retrying") and not self._settled(row["started_at"]):
                    waits_for = row["id"] if waits_for is None else waits_for
                elif row["id"] not in memory.counted:
                    learned += self._cost(row)
                    memory.counted.add(row["id"])
            after = page[-1]["id"]
            memory.executions_after = after if waits_for is None else waits_for - 1
            memory.counted = {id_ for id_ in memory.counted if id_ > memory.executions_after}
            await self._pause(f"{learned} executions")
        return learned

    def _settled(self, started_at: str | None) -> bool:
        if started_at is None:
            return False
        try:
            began = datetime.fromisoformat(started_at).timestamp()
        except (ValueError, TypeError):
            return True
        return (self._context.now().timestamp() - began) * 1_000_000 > _SETTLED_US

    def _cost(self, row: dict[str, Any]) -> bool:
        if not isinstance(row["duration_seconds"], int | float) or row["status"] != "succeeded":
            return False
        self._memory.costs.setdefault(row["task_id"], CostProfile()).learn(float(row["duration_seconds"]))
        return True

    async def _pause(self, message: str) -> None:
        """Save, report, and rest long enough that the page cost no more than its share of the processor."""
        if self._path is not None:
            self._memory.save(self._path)
        await self._context.progress(None, message)
        worked = perf_counter() - self._page_began
        await self._context.sleep(worked * (1.0 / self._context.config.cpu_share - 1.0))
