"""Traces by OpenTelemetry, where the program has configured it; else nothing, at the cost of a call.

A trace goes from a message of the bus through the actors to the commit. Between them it travels as W3C `traceparent`
(https://www.w3.org/TR/trace-context/), in `attributes.traceparent` on the bus and as a field of internal messages.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Literal

from aico_sched import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext, TracerProvider

ATTRIBUTE: Final = "traceparent"
"""Of a bus message."""

Kind = Literal["internal", "consumer"]

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def readable(text: str | None) -> str:
    """`text` if it is a traceparent, else nothing: a wrong one is no reason to refuse a message."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else ""


def log_fields(traceparent: str = "") -> dict[str, str]:
    """`trace_id` and `span_id` for a line of a log: of `traceparent`, else of what the program traces now. Empty where
    nothing is traced, at the cost of a look into a dict."""
    if traceparent:
        _, trace_id, span_id, _ = traceparent.split("-")
        return {"trace_id": trace_id, "span_id": span_id}
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


class Span:
    """What is traced now. `traceparent` is what follows from it is told; empty where nothing is traced."""

    __slots__ = ()
    traceparent = ""

    def fail(self, reason: str) -> None:
        """It went wrong."""

    def note(self, name: str, value: str | int | float | bool) -> None:
        """An attribute that is known only now."""


class Tracing:
    """Traces nothing."""

    active = False

    def span(
        self,
        name: str,
        parent: str = "",
        *,
        links: Sequence[str] = (),
        kind: Kind = "internal",
        expected: type[Exception] | None = None,
        **attributes: str | int | float | bool,
    ) -> AbstractContextManager[Span]:
        """A span for the length of a block, below `parent`, or the first of a trace. It is the current one for code
        in the block, so that what that traces by itself comes below it. What the block raises marks it as failed,
        unless it is `expected`: then the work is only postponed."""
        return _NOTHING


_NOTHING: AbstractContextManager[Span] = nullcontext(Span())
NO_TRACING: Final = Tracing()


class OpenTelemetry(Tracing):
    """Traces by a provider of OpenTelemetry's."""

    active = True

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.context import Context  # noqa: PLC0415

        self._trace, self._root = trace, Context()
        self._tracer = provider.get_tracer("aico_sched", __version__)
        self._kinds = {"internal": trace.SpanKind.INTERNAL, "consumer": trace.SpanKind.CONSUMER}

    def span(
        self,
        name: str,
        parent: str = "",
        *,
        links: Sequence[str] = (),
        kind: Kind = "internal",
        expected: type[Exception] | None = None,
        **attributes: str | int | float | bool,
    ) -> AbstractContextManager[Span]:
        """See `Tracing.span`."""
        return self._span(name, parent, links, kind, expected, attributes)

    @contextmanager
    def _span(
        self,
        name: str,
        parent: str,
        links: Sequence[str],
        kind: Kind,
        expected: type[Exception] | None,
        attributes: dict[str, Any],
    ) -> Iterator[Span]:
        # Never below what happens to be current in the program around the service.
        context = self._root
        if parent:
            remote = self._trace.NonRecordingSpan(self._context_of(parent))
            context = self._trace.set_span_in_context(remote, context)
        span = self._tracer.start_span(
            name,
            context=context,
            kind=self._kinds[kind],
            attributes={f"aico_sched.{key}": value for key, value in attributes.items()},
            links=[self._trace.Link(self._context_of(each)) for each in links],
        )
        recording = _Recording(self._trace, span)
        with self._trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield recording
            except Exception as error:
                if expected is not None and isinstance(error, expected):
                    recording.note("postponed", True)
                else:
                    span.record_exception(error)
                    recording.fail(f"{type(error).__name__}: {error}")
                raise

    def _context_of(self, traceparent: str) -> "SpanContext":
        _, trace_id, span_id, flags = traceparent.split("-")
        return self._trace.SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=self._trace.TraceFlags(int(flags, 16))
        )


class _Recording(Span):
    """A span of OpenTelemetry's."""

    __slots__ = ("_span", "_trace", "traceparent")

    def __init__(self, trace: Any, span: Any) -> None:
        self._trace, self._span = trace, span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def fail(self, reason: str) -> None:
        self._span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, reason))

    def note(self, name: str, value: str | int | float | bool) -> None:
        self._span.set_attribute(f"aico_sched.{name}", value)


def configured(provider: Any = None) -> Tracing:
    """By `provider`, or by the one the program has configured OpenTelemetry with. A program that has not imported it
    has not configured it, so it is not imported either (0.1 s)."""
    if provider is None:
        trace = sys.modules.get("opentelemetry.trace")
        if trace is None:
            return NO_TRACING
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
            return NO_TRACING
    return OpenTelemetry(provider)
