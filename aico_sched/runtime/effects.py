"""What a turn does to the world: gathered while it runs, carried out when it has ended, forgotten when it failed."""

from collections.abc import Callable, Coroutine
from typing import Any

from aico_sched.runtime.actor import Child
from aico_sched.runtime.children import Children
from aico_sched.runtime.outgoing import Outgoing
from aico_sched.runtime.router import Router
from aico_sched.topics.internal import RepliesReady, ReplyReady
from aico_sched.topics.names import REPLIES_READY

Fault = Callable[[str, str, str], None]
"""Test hook: called as (actor, "before" or "after", topic) around every send; may raise."""


class TurnEffects:
    """The `Effects` of one actor; they outlive its instances."""

    def __init__(self, actor: str, router: Router, wake: Callable[[], None], fault: Fault | None) -> None:
        self._actor, self._router, self._fault = actor, router, fault
        self.wake = wake
        self.outgoing = Outgoing(actor, router, wake)
        self._post_all = self.outgoing.post_all
        self.tasks = Children(actor, wake)
        self._buffer: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._replies: list[ReplyReady] = []

    def send(self, topic: str, message: tuple[Any, ...]) -> None:
        """Publish once the turn has ended. Raises `UndeclaredTopic`."""
        if self._fault is not None:
            self._fault(self._actor, "before", topic)
        last = self._buffer[-1] if self._buffer else None
        if last is not None and last[0] == self._post_all and last[1][0] == topic:
            # What is sent one after the other travels together.
            last[1][1].append(message)
        else:
            self._router.destinations(topic)
            self._buffer.append((self._post_all, (topic, [message])))
        if self._fault is not None:
            self._fault(self._actor, "after", topic)

    def reply(self, answer: ReplyReady) -> None:
        """Answer a command; the answers of a turn travel as one message."""
        if self._fault is not None:
            self._fault(self._actor, "before", REPLIES_READY)
        self._replies.append(answer)
        if self._fault is not None:
            self._fault(self._actor, "after", REPLIES_READY)

    def spawn(self, key: str, info: Any, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start `work()` as a child task once the turn has ended; `info` is kept until `release(key)`."""
        self.tasks.put(key, info)
        self._buffer.append((self.tasks.start, (key, work)))

    def remember(self, key: str, info: Any) -> None:
        """Keep `info` of a child that is still to be spawned."""
        self.tasks.put(key, info)

    def release(self, key: str) -> None:
        """Forget the child `key`, whose end the actor has dealt with."""
        self.tasks.forget(key)

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function` once the turn has ended; it must not raise."""
        self._buffer.append((function, arguments))

    def post(self, topic: str, message: tuple[Any, ...]) -> None:
        """Publish right away; for child tasks, whose work is no part of a turn."""
        self.outgoing.post(topic, message)

    @property
    def children(self) -> dict[str, Child]:
        """Every child whose end has not been dealt with, by key."""
        return self.tasks.known

    @property
    def congested(self) -> bool:
        """Whether sends wait for room in a mailbox."""
        return bool(self.outgoing)

    def commit(self) -> None:
        """The turn has ended: carry out its effects. One that raises keeps none of the others from happening."""
        effects, self._buffer = self._buffer, []
        if self._replies:
            effects.append((self.post, (REPLIES_READY, RepliesReady(self._replies))))
            self._replies = []
        self.tasks.keep()
        failure: Exception | None = None
        for effect, arguments in effects:
            try:
                effect(*arguments)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def undo(self) -> None:
        """The turn has failed: nothing of it happens."""
        self._buffer, self._replies = [], []
        self.tasks.undo()
