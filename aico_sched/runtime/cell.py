"""A cell runs one actor: its mailbox, its turns, its child tasks, its restarts.

The cell outlives the actor. Messages that were drained but not handled, effects that were not carried out and
child tasks belong to it, so a crash of the handlers loses none of them.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from itertools import islice
from time import perf_counter
from typing import Any

import msgpack
import structlog

from aico_sched.clock import Clock, Timer
from aico_sched.logs import described
from aico_sched.runtime.actor import Actor
from aico_sched.runtime.effects import Fault, TurnEffects
from aico_sched.runtime.parcels import Letter, take, unpack, unpack_all
from aico_sched.runtime.router import Router
from aico_sched.runtime.suspects import PoisonDropped, Suspects
from aico_sched.runtime.urgency import Urgency
from aico_sched.topics.errors import internal_error
from aico_sched.topics.internal import AskReport, Empty, RepliesReady, ReplyReady, Report, Request
from aico_sched.topics.names import REPLIES_READY, REPORT, REPORT_ASK, STOP

__all__ = ["Cell", "Fault", "TryAgain", "stop_message"]

log = structlog.get_logger(__name__)

START_TIMEOUT = 30.0
TOGETHER = 100
"""Messages that one call of a handler gets at the most: a turn looks at its budget between two calls. As many creates
take 5 ms."""

END_TIMEOUT = 10.0
"""Seconds for an instance to release what it holds, and for cancelled child tasks to end."""


ASIDE_LIMIT = 10_000
"""Messages that may wait for an actor's sieve to go; beyond it they stay in the mailbox, all of them."""


