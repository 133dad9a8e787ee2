"""How a system task asks the store for work on the whole database."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from aico_sched.tasks.base import PermanentError, TransientError
from aico_sched.tasks.ports import Maintain
from aico_sched.topics import names
from aico_sched.topics.internal import AttemptStart, MaintenanceAsk


def maintainer(
    start: AttemptStart,
    replies: dict[str, "asyncio.Future[dict[str, Any]]"],
    post: Callable[[str, tuple[Any, ...]], None],
) -> Maintain:
    """The port of one attempt. It returns what the work found; raises TransientError for what may succeed later, and
    PermanentError for what will not."""

    async def maintain(kind: str, options: dict[str, Any]) -> dict[str, Any]:
        call_id = str(uuid.uuid4())
        replies[call_id] = asyncio.get_running_loop().create_future()
        try:
            post(names.MAINTENANCE_ASK, MaintenanceAsk(start.execution_id, call_id, start.task_id, kind, options))
            reply = await replies[call_id]
        finally:
            del replies[call_id]
        if reply["ok"]:
            result: dict[str, Any] = reply["result"]
            return result
        raise (TransientError if reply["error"]["retryable"] else PermanentError)(reply["error"]["message"])

    return maintain
