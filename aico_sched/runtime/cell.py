"""A cell runs one actor: its mailbox, its turns, its child tasks, its restarts.

The cell outlives the actor. Messages that were drained but not handled, effects that were not carried out and
child tasks belong to it, so a crash of the handlers loses none of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

import msgpack
import structlog
import zmq

from aico_sched.clock import Clock, Timer
from aico_sched.logs import described
from aico_sched.runtime.actor import Actor, Child, internal_error
from aico_sched.runtime.readiness import Readiness, drain
from aico_sched.runtime.router import Router, unpack
from aico_sched.topics.internal import AskReport, Empty, RepliesReady, ReplyReady, Report, Request
from aico_sched.topics.names import REPLIES_READY, REPORT, REPORT_ASK, STOP

log = structlog.get_logger(__name__)

OVERFLOW_LIMIT = 100_000
"""Messages one actor may have waiting for full mailboxes; credits keep it far below."""

SINGLE_STEP_AFTER = 2
"""Crashes in a row at the same message after which messages are handled one by one."""

DROP_AFTER = 3
"""Times in a row the same error must come of the same single message until it is dropped and its sender told. Other
errors are no proof against it: they may come of the database or of a neighbour."""

DROP_AFTER_ALL = 20
"""Crashes in a row at the same single message after which it is dropped whatever the errors were."""

Fault = Callable[[str, str, str], None]
"""Test hook: called as (actor, "before" or "after", topic) around every send; may raise."""


class TryAgain(Exception):
    """Raised by a turn that cannot go through now: it is undone and tried again after `delay` seconds, by the same
    instance and without counting as a crash."""

    def __init__(self, delay: float, cause: Exception) -> None:
        super().__init__(f"trying again in {delay:g} s: {cause}")
        self.delay = delay


class Overflow(RuntimeError):
    """An actor's sends outran every credit: a mistake in the flow control, never a busy moment."""

    def __init__(self, actor: str) -> None:
        super().__init__(f"{actor} has over {OVERFLOW_LIMIT} messages waiting for full mailboxes")
        self.actor = actor


