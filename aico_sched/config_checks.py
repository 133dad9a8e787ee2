"""The part of the store actor that lets a class in the sandbox judge a configuration before a task gets it: the command
waits, without holding up any other, while a child process loads the class and says what it thinks."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

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

Judge = Callable[[Any, dict[str, Any]], Awaitable[Verdict]]
"""Asks a class (`tasks.discovery.FoundClass`) about a configuration."""


class Judged(Protocol):
    """Who keeps the verdicts."""

    def judged(self, key: str, verdict: Verdict) -> None:
        """Remember one."""


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
        self.effects.spawn(key, None, lambda: self._ask_class(topic, request, question))

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


_PREFIX = "config/"


def _key(request: Request) -> str:
    """An id is its sender's own."""
    return f"{_PREFIX}{request.source}/{request.message_id}"
