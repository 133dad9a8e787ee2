"""The child's part: a task's ports, each a message to the service, which checks what the task may do."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from aico_sched.clock import SystemClock
from aico_sched.execution.child.data import open_source
from aico_sched.execution.child.pipe import Pipe
from aico_sched.execution.child.powers import ChildPowers
from aico_sched.execution.child.wire import Progress
from aico_sched.run_lines import Line
from aico_sched.tasks.ports import TaskPorts

HOLD_INTERVAL = 0.1
"""Seconds between two questions whether the run is to pause. A checkpoint in between costs nothing."""


def make_ports(pipe: Pipe, capabilities: Sequence[str], log_line: Callable[[Line], bool] | None = None) -> TaskPorts:
    """Ports over the pipe. Time is the machine's own."""
    next_hold = 0.0

    def report_progress(progress: dict[str, Any]) -> None:
        pipe.send(Progress(**progress))

    async def publish(topic: str, payload: dict[str, Any], attributes: dict[str, str]) -> None:
        await pipe.call("publish", topic, payload)

    async def request(topic: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        answer: dict[str, Any] = await pipe.call("request", topic, payload, timeout)
        return answer

    async def hold() -> None:
        nonlocal next_hold
        now = time.monotonic()
        if now >= next_hold:
            await pipe.call("hold")
            next_hold = time.monotonic() + HOLD_INTERVAL

    powers = ChildPowers(pipe, capabilities)
    sees_data = powers.capabilities & {"database.system", "memory"}
    open_data = (lambda: open_source(pipe)) if sees_data else None
    return TaskPorts(
        SystemClock(), report_progress, publish, request, hold, open_data=open_data, powers=powers, log_line=log_line
    )
