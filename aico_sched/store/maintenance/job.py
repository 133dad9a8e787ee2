"""One run of maintenance: what is asked for, how far it is, what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["vacuum", "check", "backup", "rekey"]

REOPEN_AFTER: frozenset[str] = frozenset({"vacuum", "check", "rekey"})
"""Kinds that need the file for themselves until their end; a backup only while it is copied."""


DEFAULT_THRESHOLD = 0.25
"""The free share from which a vacuum rewrites the file, where nobody says another."""


def in_small_steps(options: Mapping[str, Any], free: float) -> bool:
    """Whether a vacuum with these options only cuts off what is free, `free` being that share of the file."""
    mode = options.get("mode", "auto")
    return bool(mode == "incremental" or (mode == "auto" and free < options.get("threshold", DEFAULT_THRESHOLD)))


@dataclass(slots=True)
class Outcome:
    """`code` is "ok", or the error code for whoever asked; `message` says what happened, `result` holds figures."""

    code: str
    message: str
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Job:
    """Shared by the store actor, which starts it, and its child task, which carries it out; it outlives the actor.

    `asked` is the message to answer. While `exclusive` holds, the connection is closed and messages wait.
    """

    kind: Kind
    options: dict[str, Any]
    asked: Any
    started_us: int
    exclusive: bool = True
    phase: str = "starting"
    fraction: float | None = None
    outcome: Outcome | None = None
    cancelled: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """The database a worker works on: its file and its key. `lock` is the descriptor that keeps other services out;
    the worker inherits it, so that they stay out for as long as it lives."""

    path: Path
    key: str
    lock: int | None

    def __repr__(self) -> str:
        return f"Target({self.path})"
