"""Lines of the log tell the trace they belong to; a command that has to wait for a class's word is no failed one."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from structlog.testing import capture_logs

from aico_sched.client import SchedulerClient
from aico_sched.service import SchedulerService
from aico_sched.topics import names
from tests.integration.support.running import DEADLINE, settings_for
from tests.integration.support.wire import Wire
from tests.integration.test_tracing import FAR, TRACE, Traced

Begin = Callable[..., Awaitable[Traced]]

STRICT = """
from pydantic import BaseModel
from aico_sched.tasks import BaseTask

class Settings(BaseModel):
    count: int

class Strict(BaseTask):
    name = "user.strict"
    Config = Settings

    async def execute(self, context):
        return {}
"""


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    async with AsyncExitStack() as stack:

        async def made(**settings: Any) -> Traced:
            exporter, provider = InMemorySpanExporter(), TracerProvider()
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            given = settings_for(tmp_path / "data", **settings)
            folder = given.user_task_folder
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / "strict.py").write_text(STRICT)
            service = await stack.enter_async_context(SchedulerService(given, tracer_provider=provider))
            client = await stack.enter_async_context(SchedulerClient.discover(given.data_dir, timeout=DEADLINE))
            assert service.address is not None
            wire = Wire(service.address.publish, service.address.subscribe, given.data_dir / "keys")
            return Traced(service, client, await stack.enter_async_context(wire), exporter)

        yield made


@pytest.mark.parametrize("environment", ["loop", "thread", "process"])
async def test_a_tasks_lines_carry_its_trace_and_the_span_of_its_run(begin: Begin, environment: str) -> None:
    traced = await begin(scheduler__task_modules=["tests.integration.execution.log_tasks"])
    await traced.client.create("maintenance.logs", FAR, config={"lines": 1}, environment=environment)
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as written:
        execution = await traced.ask(names.TASK_TRIGGER, {"task_id": "maintenance.logs"})
        await traced.client.wait(execution["execution_id"], DEADLINE)
    await traced.wire.barrier()
    ran = traced.spans()["execute maintenance.logs"]
    assert ran.context is not None
    (line,) = [entry for entry in written if entry["event"] == "line"]
    assert (line["trace_id"], line["span_id"]) == (TRACE, f"{ran.context.span_id:016x}")
    assert line["execution_id"] == execution["execution_id"]


async def test_a_create_that_is_still_being_judged_has_not_failed(begin: Begin) -> None:
    traced = await begin(sandbox__enabled=True)
    await traced.ask(names.TASK_CREATE, {"task_id": "user.strict", "schedule": FAR, "config": {"count": 1}})
    await traced.wire.barrier()
    postponed, done = [span for span in traced.all() if span.name == f"handle {names.TASK_CREATE}"]
    assert postponed.attributes is not None and postponed.attributes["aico_sched.postponed"] is True
    for span in (postponed, done):
        assert (span.status.status_code, list(span.events)) == (StatusCode.UNSET, [])


def lines_of(program: str) -> list[dict[str, Any]]:
    """What a program has logged with our own set-up."""
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_our_own_log_names_what_is_traced_now() -> None:
    untraced, traced = lines_of(
        "import structlog\n"
        "from aico_sched.logs import configure_logging\n"
        "configure_logging('info', 'json')\n"
        "log = structlog.get_logger()\n"
        "log.info('before')\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "with TracerProvider().get_tracer('t').start_as_current_span('s') as span:\n"
        "    log.info('within', expected=f'{span.get_span_context().trace_id:032x}')\n"
    )
    assert "trace_id" not in untraced
    assert traced["trace_id"] == traced["expected"]
    assert len(traced["span_id"]) == 16
