"""The lines of runs under way: each is shown once, whether it stood in an answer or came as an event."""

from typing import TYPE_CHECKING, Any

from aico_sched.topics import names

if TYPE_CHECKING:
    from aico_sched.client.events import Event

_OVER = frozenset(
    {
        names.EXECUTION_SUCCEEDED,
        names.EXECUTION_FAILED,
        names.EXECUTION_TIMED_OUT,
        names.EXECUTION_CANCELLED,
        names.EXECUTION_INTERRUPTED,
    }
)


class FollowedLines:
    """How many lines of each running attempt are known."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], int] = {}

    def known(self, execution_id: str, attempt: int, logs: dict[str, Any]) -> None:
        """These were shown; as `topics.views.AttemptLogs`."""
        self._known[execution_id, attempt] = logs["dropped"] + len(logs["lines"])

    def fresh(self, event: "Event") -> "Event | None":
        """The event, if it brings lines without those that are known; None if it brings nothing else."""
        payload = event.payload
        key = payload.get("execution_id", ""), payload.get("attempt", 0)
        if event.topic in _OVER:
            self._known.pop(key, None)
        if event.topic != names.EXECUTION_LOGGED:
            return event
        new = payload["total"] - self._known.get(key, 0)
        if new <= 0:
            return None
        self._known[key] = payload["total"]
        return event._replace(payload={**payload, "lines": payload["lines"][-new:]})
