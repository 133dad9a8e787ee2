"""The bus's keys in the hands of one attempt: each rotation is a line of the audit trail."""

from aico_sched.clock import Clock
from aico_sched.execution.powers import Post
from aico_sched.tasks.session_keys import SessionKey, SessionKeys
from aico_sched.topics import names
from aico_sched.topics.internal import AttemptStart, Audit, AuditLines


class AuditedKeys:
    """`SessionKeys` for one run."""

    def __init__(self, keys: SessionKeys, start: AttemptStart, post: Post, clock: Clock) -> None:
        self._keys, self._start, self._post, self._clock = keys, start, post, clock

    async def current(self) -> list[SessionKey]:
        """See `SessionKeys`."""
        return await self._keys.current()

    async def rotate(self, name: str, overlap: float | None) -> bool:
        """See `SessionKeys`."""
        done = await self._keys.rotate(name, overlap)
        if done:
            start = self._start
            line = Audit(self._clock.now_us(), start.task_id, "service", "keys.rotate", name, "ok", start.execution_id)
            self._post(names.AUDIT, AuditLines([line], may_wait=False))
        return done
