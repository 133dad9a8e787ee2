"""Who is to blame for a blocked event loop. Pure, but for reading how long a thread waited for a processor."""

import asyncio.events
import traceback
from pathlib import Path
from types import FrameType
from typing import Literal, NamedTuple

DEPTH = 12
"""Frames of a stack that are kept, the innermost ones."""

_CALL = asyncio.events.Handle._run.__code__
_SEPARATE = 0.5
_WELL_BEFORE = 0.25

Cause = Literal["task", "program", "overload", "service", "machine"]
"""`task`: a step of a task. `program`: code of the program that the service lives in. `overload`: no single piece of
code, but too much of it. `service`: our own, the database included. `machine`: the process got no processor, or the
interpreter was held by no code of the loop's. The last two are nobody's fault and only counted."""


class Stall(NamedTuple):
    """A time during which the loop could do nothing else. Seconds; `stack` is where it stood, as text, where it was
    seen. Of a task's stall, `movable` says that nobody has said where the task must run."""

    cause: Cause
    seconds: float
    cpu_seconds: float
    where: str
    stack: str
    task_id: str | None = None
    execution_id: str | None = None
    movable: bool = False


class Sighting(NamedTuple):
    """What another thread saw of the loop's thread in the middle of something long: `key` is the same while it is the
    same step or callback; `waited` is how long the thread had waited for a processor until then, `at` when."""

    key: object
    at: float
    waited: float
    where: str
    stack: str


def is_at_fault(
    began: float, seconds: float, cpu_seconds: float, threshold: float, seen: Sighting | None, waited: float
) -> bool:
    """Whether a step that took `seconds` kept the loop from working, by its own doing.

    It did if it worked for as long as `threshold`, or if it was seen standing still well before its end, while another
    thread of the process could run, and did not merely wait for a processor. What was not seen and did not work is
    more likely a victim: of whoever held the interpreter, or of a machine with better things to do.
    """
    if cpu_seconds >= threshold:
        return True
    if seen is None or began + seconds - seen.at < threshold * _WELL_BEFORE:
        # Whoever lets go of the interpreter is overtaken by the threads that waited for it.
        return False
    return seconds - (waited - seen.waited) >= max(threshold, seconds * _SEPARATE)


def waited_for_processor(native_id: int) -> float:
    """Seconds that a thread of this process was ready to run and had no processor; 0 where the system does not tell.

    The second figure of `schedstat`: Documentation/scheduler/sched-stats.rst of the Linux kernel.
    """
    try:
        return int(Path(f"/proc/self/task/{native_id}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def callback_of(frame: FrameType | None) -> FrameType | None:
    """The loop's frame that runs one callback, whoever that calls: while it is the same object it is the same callback.
    None for a loop that is not asyncio's own, or is between two."""
    while frame is not None and frame.f_code is not _CALL:
        frame = frame.f_back
    return frame


def stack_text(frame: FrameType | None) -> str:
    """The innermost frames as text, in a traceback's order."""
    return "".join(traceback.format_stack(frame)[-DEPTH:]) if frame is not None else ""


def innermost(frame: FrameType | None) -> str:
    """Where a stack ends, as `function (file:line)`."""
    if frame is None:
        return ""
    return f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"


def dumped_stack(text: str, thread: int) -> str:
    """Of a dump by `faulthandler`, the part of the thread with this ident, in a traceback's order."""
    frames: list[str] = []
    inside = False
    for line in text.splitlines():
        if not line.startswith("  "):
            inside = f"0x{thread:016x}" in line
        elif inside and len(frames) < DEPTH:
            frames.append(line)
    return "\n".join(reversed(frames))
