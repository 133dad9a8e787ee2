"""The part of the store actor that lets a class in the sandbox judge a configuration before a task gets it: the command
waits, while a child process loads the class and says what it thinks. It holds up no other command than later ones of
its sender about the same task, which mean the task as this one leaves it."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import structlog

from aico_sched.logs import described
from aico_sched.maintained import Maintained
from aico_sched.runtime.actor import handles
from aico_sched.topics import names
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import ConfigJudged, Request
from aico_sched.verdicts import Unjudged, Verdict

log = structlog.get_logger(__name__)

MOST = 64
"""Commands that may wait for a verdict at one time."""

MOST_BEHIND = 1_000
"""Commands that may wait behind those."""

Judge = Callable[[Any, dict[str, Any]], Awaitable[Verdict]]
"""Asks a class (`tasks.discovery.FoundClass`) about a configuration."""


class Judged(Protocol):
    """Who keeps the verdicts."""

    def judged(self, key: str, verdict: Verdict) -> None:
        """Remember one."""


class Waiting(NamedTuple):
    """A command that waits for a verdict, its own or that of one before it."""

    topic: str
    request: Request

    def is_about(self, request: Request) -> bool:
        """Whether it is of the same sender, about the same task."""
        mine = self.request
        return (mine.source, mine.payload.get("task_id")) == (request.source, request.payload.get("task_id"))


class ConfigChecks(Maintained):
    """Base of the store actor. It has `_judge`, and carries commands out by `_apply`."""

    _judge: Judge
    _registry: Judged

    def _apply(self, topic: str, request: Request) -> None:
        raise NotImplementedError

    def _postpone(self, topic: str, request: Request, question: Unjudged) -> None:
        """Ask, and carry the command out afterwards. A sender that repeats itself meanwhile is answered once."""
        key = _key(request)
        children = self.effects.children
        if key in children:
            return
        if sum(each.startswith(_PREFIX) for each in children) >= MOST:
            message = f"{MOST} configurations are being checked already; try again later"
            self.refuse(request, CommandError(ErrorCode.UNAVAILABLE, message))
            return
        self.effects.spawn(key, Waiting(topic, request), lambda: self._ask_class(topic, request, question))

    def _waits_its_turn(self, topic: str, request: Request) -> bool:
        """Whether the command is put behind an earlier one of its sender, which waits for a verdict about the same
        task; or refused, where too many are."""
        if not self.effects.children or _key(request) in self.effects.children:
            return False
        if not self._is_asked_about(request):
            return False
        key = _behind_key(request)
        if key not in self.effects.children:
            if sum(each.startswith(_BEHIND) for each in self.effects.children) >= MOST_BEHIND:
                message = f"{MOST_BEHIND} commands wait for the configurations of their tasks to be checked; try again"
                self.refuse(request, CommandError(ErrorCode.UNAVAILABLE, message))
            else:
                self.effects.remember(key, Waiting(topic, request))
        return True

    def _to_be_done(self, topic: str, requests: list[Request]) -> list[Request]:
        """Those of a topic's commands that are to be carried out now; the others are answered, or wait their turn."""
        return [each for each in requests if not self._waits_its_turn(topic, each) and not self._turned_away(each)]

    def _is_asked_about(self, request: Request) -> bool:
        """Whether a command of the same sender about the same task waits for a verdict."""
        asking = (each.info for key, each in self.effects.children.items() if key.startswith(_PREFIX))
        return any(waiting.is_about(request) for waiting in asking)

    async def _ask_class(self, topic: str, request: Request, question: Unjudged) -> None:
        """The child task."""
        try:
            verdict = await self._judge(question.found, question.config)
        except Exception as error:
            # The run checks it again.
            log.error("configuration_not_checked", task_class=question.found.name, **described(error))
            verdict = Verdict()
        self.effects.post(names.CONFIG_JUDGED, ConfigJudged(topic, request, question.key, verdict))

    @handles(names.CONFIG_JUDGED, ConfigJudged)
    def config_judged(self, judged: ConfigJudged) -> None:
        """Now the command can be carried out."""
        request = Request(*judged.request)
        self.effects.release(_key(request))
        self._registry.judged(judged.key, Verdict(*judged.verdict))
        self._apply(judged.topic, request)
        self._go_on_behind(request)

    def _go_on_behind(self, request: Request) -> None:
        """Carry out what waited behind a command, in order, until one of them has a question of its own."""
        for key, child in list(self.effects.children.items()):
            if key.startswith(_BEHIND) and child.info.is_about(request):
                if self._is_asked_about(request):
                    return
                self.effects.release(key)
                self._apply(child.info.topic, child.info.request)


_PREFIX, _BEHIND = "config/", "behind/"


def _key(request: Request) -> str:
    """An id is its sender's own."""
    return f"{_PREFIX}{request.source}/{request.message_id}"


def _behind_key(request: Request) -> str:
    return f"{_BEHIND}{request.source}/{request.message_id}"
