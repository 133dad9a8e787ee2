"""Telling people outside what has happened: for tasks that are scheduled `failure:…` or `after:…`."""

from typing import Annotated, Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr

from aico_sched.tasks.base import BaseTask, PermanentError, TaskResult, TransientError
from aico_sched.tasks.context import TaskContext

_REFUSED = range(400, 500)
_TRY_AGAIN = frozenset({408, 425, 429})
_SHOWN = 500


class NotifyWebhook(BaseTask):
    """Posts what has happened to a URL as JSON: a failure, a success, or that its own time has come."""

    name = "notify.webhook"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        url: HttpUrl = Field(description="where to; whoever answers there must be trusted with error messages")
        token: SecretStr | None = Field(default=None, description="sent as `Authorization: Bearer …`")
        message: Annotated[str, Field(max_length=2_000)] | None = Field(
            default=None, description="instead of the sentence that tells the cause"
        )
        timeout: float = Field(default=10.0, gt=0, le=120, allow_inf_nan=False, description="seconds for the answer")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Succeeds by an answer of the 200s. One of the 400s is final, but for those that ask for patience; anything
        else raises TransientError, so that the retry policy counts."""
        config = context.config
        headers = {} if config.token is None else {"Authorization": f"Bearer {config.token.get_secret_value()}"}
        try:
            async with httpx.AsyncClient(timeout=config.timeout, follow_redirects=False, trust_env=False) as client:
                answer = await client.post(str(config.url), json=_body(context), headers=headers)
        except httpx.HTTPError as error:
            raise TransientError(f"{config.url.host} could not be told: {error or type(error).__name__}") from error
        if answer.is_success:
            return TaskResult.ok(f"{config.url.host} was told", status=answer.status_code)
        told = f"{config.url.host} answered {answer.status_code}: {answer.text[:_SHOWN]}"
        if answer.status_code in _REFUSED and answer.status_code not in _TRY_AGAIN:
            raise PermanentError(told)
        raise TransientError(told)


class NotifyBus(BaseTask):
    """Publishes what has happened on a topic of the bus, with the role of the task's creator."""

    name = "notify.bus"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        topic: str = Field(min_length=1, max_length=255, description="where to; never the scheduler's own topics")
        message: Annotated[str, Field(max_length=2_000)] | None = None

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Succeeds when the message is handed to the bus; nobody need listen."""
        await context.publish(context.config.topic, _body(context))
        return TaskResult.ok(f"published on {context.config.topic}")


def _body(context: TaskContext[Any]) -> dict[str, Any]:
    """`text` and `content` are the sentence, under the names that chat services read."""
    text = context.config.message or _sentence(context)
    return {
        "text": text,
        "content": text,
        "task_id": context.task_id,
        "execution_id": context.execution_id,
        "at": context.now().isoformat(),
        "cause": context.cause,
    }


def _sentence(context: TaskContext[Any]) -> str:
    cause = context.cause
    if cause is None:
        return f"{context.task_id} ran"
    if cause["status"] == "succeeded":
        return f"{cause['task_id']} succeeded"
    return f"{cause['task_id']} failed for good: {cause.get('reason') or 'no reason was given'}"
