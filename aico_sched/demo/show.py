"""What the demo shows: events as they come, and the summary. Coloured on a terminal, plain text elsewhere."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.box import ASCII, ROUNDED
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aico_sched.demo.plan import Planned
from aico_sched.demo.verdict import Report, Witness, lateness, percentile, runs_of
from aico_sched.topics import names

PLAIN_WIDTH = 130
STYLES = {"created": "cyan", "started": "blue", "progress": "dim", "succeeded": "green", "paused": "cyan"}
BAD = "bold red"


class Screen:
    """Prints on standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, soft_wrap=True, width=PLAIN_WIDTH)

    def line(self, text: str, style: str = "") -> None:
        """One line of text, taken literally."""
        self._console.print(escape(text), style=style or None)

    def event(self, event: Mapping[str, Any]) -> None:
        """An event that has just arrived, at the service's time."""
        kind = event["topic"].removeprefix(names.EVENTS)
        style = STYLES.get(kind.rpartition(".")[2], BAD)
        time = f"{_moment(event['arrived_us']):%H:%M:%S.%f}"[:-3]
        about = escape(event.get("task_id") or "")
        self._console.print(f"{time}  [{style}]{escape(kind):<20}[/]  {about:<24}  {escape(_detail(event))}")

    def summary(self, tasks: Sequence[Planned], report: Report, witnesses: Sequence[Witness]) -> None:
        """The tables at the end; the first witness has heard when each run really began."""
        table = self._table("What ran, and the events seen of it")
        for heading in ("task", "schedule"):
            table.add_column(heading, no_wrap=True)
        for heading in ("runs", "start delay p50", "p99", "max", *(f"events: {each.name}" for each in witnesses)):
            table.add_column(heading, justify="right", no_wrap=True)
        for task in tasks:
            runs, times = str(len(runs_of(task.task_id, report))), _times(witnesses[0].late[task.task_id])
            seen = (str(each.by_task[task.task_id]) for each in witnesses)
            table.add_row(task.task_id, escape(task.schedule.rstrip(":")), runs, *times, *seen)
        self._console.print(table)
        trips = report.round_trips
        table = self._table("Requests over the bus, from the client process")
        for heading in ("sent", "answered", "round trip p50", "p99", "max"):
            table.add_column(heading, justify="right")
        table.add_row(str(len(trips) + len(report.unanswered)), str(len(trips)), *_times(trips))
        self._console.print(table)

    def _table(self, title: str) -> Table:
        box = ROUNDED if self._console.is_terminal else ASCII
        return Table(title=title, title_justify="left", box=box)


def _times(seconds: Sequence[float]) -> tuple[str, str, str]:
    """p50, p99 and the longest, for people."""
    if not seconds:
        return "-", "-", "-"
    p50, p99, longest = (percentile(seconds, share) for share in (0.5, 0.99, 1.0))
    return f"{p50 * 1_000:.2f} ms", f"{p99 * 1_000:.2f} ms", f"{longest * 1_000:.2f} ms"


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)


def _detail(event: Mapping[str, Any]) -> str:
    """What is worth knowing of an event besides its task."""
    if event.get("duration_seconds") is not None:
        late, took = lateness(event) * 1_000, event["duration_seconds"] * 1_000
        return f"started {late:.1f} ms after it was due, took {took:.1f} ms"
    if event["topic"] == names.EXECUTION_STARTED:
        due = datetime.fromisoformat(event["scheduled_for"])
        return f"due at {due:%H:%M:%S.%f}"[:-3]
    if event.get("progress"):
        return f"{event['progress']}"
    if event.get("next_run"):
        return f"first due at {datetime.fromisoformat(event['next_run']):%H:%M:%S.%f}"[:-3]
    return next((str(event[name]) for name in ("error_message", "reason", "note", "message") if event.get(name)), "")
