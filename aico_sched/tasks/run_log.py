"""What a run logs through its context, as plain, bounded lines without secrets."""

import sys
import traceback
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

import structlog
from pydantic_core import to_jsonable_python
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from aico_sched.json_text import compact_plain
from aico_sched.redaction import redacted
from aico_sched.run_lines import Line
from aico_sched.schedule import format_rfc3339
from aico_sched.topics import limits

_IDENTITY: Final = ("task_id", "execution_id", "attempt")
_MOST_DIGITS: Final = 2**53


def run_logger(keep: Callable[[Line], bool] | None, now_us: Callable[[], int], **identity: Any) -> FilteringBoundLogger:
    """A logger that carries `identity` and hands each line to `keep`, then to the process's own log unless `keep`
    says that it is written elsewhere."""
    ordinary = structlog.get_logger()
    if keep is None:
        bound: FilteringBoundLogger = ordinary.bind(**identity)
        return bound

    def handle(_: WrappedLogger, level: str, entry: EventDict) -> EventDict:
        line = line_of(level, entry, now_us())
        if not keep(line):
            getattr(ordinary, level)(**_without_secrets(entry, line))
        raise structlog.DropEvent

    logger: FilteringBoundLogger = structlog.wrap_logger(
        None, processors=[handle], wrapper_class=structlog.make_filtering_bound_logger(0), **identity
    )
    return logger


def _without_secrets(entry: EventDict, line: Line) -> dict[str, Any]:
    """What the process's own log is given: the fields as the task gave them, secrets hidden."""
    try:
        given: dict[str, Any] = redacted(entry)
    except Exception:
        # Values that contain themselves, or break when they are looked at: as far as they could be made text.
        return {
            "event": line["message"],
            **line["fields"],
            **{name: entry[name] for name in _IDENTITY if name in entry},
        }
    return given


def line_of(level: str, entry: Mapping[str, Any], now_us: int) -> Line:
    """An entry of structlog's as a line to keep. It raises nothing: what a task logs must not make it fail."""
    fields: dict[str, Any] = {}
    room = limits.MAX_LOG_FIELD_CHARS
    left_out = 0
    for name, value in entry.items():
        if name in ("event", *_IDENTITY):
            continue
        key, shown = _text(name, limits.MAX_NAME_CHARS), _shown(str(name), value)
        room -= len(key) + (len(shown) if isinstance(shown, str) else 8)
        if room < 0 or len(fields) == limits.MAX_LOG_FIELDS:
            left_out += 1
        else:
            fields[key] = shown
    if left_out:
        fields["…"] = f"{left_out} more"
    message = _text(entry.get("event", ""), limits.MAX_LOG_CHARS)
    return {"at": format_rfc3339(now_us), "level": level, "message": message, "fields": fields}


def _shown(name: str, value: Any) -> Any:
    if name == "exc_info":
        error = _error_of(value)
        text = "" if error is None else "".join(traceback.format_exception(error))
        return "…" + text[-limits.MAX_LOG_CHARS + 1 :] if len(text) > limits.MAX_LOG_CHARS else text
    try:
        value = redacted({name: to_jsonable_python(value, fallback=repr)})[name]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and abs(value) <= _MOST_DIGITS:
            return value
        if isinstance(value, float) and isfinite(value):
            return value
        return _text(compact_plain(value) if isinstance(value, dict | list) else value, limits.MAX_LOG_CHARS)
    except Exception as error:
        # Its `repr` is the task's own code.
        return f"({type(error).__name__} while it was written)"


def _error_of(value: Any) -> BaseException | None:
    if isinstance(value, BaseException):
        return value
    if isinstance(value, tuple):
        return value[1] if len(value) > 1 and isinstance(value[1], BaseException) else None
    return sys.exc_info()[1] if value else None


def _text(value: Any, most: int) -> str:
    try:
        text = str(value)
    except Exception as error:
        # The task's own code, too.
        text = f"({type(error).__name__} while it was written)"
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= most else text[: most - 1] + "…"
