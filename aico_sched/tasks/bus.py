"""Generic tasks, so that who is on the bus can schedule messages without writing Python."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from aico_sched.tasks.base import BaseTask, TaskResult, TransientError
from aico_sched.tasks.context import TaskContext, public_topic

Topic = Annotated[str, AfterValidator(public_topic), Field(description="where to; never the scheduler's own topics")]


class BusPublish(BaseTask):
    """Publishes a given message on the bus, with the role of the task's creator."""

    name = "bus.publish"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        topic: Topic
        payload: dict[str, JsonValue] = Field(default_factory=dict)

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Succeeds when the message is handed to the bus; nobody need listen."""
        config = context.config
        await context.publish(config.topic, config.payload)
        return TaskResult.ok(f"published on {config.topic}")


class BusRequest(BaseTask):
    """Publishes a request on the bus and succeeds or fails by its reply."""

    name = "bus.request"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        topic: Topic
        payload: dict[str, JsonValue] = Field(default_factory=dict)
        timeout: float = Field(default=10.0, gt=0, le=3_600, allow_inf_nan=False, description="seconds to wait")

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        """Fails by a reply with `ok: false`, with its error; raises TransientError when no reply comes in time."""
        config = context.config
        try:
            reply = await context.request(config.topic, config.payload, config.timeout)
        except TimeoutError as error:
            raise TransientError(f"no reply on {config.topic} within {config.timeout:g} s") from error
        if reply.get("ok") is False:
            return TaskResult.failed(_reason(reply.get("error")), reply=reply)
        return TaskResult.ok(f"{config.topic} replied", reply=reply)


def _reason(error: object) -> str:
    """The error of a reply in words: `{code, message}` as the scheduler itself answers, or whatever was sent."""
    if isinstance(error, dict):
        words = [str(error[key]) for key in ("code", "message") if error.get(key)]
        return ": ".join(words) or "the request was refused"
    return str(error) if error else "the request was refused"