class Cell:
    """Runs the actor that `make` makes. `on_crash` is told of each crash, decides (by raising) whether to give up,
    and waits the back-off."""

    def __init__(
        self,
        kind: type[Actor],
        make: Callable[[], Actor],
        router: Router,
        clock: Clock,
        on_crash: Callable[["Cell", BaseException], Coroutine[Any, Any, None]],
        *,
        batch_size: int,
        turn_budget: float,
        fault: Fault | None = None,
    ) -> None:
        self.kind, self.name = kind, kind.name
        self._make, self._router, self._clock = make, router, clock
        self._on_crash, self._fault = on_crash, fault
        self._batch_size, self._turn_budget = batch_size, turn_budget
        self._mailbox = router.open_mailbox(self.name, (*kind.handlers, REPORT_ASK))
        self._pending: deque[tuple[str, bytes]] = deque()
        self._buffer: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._replies: list[ReplyReady] = []
        self._effects: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._overflow: dict[str, deque[list[bytes]]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.children: dict[str, Child] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._crashes_here = self._same_error = 0
        self._last_error = ""
        self.ready = asyncio.Event()
        self.figures = {
            "messages": 0,
            "turns": 0,
            "restarts": 0,
            "retried": 0,
            "dropped": 0,
            "turn_ms_max": 0.0,
            "busy_s": 0.0,
        }
        self._actor: Actor | None = None

    # What the actor sees of its cell (the `Effects` protocol).

    def send(self, topic: str, message: tuple[Any, ...]) -> None:
        if self._fault is not None:
            self._fault(self.name, "before", topic)
        self._router.destinations(topic)
        self._buffer.append((self.post, (topic, message)))
        if self._fault is not None:
            self._fault(self.name, "after", topic)

    def reply(self, answer: ReplyReady) -> None:
        """Answer a command; the answers of a turn travel as one message."""
        if self._fault is not None:
            self._fault(self.name, "before", REPLIES_READY)
        self._replies.append(answer)
        if self._fault is not None:
            self._fault(self.name, "after", REPLIES_READY)

    def spawn(self, key: str, info: Any, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start `work()` as a child task once the turn has ended; `info` is kept until `release(key)`."""
        self._buffer.append((self._spawn, (key, info, work)))

    def remember(self, key: str, info: Any) -> None:
        """Keep `info` of a child that is still to be spawned, once the turn has ended."""
        self._buffer.append((self._remember, (key, info)))

    def release(self, key: str) -> None:
        """Forget the child `key`, whose end the actor has dealt with."""
        self._buffer.append((self._release, (key,)))

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function` once the turn has ended; it must not raise."""
        self._buffer.append((function, arguments))

    def post(self, topic: str, message: tuple[Any, ...]) -> None:
        """Publish right away; for child tasks, whose work is no part of a turn."""
        for name, frames in self._router.post(topic, message):
            queue = self._overflow.setdefault(name, deque())
            if not queue:
                self._router.when_room(name, self._wake.set)
            queue.append(frames)
            if len(queue) > OVERFLOW_LIMIT:
                raise Overflow(self.name)

    def wake(self) -> None:
        """Let `take_input` run soon."""
        self._wake.set()

    @property
    def congested(self) -> bool:
        return bool(self._overflow)

    # The life of the cell.

    async def run(self) -> None:
        """Run until the stop message has been obeyed, or until `on_crash` gives up (its exception leaves here)."""
        watch = Readiness(self._mailbox, self._wake.set)
        try:
            while True:
                try:
                    return await self._live()
                except Exception as error:
                    self.ready.clear()
                    self.figures["restarts"] += 1
                    await self._on_crash(self, error)
        finally:
            watch.close()
            await self._end_children()
            self._router.close_mailbox(self.name)
            unsent = sum(len(queue) for queue in self._overflow.values())
            self._router.settle(len(self._pending) + unsent + self._empty_mailbox())
            self._mailbox.close()

    async def _live(self) -> None:
        """One instance's life, from start to stop or crash."""
        actor = self._make()
        actor.effects = self
        self._buffer, self._replies = [], []
        self._actor = actor
        try:
            await actor.on_start()
            if self._stopping:
                actor.begin_stop()
            self._commit_turn(0)
            self.ready.set()
            while await self._step(actor):
                pass
        except Exception:
            self._buffer, self._replies = [], []
            actor.abort_turn()
            await actor.on_stop()
            raise
        await actor.on_stop()
        self._commit_turn(0)

    async def _step(self, actor: Actor) -> bool:
        """One turn and, when nothing is left to do, the wait for more; false when the actor may end."""
        more = self._drain()
        try:
            more = self._turn(actor) or more
        except TryAgain as delay:
            self._buffer, self._replies = [], []
            actor.abort_turn()
            self.figures["retried"] += 1
            log.warning("turn_postponed", actor=self.name, reason=str(delay))
            await self._clock.sleep(delay.delay)
            return True
        self._flush_overflow()
        if more or self._pending:
            await asyncio.sleep(0)
        elif self._stopping and not self._overflow and actor.may_stop():
            return False
        else:
            await self._wait(actor)
        return True

    async def _wait(self, actor: Actor) -> None:
        """Until a message, room in a full mailbox, a child's end or the actor's own time."""
        when = actor.wake_at()
        timer: Timer | None = None
        if when is not None and not self._overflow:
            timer = self._clock.call_at(when, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()
            self._wake.clear()

    def _drain(self) -> bool:
        """Move what is in the mailbox into `_pending`; returns whether there may be more."""
        wanted = self._batch_size - len(self._pending)
        if wanted <= 0:
            return True
        frames = drain(self._mailbox, wanted)
        self._pending.extend((topic.decode(), body) for topic, body in frames)
        return len(frames) == wanted

    def _turn(self, actor: Actor) -> bool:
        """Handle a batch; returns whether the actor has more input right away."""
        started = perf_counter()
        deadline = started + self._turn_budget
        limit = 1 if self._crashes_here >= SINGLE_STEP_AFTER else len(self._pending)
        done, more = 0, False
        try:
            actor.begin_turn()
            for topic, body in list(self._pending)[:limit]:
                self._handle(actor, topic, body)
                done += 1
                if perf_counter() > deadline:
                    break
            if not self._overflow:
                more = actor.take_input()
            actor.end_turn()
        except TryAgain:
            raise
        except Exception as error:
            self._crashes_here += 1
            if limit == 1 and self._pending and self._is_poison(error):
                self._drop_head(error)
            raise
        if done:
            self._crashes_here = self._same_error = 0
        self._commit_turn(done)
        spent = perf_counter() - started
        self.figures["turns"] += 1
        self.figures["messages"] += done
        self.figures["busy_s"] += spent
        self.figures["turn_ms_max"] = max(self.figures["turn_ms_max"], spent * 1_000)
        return more

    def _handle(self, actor: Actor, topic: str, body: bytes) -> None:
        if topic == STOP:
            self._stopping = True
            actor.begin_stop()
        elif topic == REPORT_ASK:
            figures = {**self.figures, "children": len(self.children), **actor.report()}
            self.send(REPORT, Report(self.name, unpack(AskReport, body).ask_id, figures))
        else:
            attribute, kind, with_topic = actor.handlers[topic]
            handler = getattr(actor, attribute)
            if with_topic:
                handler(topic, unpack(kind, body))
            else:
                handler(unpack(kind, body))

    def _commit_turn(self, done: int) -> None:
        """The turn has ended: its messages are handled, its effects happen. Should one raise, the rest of them
        happen after the restart."""
        for _ in range(done):
            self._pending.popleft()
        self._effects.extend(self._buffer)
        self._buffer = []
        if self._replies:
            self._effects.append((self.post, (REPLIES_READY, RepliesReady(self._replies))))
            self._replies = []
        try:
            while self._effects:
                effect, arguments = self._effects.popleft()
                effect(*arguments)
        finally:
            self._router.settle(done)

    def _flush_overflow(self) -> None:
        for name in list(self._overflow):
            queue = self._overflow[name]
            while queue and self._router.push(name, queue[0]):
                queue.popleft()
            if queue:
                self._router.when_room(name, self._wake.set)
            else:
                del self._overflow[name]

    def _is_poison(self, error: Exception) -> bool:
        """Whether the message that is handled alone has crashed its actor often enough to be given up."""
        self._same_error = self._same_error + 1 if repr(error) == self._last_error else 1
        self._last_error = repr(error)
        return self._same_error >= DROP_AFTER or self._crashes_here >= DROP_AFTER_ALL

    def _drop_head(self, error: Exception) -> None:
        """Give up a message that no instance survives, and tell its sender if it was a command."""
        topic, body = self._pending.popleft()
        self._crashes_here = self._same_error = 0
        self.figures["dropped"] += 1
        log.critical("message_dropped", actor=self.name, topic=topic, **described(error))
        self._router.settle(1)
        entry = self.kind.handlers.get(topic)
        if entry is not None and entry[1] is Request:
            request: Request = unpack(Request, body)
            refusal = msgpack.packb(internal_error(error).as_reply())
            reply = ReplyReady(request.message_id, request.reply_to, request.correlation_id, request.codec, refusal)
            self._effects.append((self.post, (REPLIES_READY, RepliesReady([reply]))))

    # Child tasks.

    def _spawn(self, key: str, info: Any, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(work(), name=f"{self.name}/{key}")
        self._tasks[key] = task
        self.children[key] = Child(info, lambda reason: _cancel(task, reason))
        task.add_done_callback(lambda ended: self._child_ended(key, ended))

    def _remember(self, key: str, info: Any) -> None:
        self.children[key] = Child(info, lambda reason: None)

    def _child_ended(self, key: str, task: "asyncio.Task[None]") -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            # A child reports its own failures by message; one that escapes is a bug in the reporting.
            log.error("child_failed", actor=self.name, child=key, **described(error))
        self._wake.set()

    def _release(self, key: str) -> None:
        self.children.pop(key, None)

    async def _end_children(self) -> None:
        """Cancel and await what is still running; nobody is left to report to."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.children.clear()

    def _empty_mailbox(self) -> int:
        count = 0
        try:
            while True:
                self._mailbox.recv_multipart(zmq.NOBLOCK)
                count += 1
        except zmq.Again:
            return count


def _cancel(task: "asyncio.Task[None]", reason: str) -> None:
    task.cancel(reason)


def stop_message() -> tuple[str, tuple[Any, ...]]:
    """Topic and message that end a cell."""
    return STOP, Empty()
