"""OpenTelemetry: one trace from a message of the bus to the commit of what it led to, by OpenTelemetry's own SDK."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from aico_sched.client import SchedulerClient
from aico_sched.service import SchedulerService
from aico_sched.topics import names
from aico_sched.tracing import NO_TRACING, OpenTelemetry, configured, readable
from tests.integration.support.running import DEADLINE, settings_for
from tests.integration.support.wire import Wire

FAR = "interval:86400"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Traced:
    """A service that traces into memory, and a bare client of it."""

    def __init__(self, service: SchedulerService, client: SchedulerClient, wire: Wire, spans: InMemorySpanExporter):
        self.service, self.client, self.wire, self._spans = service, client, wire, spans

    async def ask(self, topic: str, payload: dict[str, Any], traceparent: str = PARENT) -> dict[str, Any]:
        answer = await self.wire.ask(
            topic, payload, attributes={"reply_to": self.wire.reply_to, "traceparent": traceparent}
        )
        assert answer["ok"], answer
        result: dict[str, Any] = answer["result"]
        return result

    def spans(self, trace: str = TRACE) -> dict[str, ReadableSpan]:
        """Those of a trace, the last one of each name."""
        return {each.name: each for each in self._spans.get_finished_spans() if trace_of(each) == trace}

    def all(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    assert parent.context is not None
    return child.parent is not None and child.parent.span_id == parent.context.span_id


@pytest.fixture
async def traced(tmp_path: Path) -> AsyncIterator[Traced]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with AsyncExitStack() as stack:
        settings = settings_for(tmp_path / "data")
        service = await stack.enter_async_context(SchedulerService(settings, tracer_provider=provider))
        client = await stack.enter_async_context(SchedulerClient.discover(settings.data_dir))
        assert service.address is not None
        wire = Wire(service.address.publish, service.address.subscribe, settings.data_dir / "keys")
        yield Traced(service, client, await stack.enter_async_context(wire), exporter)


async def test_a_trace_goes_from_the_command_to_the_commit_of_its_run(traced: Traced) -> None:
    await traced.wire.subscribe(names.EXECUTION_EVENTS)
    await traced.wire.subscribe("news.")
    await traced.client.create(
        "user.n", FAR, task_class="bus.publish", config={"topic": "news.today", "payload": {"a": 1}}
    )
    execution = await traced.ask(names.TASK_TRIGGER, {"task_id": "user.n"})
    run = await traced.client.wait(execution["execution_id"], DEADLINE)
    assert run.status == "succeeded"
    ended = await traced.wire.hear(names.EXECUTION_SUCCEEDED)
    await traced.wire.barrier()
    spans = traced.spans()
    arrived, handled = spans[names.TASK_TRIGGER], spans[f"handle {names.TASK_TRIGGER}"]
    ran, commit = spans["execute bus.publish"], spans["store.commit"]
    assert arrived.parent is not None and f"{arrived.parent.span_id:016x}" == PARENT.split("-")[2]
    assert below(handled, arrived)
    assert below(ran, handled), "the run goes on with the trace of the command that asked for it"
    assert below(commit, ran), "the last commit is that of the run's end"
    assert arrived.attributes == {"aico_sched.source": "admin"}
    assert ran.attributes == {
        "aico_sched.task_id": "user.n", "aico_sched.execution_id": run.execution_id, "aico_sched.attempt": 1,
        "aico_sched.outcome": "succeeded",
    }  # fmt: skip
    assert commit.start_time is not None and ran.end_time is not None and commit.start_time >= ran.end_time
    # What is said of it carries the trace: the reply, the events, what the task has published.
    assert ran.context is not None
    mine = f"00-{TRACE}-{ran.context.span_id:016x}-01"
    assert ended["attributes"]["traceparent"] == mine
    heard = {topic: body["attributes"].get("traceparent", "") for topic, body in traced.wire.heard}
    assert heard["news.today"] == mine
    assert heard[names.EXECUTION_STARTED].split("-")[1] == TRACE
    replies = [
        body["attributes"].get("traceparent", "") for topic, body in traced.wire.heard if topic == traced.wire.reply_to
    ]
    assert TRACE in {each.split("-")[1] for each in replies if each}


async def test_failures_and_runs_of_their_own(traced: Traced) -> None:
    await traced.client.create("user.f", FAR, task_class="user.raises", config={"kind": "ValueError"})
    execution = await traced.ask(names.TASK_TRIGGER, {"task_id": "user.f"})
    await traced.client.wait(execution["execution_id"], DEADLINE)
    await traced.wire.barrier()
    failed = traced.spans()["execute user.raises"]
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "as it was told")
    # A dead letter that is requeued goes on with the trace of who did it.
    other = TRACE[::-1]
    await traced.ask(names.DEAD_REQUEUE, {"execution_id": execution["execution_id"]}, f"00-{other}-00f067aa0ba902b7-01")
    await traced.client.wait(execution["execution_id"], DEADLINE)
    await traced.wire.barrier()
    again = traced.spans(other)
    assert below(again["execute user.raises"], again[f"handle {names.DEAD_REQUEUE}"])
    # What nobody asked for begins a trace of its own.
    await traced.client.create("user.own", "interval:0.05", task_class="user.reports", max_runs=1)
    page = await traced.client.executions(task_id="user.own")
    while not page.executions or page.executions[0].status != "succeeded":
        page = await traced.client.executions(task_id="user.own")
    await traced.wire.barrier()
    (own,) = [span for span in traced.all() if span.name == "execute user.reports"]
    assert own.parent is None
    assert trace_of(own) not in (TRACE, other)


async def test_a_refused_command_and_a_bulk_of_creates(traced: Traced) -> None:
    answer = await traced.wire.ask(
        names.TASK_TRIGGER,
        {"task_id": "user.none"},
        attributes={"reply_to": traced.wire.reply_to, "traceparent": PARENT},
    )
    assert answer["error"]["code"] == "task_not_found"
    await traced.wire.barrier()
    assert traced.spans()[f"handle {names.TASK_TRIGGER}"].status.status_code is StatusCode.ERROR
    attributes = {"reply_to": traced.wire.reply_to, "traceparent": PARENT}
    tasks = [{"task_id": f"user.t{n}", "schedule": FAR, "task_class": "demo.echo"} for n in range(40)]
    asked = [await traced.wire.send(names.TASK_CREATE, task, attributes=attributes) for task in tasks]
    for each in asked:
        assert (await traced.wire.answer(each))["ok"]
    await traced.wire.barrier()
    assert len([span for span in traced.all() if span.name == names.TASK_CREATE]) == 40
    assert (
        below(traced.spans()["store.commit"], traced.spans()[names.TASK_CREATE]) or traced.spans()["store.commit"].links
    )


async def test_without_opentelemetry_the_trace_is_passed_on(run: Any, wire_to: Any) -> None:
    wire = await wire_to(run)
    await wire.subscribe(names.EXECUTION_EVENTS)
    await run.client.create("user.r", FAR, task_class="user.reports")
    attributes = {"reply_to": wire.reply_to, "traceparent": PARENT}
    await wire.ask(names.TASK_TRIGGER, {"task_id": "user.r"}, attributes=attributes)
    assert (await wire.hear(names.EXECUTION_SUCCEEDED))["attributes"]["traceparent"] == PARENT
    attributes["traceparent"] = "00-nonsense"
    await wire.ask(names.TASK_TRIGGER, {"task_id": "user.r"}, attributes=attributes)
    assert "traceparent" not in (await wire.hear(names.EXECUTION_SUCCEEDED))["attributes"]


@pytest.mark.parametrize(
    "text",
    [None, "", "x", PARENT.upper(), f"ff{PARENT[2:]}", PARENT + "-1", f"00-{'0' * 32}-00f067aa0ba902b7-01",
     f"00-{TRACE}-{'0' * 16}-01", PARENT + "\n"],
)  # fmt: skip
def test_what_is_no_traceparent_is_none(text: str | None) -> None:
    assert readable(text) == ""
    assert readable(PARENT) == PARENT


def test_the_service_does_not_import_opentelemetry() -> None:
    code = (
        "import sys; import aico_sched.service; from aico_sched.tracing import configured, NO_TRACING\n"
        "assert configured() is NO_TRACING\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_one_that_is_imported_and_not_configured_traces_nothing() -> None:
    assert configured() is NO_TRACING
    assert isinstance(configured(TracerProvider()), OpenTelemetry)
