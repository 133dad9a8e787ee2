"""Small tasks to try the scheduler with: one that answers, one that takes its time, one that fails."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aico_sched.tasks.base import BaseTask, PermanentError, TaskResult, TransientError
from aico_sched.tasks.context import TaskContext


class DemoEcho(BaseTask):
    """Returns its configuration as its result."""

    name = "demo.echo"

    class Config(BaseModel):
        """Any keys."""

        model_config = ConfigDict(frozen=True, extra="allow")

    async def execute(self, context: TaskContext[Config]) -> dict[str, Any]:
        return context.config.model_dump(mode="json")


class DemoSleep(BaseTask):
    """Waits in steps and reports its progress after each."""

    name = "demo.sleep"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        seconds: float = Field(default=1.0, ge=0, le=86_400, allow_inf_nan=False, description="how long in all")
        steps: int = Field(default=10, ge=1, le=10_000)

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        config = context.config
        for step in range(1, config.steps + 1):
            await context.sleep(config.seconds / config.steps)
            await context.progress(step / config.steps, f"step {step} of {config.steps}")
        return TaskResult.ok(f"slept {config.seconds:g} s", steps=config.steps)


class DemoFail(BaseTask):
    """Fails its first attempts, then succeeds; with a permanent error it is not tried again."""

    name = "demo.fail"

    class Config(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid")

        times: int = Field(default=1, ge=0, description="attempts that fail")
        kind: Literal["transient", "permanent"] = "transient"

    async def execute(self, context: TaskContext[Config]) -> TaskResult:
        config = context.config
        if context.attempt <= config.times:
            error = PermanentError if config.kind == "permanent" else TransientError
            raise error(f"attempt {context.attempt} fails as it was asked to")
        return TaskResult.ok(f"succeeded at attempt {context.attempt}")
