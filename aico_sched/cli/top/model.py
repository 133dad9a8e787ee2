"""What `top` shows, made of the service's answers. Pure: rows of text from one look at the service to the next."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from aico_sched.cli.output import clean, distance, local_time, seconds, short

HISTORY = 120
"""Looks at the service that the curve of its throughput remembers."""

_BAR = 10


class Snapshot(NamedTuple):
    """One look at the service, `at` a moment: its answers to `stats`, `health` and four lists."""

    at: datetime
    stats: Mapping[str, Any]
    health: Mapping[str, Any]
    running: Sequence[Mapping[str, Any]]
    upcoming: Sequence[Mapping[str, Any]]
    newest: Sequence[Mapping[str, Any]]
    dead: Sequence[Mapping[str, Any]]


class Row(NamedTuple):
    """A line of a table. `key` is the task's or execution's id; `task_id` is what keys about tasks act on."""

    key: str
    task_id: str
    state: str
    cells: tuple[str, ...]


RUNNING = ("EXECUTION", "TASK", "FOR", "PROGRESS", "SAYS")
UPCOMING = ("NEXT", "LEFT", "TASK", "STATE", "SCHEDULE")
NEWEST = ("STARTED", "TASK", "STATE", "TOOK", "DETAIL")
DEAD = ("DIED", "TASK", "TRIES", "REASON")


class Model:
    """Remembers what one look cannot tell: how many executions have ended between two."""

    def __init__(self) -> None:
        self.throughput: deque[float] = deque(maxlen=HISTORY)
        self._ended: int | None = None
        self._at: datetime | None = None
        self.snapshot: Snapshot | None = None

    def look(self, snapshot: Snapshot) -> None:
        """Take in a new look."""
        ended = int(snapshot.stats["executions"].get("ended", 0))
        if self._ended is not None and self._at is not None and ended >= self._ended:
            passed = (snapshot.at - self._at).total_seconds()
            if passed > 0:
                self.throughput.append((ended - self._ended) / passed)
        # A smaller number comes of a service that was started anew.
        self._ended, self._at = ended, snapshot.at
        self.snapshot = snapshot

    def headline(self) -> str:
        """The service's state in one or two lines."""
        if self.snapshot is None:
            return "waiting for the service …"
        health, stats = self.snapshot.health, self.snapshot.stats
        actors, host = stats["actors"], stats["host"]
        executor = actors.get("executor", {})
        parts = [
            health["status"],
            f"up {seconds(stats['uptime_seconds'])}",
            f"running {executor.get('running', 0)}/{executor.get('limit', 0)}",
            f"waiting {executor.get('waiting', 0) + actors.get('scheduler', {}).get('ready', 0)}",
            f"put off {actors.get('scheduler', {}).get('held', 0)}",
            f"tasks {actors.get('store', {}).get('tasks', 0)}",
            f"dead {actors.get('store', {}).get('dead_letters', 0)}",
            f"CPU {host.get('cpu_percent', 0):.0f} %",
            f"memory {host.get('memory_percent', 0):.0f} %",
            f"lag {host.get('loop_lag', 0) * 1_000:.1f} ms",
            f"{self.throughput[-1] if self.throughput else 0:.1f} runs/s",
        ]
        return "\n".join(["   ".join(parts), *(f"  {clean(reason)}" for reason in health["reasons"][:3])])

    def running(self) -> list[Row]:
        """Executions under way, with how far they are."""
        return self._rows(lambda look: look.running, _running)

    def upcoming(self) -> list[Row]:
        """Tasks by their next run."""
        return self._rows(lambda look: look.upcoming, _upcoming)

    def newest(self) -> list[Row]:
        """What happened last."""
        return self._rows(lambda look: look.newest, _newest)

    def dead(self) -> list[Row]:
        """What failed for good."""
        return self._rows(lambda look: look.dead, _dead)

    def _rows(
        self, of: Callable[[Snapshot], Sequence[Mapping[str, Any]]], row: Callable[[Mapping[str, Any], datetime], Row]
    ) -> list[Row]:
        look = self.snapshot
        return [] if look is None else [row(entry, look.at) for entry in of(look)]


def _running(run: Mapping[str, Any], now: datetime) -> Row:
    progress = run["progress"] or {}
    cells = (
        run["execution_id"],
        run["task_id"],
        distance(run["started_at"], now) or "",
        bar(progress.get("fraction")),
        short(progress.get("message")) or "",
    )
    return Row(run["execution_id"], run["task_id"], run["status"], cells)


def _upcoming(task: Mapping[str, Any], now: datetime) -> Row:
    cells = (
        local_time(task["next_run"]) or "–",
        distance(now, task["next_run"]) or "–",
        task["task_id"],
        task["state"],
        task["schedule"],
    )
    return Row(task["task_id"], task["task_id"], task["state"], cells)


def _newest(run: Mapping[str, Any], _: datetime) -> Row:
    cells = (
        local_time(run["started_at"] or run["scheduled_for"]) or "–",
        run["task_id"],
        run["status"],
        seconds(run["duration_seconds"]) or "–",
        short(run["error_message"] or run["reason"]) or "",
    )
    return Row(run["execution_id"], run["task_id"], run["status"], cells)


def _dead(letter: Mapping[str, Any], _: datetime) -> Row:
    cells = (
        local_time(letter["died_at"]) or "–",
        letter["task_id"],
        str(len(letter["attempts"])),
        short(letter["reason"], 100) or "",
    )
    return Row(letter["execution_id"], letter["task_id"], "dead", cells)


def bar(fraction: float | None) -> str:
    """A share of the whole as a bar with its percentage; nothing where none is known."""
    if fraction is None:
        return ""
    whole = min(1.0, max(0.0, fraction))
    filled = round(whole * _BAR)
    return f"{'█' * filled}{'░' * (_BAR - filled)} {whole:4.0%}"
