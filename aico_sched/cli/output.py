"""What a command prints: JSON for programs, tables and lines for people, errors on standard error."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aico_sched.cli.errors import Failure

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "active": "green",
    "succeeded": "green",
    "healthy": "green",
    "ok": "green",
    "running": "cyan",
    "queued": "cyan",
    "started": "cyan",
    "paused": "yellow",
    "retrying": "yellow",
    "degraded": "yellow",
    "warning": "yellow",
    "error": "red",
    "interrupted": "yellow",
    "missed": "yellow",
    "timed_out": "red",
    "failed": "red",
    "dead": "red",
    "unavailable": "red",
    "critical": "red",
    "disabled": "dim",
    "finished": "dim",
    "skipped": "dim",
    "cancelled": "dim",
}
_UNITS = (("y", 31_557_600), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))

# Wide enough never to fold a line that another program will read.
_PIPE_WIDTH = 10_000


class Output:
    """Where a command's results go. With `as_json` only JSON reaches standard output."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._console: Console | None = None

    @property
    def console(self) -> "Console":
        """Rich's console, in colour on a terminal only; made when something is first printed for a person."""
        if self._console is None:
            from aico_sched.cli.console import PatientConsole

            width = None if sys.stdout.isatty() else _PIPE_WIDTH
            self._console = PatientConsole(width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)
        return self._console

    def json(self, value: Any) -> None:
        """One JSON document."""
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def json_line(self, value: Any) -> None:
        """One JSON document on one line, at once: for commands that go on."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def line(self, text: str, style: str | None = None) -> None:
        """One line for a person."""
        self.console.print(clean(text), style=style, soft_wrap=True)

    def note(self, text: str) -> None:
        """Something beside the result, on standard error."""
        print(clean(text), file=sys.stderr)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
        """A table, or the sentence `empty` when it has no rows. Known states are coloured."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            cells = [clean("–" if cell is None else str(cell)) for cell in row]
            table.add_row(*(Text(cell, style=STYLES.get(cell.partition(" ")[0], "")) for cell in cells))
        if table.row_count:
            self.console.print(table)
        else:
            self.line(empty)

    def fields(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Names and values, one pair a line, without those that have no value."""
        shown = [(name, str(value)) for name, value in pairs if value not in (None, "", [], {})]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.line(f"{name:<{width}}  {value}")

    def failure(self, failure: Failure, program: str) -> None:
        """An error: an object on standard output with `as_json`, else a sentence and a way out on standard error."""
        if self.as_json:
            self.json(failure.as_json())
            return
        from rich.console import Console
        from rich.text import Text

        console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPE_WIDTH)
        console.print(Text.assemble(("error: ", "bold red"), clean(failure.message)), soft_wrap=True)
        if failure.hint:
            console.print(Text(clean(failure.hint.format(program=program)), style="dim"), soft_wrap=True)


def clean(text: str) -> str:
    """`text` without control characters, which could make a terminal do things; a task chooses its own messages."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def local_time(text: str | None, precision: str = "seconds") -> str | None:
    """An RFC 3339 time in the user's own zone, without its offset; other text as it is."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        return text
    return moment.replace(tzinfo=None).isoformat(" ", precision)


def distance(start: str | datetime | None, end: str | datetime | None) -> str | None:
    """From one time to another in its two largest units, `3 h 12 min`; nothing where either is missing, `now` where
    the end is not after the start."""
    if start is None or end is None:
        return None
    begins, ends = (datetime.fromisoformat(time) if isinstance(time, str) else time for time in (start, end))
    left = int((ends - begins).total_seconds())
    if left <= 0:
        return "now"
    parts: list[str] = []
    for name, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts)) or "now"


def seconds(value: float | None) -> str | None:
    """A duration in the unit that suits it."""
    if value is None:
        return None
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def short(value: Any, limit: int = 60) -> str | None:
    """`value` as one line of at most `limit` characters; data as compact JSON."""
    if value in (None, "", {}, []):
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def told_by(result: Any) -> Any:
    """What a task's result says to a person: its message, else its data."""
    if isinstance(result, dict) and result.keys() <= {"message", "data", "skipped"}:
        return result.get("message") or result.get("data")
    return result


def pairs(values: Mapping[str, Any]) -> str:
    """A small mapping on one line, as `name value`, without what is empty."""
    shown = ((name, short(f"{value:.4g}" if isinstance(value, float) else value)) for name, value in values.items())
    return "  ".join(f"{name} {value}" for name, value in shown if value is not None)