class TryAgain(Exception):
    """Raised by a turn that cannot go through now: it is undone and tried again after `delay` seconds, by the same
    instance and without counting as a crash."""

    def __init__(self, delay: float, cause: Exception) -> None:
        super().__init__(f"trying again in {delay:g} s: {cause}")
        self.delay = delay


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
        start_timeout: float = START_TIMEOUT,
        fault: Fault | None = None,
    ) -> None:
        self.kind, self.name = kind, kind.name
        self._make, self._router, self._clock = make, router, clock
        self._on_crash = on_crash
        self._batch_size, self._turn_budget, self._start_timeout = batch_size, turn_budget, start_timeout
        self._wake = asyncio.Event()
        self._mailbox = router.open_mailbox(self.name, (*kind.handlers, REPORT_ASK), self._wake.set)
        self._effects = TurnEffects(self.name, router, self._wake.set, fault)
        self._outgoing = self._effects.outgoing
        self._pending: deque[Letter] = deque()
        self._aside: deque[Letter] = deque()
        self._suspects = Suspects()
        self._urgency = Urgency(kind, router.hurry)
        self._stopping = self._was_ready = self._hastened = False
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

    # The life of the cell.

    async def run(self) -> None:
        """Run until the stop message has been obeyed, or until `on_crash` gives up (its exception leaves here)."""
        try:
            while True:
                try:
                    return await self._live()
                except Exception as error:
                    self.ready.clear()
                    if isinstance(error, TryAgain) and self._was_ready:
                        await self._postpone(error)
                        continue
                    self.figures["restarts"] += 1
                    await self._on_crash(self, error)
        finally:
            try:
                await self._effects.tasks.end(END_TIMEOUT)
            finally:
                self.close()

    def hasten(self) -> None:
        """Tell the actor that a stop is coming, though its messages may wait."""
        self._hastened = True
        self._wake.set()

    def close(self) -> None:
        """Give up the mailbox and what is in it. Safe to call twice, and for a cell that never ran."""
        if self._mailbox.closed:
            return
        self._router.close_mailbox(self.name)
        lost = len(self._pending) + len(self._aside) + self._outgoing.clear()
        while batch := take(self._mailbox, self._batch_size):
            lost += len(batch)
        self._pending.clear()
        self._aside.clear()
        self._router.settle(lost)
        self._mailbox.close()

    async def _live(self) -> None:
        """One instance's life, from start to stop or crash."""
        actor = self._make()
        actor.effects = self._effects
        try:
            await self._begin_life(actor)
            if self._stopping:
                actor.begin_stop()
            self._commit_turn(0)
            self._was_ready = True
            self.ready.set()
            while await self._step(actor):
                pass
        except BaseException:
            self._undo_turn(actor)
            raise
        finally:
            await self._retire(actor)
        self._commit_turn(0)

    async def _begin_life(self, actor: Actor) -> None:
        try:
            async with asyncio.timeout(self._start_timeout):
                await actor.on_start()
        except Exception as error:
            # Who starts the service is told at once; later there is somebody to wait for.
            if not self._was_ready:
                raise
            if actor.starts_without(error):
                self._undo_turn(actor)
                return
            delay = actor.recovers(error)
            if delay is None:
                raise
            raise TryAgain(delay, error) from error

    def _undo_turn(self, actor: Actor) -> None:
        self._effects.undo()
        self._urgency.over()
        try:
            actor.abort_turn()
        except Exception as error:
            log.error("abort_failed", actor=self.name, **described(error))

    async def _retire(self, actor: Actor) -> None:
        """Let an instance release what it holds; that it fails must not hide why it ends."""
        try:
            async with asyncio.timeout(END_TIMEOUT):
                await actor.on_stop()
        except Exception as error:
            log.error("actor_not_released", actor=self.name, **described(error))

    async def _step(self, actor: Actor) -> bool:
        """One turn and, when nothing is left to do, the wait for more; false when the actor may end."""
        await self._urgency.give_way()
        more = False if actor.holding() else self._drain()
        self._sift(actor)
        try:
            more = self._turn(actor) or more
        except TryAgain as error:
            self._undo_turn(actor)
            await self._postpone(error)
            return True
        held_back = bool(self._outgoing)
        self._outgoing.flush()
        # Input was left lying while the sends found no room, and its wake-up is used up.
        pending = bool(self._pending) and not actor.holding()
        # What was put aside may be handled from now on.
        pending = pending or (bool(self._aside) and actor.sieve() is None)
        busy = more or pending or (held_back and not self._outgoing)
        if not await self._urgency.go_on() and busy:
            await asyncio.sleep(0)
        if busy:
            return True
        if self._stopping and not self._outgoing and actor.may_stop():
            return False
        await self._wait(actor)
        return True

    async def _postpone(self, error: TryAgain) -> None:
        self.figures["retried"] += 1
        log.warning("turn_postponed", actor=self.name, reason=str(error))
        await self._clock.sleep(error.delay)

    async def _wait(self, actor: Actor) -> None:
        """Until a message, room in a full mailbox, a child's end or the actor's own time."""
        when = actor.wake_at()
        timer: Timer | None = None
        if when is not None and not self._outgoing:
            timer = self._clock.call_at(when, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()
            self._wake.clear()

    # Turns.

    def _sift(self, actor: Actor) -> None:
        """Put aside what the actor does not take for now; when it takes all again, give it back."""
        sieve = actor.sieve()
        if sieve is not None:
            pending, self._pending = self._pending, deque()
            for message in pending:
                (self._pending if sieve(message[0]) else self._aside).append(message)
            if self._hastened and self._aside:
                self._give_up_aside()
        elif self._aside:
            self._pending.extendleft(reversed(self._aside))
            self._aside.clear()

    def _give_up_aside(self) -> None:
        """The service stops, and would wait for these."""
        aside, self._aside = self._aside, deque()
        log.error("messages_given_up", actor=self.name, topics=dict(Counter(topic for topic, _ in aside)))
        self.figures["dropped"] += len(aside)
        for topic, body in aside:
            handler = self.kind.handlers.get(topic)
            if handler is not None:
                for follow_up in self.kind.given_up(topic, unpack(handler.kind, body)):
                    self._effects.post(*follow_up)
        self._router.settle(len(aside))

    def _drain(self) -> bool:
        """Move what is in the mailbox into `_pending`; returns whether there may be more."""
        if len(self._aside) >= ASIDE_LIMIT:
            return False
        wanted = self._batch_size - len(self._pending)
        if wanted <= 0:
            return True
        letters = take(self._mailbox, wanted)
        self._pending += letters
        return len(letters) >= wanted

    def _turn(self, actor: Actor) -> bool:
        """Handle a batch; returns whether the actor has more input right away."""
        started = perf_counter()
        first = 0 if actor.holding() or self._suspects.left else self._urgency.first(self._pending)
        # A parcel may hold more than was wanted.
        pending = [] if actor.holding() else list(islice(self._pending, self._batch_size))
        alone = bool(self._suspects.left and pending)
        batch = pending[: 1 if alone else first or None]
        begun = done = 0
        more = False
        try:
            actor.begin_turn()
            if self._hastened:
                actor.hasten()
            while done < len(batch):
                begun = done + self._run_length(batch, done)
                self._handle(actor, batch[done:begun])
                done = begun
                if perf_counter() > started + self._turn_budget:
                    break
            # What comes from outside must not be blamed on a message that is being watched.
            if not self._outgoing and not alone:
                more = actor.take_input()
            actor.end_turn()
        except TryAgain:
            raise
        except Exception as error:
            delay = actor.recovers(error)
            if delay is not None:
                raise TryAgain(delay, error) from error
            if self._suspects.crashed(error, begun):
                raise self._drop_head(error) from error
            raise
        self._suspects.handled(done)
        self._commit_turn(done)
        self._note_turn(done, perf_counter() - started)
        return more or alone

    def _note_turn(self, messages: int, seconds: float) -> None:
        self.figures["turns"] += 1
        self.figures["messages"] += messages
        self.figures["busy_s"] += seconds
        self.figures["turn_ms_max"] = max(self.figures["turn_ms_max"], seconds * 1_000)

    def _run_length(self, batch: list[Letter], start: int) -> int:
        """How many messages from `start` on are handled together."""
        topic, end = batch[start][0], start + 1
        handler = self.kind.handlers.get(topic)
        if handler is not None and handler.gathered:
            while end < min(len(batch), start + TOGETHER) and batch[end][0] == topic:
                end += 1
        return end - start

    def _handle(self, actor: Actor, messages: list[Letter]) -> None:
        """Handle one message, or several that are handled together."""
        topic, body = messages[0]
        if topic == STOP:
            if not self._stopping:
                actor.begin_stop()
                self._effects.call(self._begin_stop)
        elif topic == REPORT_ASK:
            figures = {**self.figures, "children": len(self._effects.children), **actor.report()}
            self._effects.send(REPORT, Report(self.name, unpack(AskReport, body).ask_id, figures))
        else:
            handler = actor.handlers[topic]
            method, kind = getattr(actor, handler.method), handler.kind
            if handler.gathered:
                method(unpack_all(kind, [each for _, each in messages]))
            elif handler.with_topic:
                method(topic, unpack(kind, body))
            else:
                method(unpack(kind, body))

    def _begin_stop(self) -> None:
        self._stopping = True

    def _commit_turn(self, done: int) -> None:
        """The turn has ended: its messages are handled, its effects happen."""
        for _ in range(done):
            self._pending.popleft()
        try:
            self._effects.commit()
        finally:
            self._router.settle(done)

    def _drop_head(self, error: Exception) -> PoisonDropped:
        """Give up a message that no instance survives, and tell its sender if it was a command."""
        topic, body = self._pending.popleft()
        self._suspects.handled(1)
        self.figures["dropped"] += 1
        log.critical("message_dropped", actor=self.name, topic=topic, **described(error))
        handler = self.kind.handlers.get(topic)
        if handler is not None:
            for follow_up in self._follow_ups(topic, unpack(handler.kind, body), error):
                self._effects.post(*follow_up)
        self._router.settle(1)
        return PoisonDropped(self.name, topic)

    def _follow_ups(self, topic: str, message: Any, error: Exception) -> list[tuple[str, tuple[Any, ...]]]:
        """What others hear of a message that was given up."""
        if not isinstance(message, Request):
            return self.kind.given_up(topic, message)
        refusal = msgpack.packb(internal_error(error).as_reply())
        reply = ReplyReady(message.message_id, message.reply_to, message.correlation_id, message.codec, refusal)
        return [(REPLIES_READY, RepliesReady([reply]))]


def stop_message() -> tuple[str, tuple[Any, ...]]:
    """Topic and message that end a cell."""
    return STOP, Empty()
