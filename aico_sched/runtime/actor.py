"""What an actor is: a class whose methods handle topics.

A handler is a plain function: it runs to its end without waiting, so the actor's state never changes under it.
Whatever takes time is a child task that reports back by message. A **turn** is the handling of a batch of
messages, and it is all or nothing: its sends, spawns and calls take effect when it has ended, and a turn that
raises has none of them and is handled again by a fresh instance.
"""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import msgpack

from aico_sched.clock import Clock
from aico_sched.topics.errors import CommandError
from aico_sched.topics.internal import ReplyReady, Request

Method = TypeVar("Method", bound=Callable[..., Any])


class Handler(NamedTuple):
    """Which method handles a topic, and how it wants its messages, each a `kind`: with their topic, or `gathered`, all
    that follow one another in a turn as one list."""

    method: str
    kind: Callable[..., Any]
    with_topic: bool = False
    gathered: bool = False


def handles(topic: str, kind: type, *, gathered: bool = False) -> Callable[[Method], Method]:
    """Declare that a method handles the messages of `topic`, each a `kind`; if `gathered`, those that follow one
    another in a turn together, as a list."""

    def mark(method: Method) -> Method:
        marks = getattr(method, "__handles__", {})
        method.__handles__ = {**marks, topic: Handler(method.__name__, kind, gathered=gathered)}  # type: ignore[attr-defined]
        return method

    return mark


def answers(*topics: str) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Declare that a method answers the commands of `topics`: what it returns is the result, a `CommandError`
    it raises the refusal. Returning None means that it will reply later itself."""

    def wrap(method: Callable[..., Any]) -> Callable[..., None]:
        def handler(self: "Actor", topic: str, request: Request) -> None:
            try:
                result = method(self, topic, request)
            except CommandError as error:
                self.refuse(request, error)
            else:
                if result is not None:
                    self.reply(request, {"ok": True, "result": result})

        handler.__handles__ = {topic: Handler(method.__name__, Request, with_topic=True) for topic in topics}  # type: ignore[attr-defined]
        handler.__name__, handler.__doc__ = method.__name__, method.__doc__
        return handler

    return wrap


class Child(NamedTuple):
    """A task an actor started. `info` is what the actor wants to remember of it, also after a restart."""

    info: Any
    cancel: Callable[[str], None]


class Effects(Protocol):
    """What a turn may do to the world; buffered by the cell until the turn has ended."""

    def send(self, topic: str, message: tuple[Any, ...]) -> None: ...
    def reply(self, answer: ReplyReady) -> None: ...
    def spawn(self, key: str, info: Any, work: Callable[[], Coroutine[Any, Any, None]]) -> None: ...
    def remember(self, key: str, info: Any) -> None: ...
    def release(self, key: str) -> None: ...
    def call(self, function: Callable[..., Any], *arguments: Any) -> None: ...
    def post(self, topic: str, message: tuple[Any, ...]) -> None: ...
    def wake(self) -> None: ...
    @property
    def children(self) -> dict[str, Child]: ...
    @property
    def congested(self) -> bool: ...


class Actor:
    """Base of the actors. Subclasses set `name`, mark methods with `handles` and `answers`, and keep their state
    in attributes: a restart makes a new instance, so what must outlive a crash belongs into the store."""

    name: ClassVar[str]
    handlers: ClassVar[dict[str, Handler]] = {}
    urgent: ClassVar[frozenset[str]] = frozenset()
    """Topics whose messages need not wait for others: they go first, in turns of their own, but not for ever."""
    patient: ClassVar[bool] = False
    """Whether it lets what is urgent to others, and what that starts, go before its turns, a little while each time."""

    def __init_subclass__(cls) -> None:
        table = dict(cls.handlers)
        for method in vars(cls).values():
            table.update(getattr(method, "__handles__", {}))
        cls.handlers = table

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.effects: Effects

    def send(self, topic: str, message: tuple[Any, ...]) -> None:
        """Publish `message` once this turn has ended."""
        self.effects.send(topic, message)

    def reply(self, request: Request, body: dict[str, Any]) -> None:
        """Answer a command, once."""
        self.reply_packed(request, msgpack.packb(body))

    def reply_packed(self, request: Request, body: bytes) -> None:
        """Answer a command with a body that is msgpack already."""
        answer = ReplyReady(
            request.message_id, request.reply_to, request.correlation_id, request.codec, body, request.traceparent
        )
        self.effects.reply(answer)

    def refuse(self, request: Request, error: CommandError) -> None:
        """Answer a command with an error."""
        self.reply(request, error.as_reply())

    @classmethod
    def given_up(cls, topic: str, message: Any) -> list[tuple[str, tuple[Any, ...]]]:
        """What to send, as topics and messages, when `message` was dropped because no instance survived it: who waits
        for what comes of it must not wait for ever. A command is answered without this."""
        return []

    async def on_start(self) -> None:
        """Make ready: open connections, ask others for the state to rebuild. Runs before any message."""

    def begin_turn(self) -> None:
        """Called before the messages of a turn."""

    def end_turn(self) -> None:
        """Called after the messages of a turn; raising here undoes the turn."""

    def abort_turn(self) -> None:
        """Called when a turn raised, on the instance that is about to be thrown away."""

    def take_input(self) -> bool:
        """Take in work from outside the mailboxes (the bus, the clock), as part of a turn. Not called while the
        actor's sends find no room. Returns whether there may be more right away."""
        return False

    def wake_at(self) -> float | None:
        """When, on the monotonic clock, `take_input` should run next without a message."""
        return None

    def holding(self) -> bool:
        """Whether messages stay in the mailbox for now. `take_input` goes on; what ends the holding must wake the
        actor, as the end of a child does."""
        return False

    def sieve(self) -> Callable[[str], bool] | None:
        """While only some messages can be handled: says of a topic whether its messages are. The others wait, in their
        order, until this is None again, and then come first. Asked before each turn."""
        return None

    def recovers(self, error: Exception) -> float | None:
        """A turn raised `error`. Returns after how many seconds the same instance may try again, None if it is a
        crash. The turn is undone after this."""
        return None

    def starts_without(self, error: Exception) -> bool:
        """`on_start` of an instance that takes another's place raised `error`. Returns whether it lives all the same,
        without what it could not make, to make up for it in its turns. The start is undone after this."""
        return False

    def hasten(self) -> None:
        """The service is about to stop: cut short what makes messages wait. May be called again."""

    def begin_stop(self) -> None:
        """Stop taking in work; called once, when the stop message arrives."""

    def may_stop(self) -> bool:
        """Whether the work that was going on is finished."""
        return True

    async def on_stop(self) -> None:
        """Release what `on_start` acquired; called on every instance, also after a crash."""

    def report(self) -> dict[str, Any]:
        """Figures for stats and health."""
        return {}
