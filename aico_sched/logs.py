"""Logging: structlog, JSON or for people, always on standard error."""

import logging
import sys
import traceback
from typing import Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

from aico_sched.tracing import log_fields


def configure_logging(level: str, form: Literal["auto", "console", "json"]) -> None:
    """Set up structlog for a process of ours; a program that embeds the service keeps its own set-up."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            traced,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if console else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def traced(_: WrappedLogger, level: str, entry: EventDict) -> EventDict:
    """A processor of structlog's: the trace that a line belongs to. A program with a set-up of its own may add it."""
    for name, value in log_fields().items():
        entry.setdefault(name, value)
    return entry


def described(error: BaseException) -> dict[str, str]:
    """An error as fields of a log entry. Not `exc_info`: unless told otherwise, structlog renders that with every
    local variable, keys among them."""
    return {"error": repr(error), "traceback": "".join(traceback.format_exception(error))}
