"""The service's events as they happen, as server-sent events that resume without loss."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from starlette.responses import StreamingResponse

from aico_sched.api.event_ids import event_id, parse_event_id
from aico_sched.api.problems import documented
from aico_sched.client import EventsLost, EventStream, SchedulerClient, SchedulerError
from aico_sched.client.errors import refusal
from aico_sched.client.events import Event
from aico_sched.topics import names
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.views import EventRow

MAX_STREAMS: Final = 64
"""Readers at one time; each holds a connection and a buffer."""

KEEP_ALIVE_SECONDS: Final = 15.0
"""A comment is sent after so long without an event, so that either side notices a dead connection."""

_RETRY_MS: Final = 1_000


def add_stream(router: APIRouter, client: Callable[[], SchedulerClient]) -> None:
    """Add `GET /events/stream` to `router`."""
    readers: set[EventStream] = set()

    async def stream(
        prefix: Annotated[str, Query(max_length=128, description="only topics that begin so")] = names.EVENTS,
        last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", description="resume after this id")] = None,
    ) -> Response:
        """Events as they happen. `event` is the topic without `scheduler.event.`, `data` a row as `GET /events` lists
        them, `id` what to send as `Last-Event-ID` to go on without a gap. The first event is `hello`, which says
        whether the stream was resumed; `lost` says that the history no longer holds what is missing."""
        if not prefix.startswith(names.EVENTS):
            message = f"prefix: events are below {names.EVENTS}"
            raise refusal(ErrorCode.INVALID_MESSAGE, message, {"field": "prefix"})
        if len(readers) >= MAX_STREAMS:
            raise refusal(ErrorCode.UNAVAILABLE, f"{MAX_STREAMS} readers follow the events already")
        after = parse_event_id(last_event_id) if last_event_id else None
        # All events, whatever the prefix: the heartbeat among them tells where every topic stands.
        events = client().events(resume=True, after=after)
        readers.add(events)
        return StreamingResponse(
            _frames(events, prefix, after is not None, readers.discard),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    router.add_api_route(
        "/events/stream",
        stream,
        methods=["GET"],
        response_class=StreamingResponse,
        responses={**documented(), 200: {"description": "Events", "content": {"text/event-stream": {}}}},
        summary="Events as they happen",
        tags=["events"],
        operation_id="get_events_stream",
    )


async def _frames(
    events: EventStream, prefix: str, resumed: bool, ended: Callable[[EventStream], None]
) -> AsyncIterator[str]:
    """The stream, until the reader goes or the client closes. An id is given only once a heartbeat (or the reader's
    own id) has told where every topic stands; a reader without one begins anew."""
    placed = resumed
    waiting: asyncio.Future[Event] | None = None
    try:
        yield f"retry: {_RETRY_MS}\n" + _frame("hello", {"resumed": resumed})
        while True:
            waiting = waiting or asyncio.ensure_future(anext(events))
            # Not cancelled by the keep-alive: what it has fetched would be lost.
            done, _ = await asyncio.wait({waiting}, timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield ": still here\n\n"
                continue
            taken, waiting = waiting, None
            try:
                event = taken.result()
            except StopAsyncIteration:
                return
            except EventsLost as error:
                yield _frame("lost", {"message": error.message})
                continue
            except SchedulerError as error:
                # The history did not answer: the reader comes back with its last id.
                yield _frame("broken", {"message": error.message})
                return
            placed = placed or event.topic == names.AVAILABILITY
            if not event.topic.startswith(prefix):
                continue
            row = EventRow(**event._asdict()).model_dump(mode="json")
            name = event.topic.removeprefix(names.EVENTS)
            yield _frame(name, row, event_id(events.last_seq) if placed else None)
    finally:
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration, SchedulerError):
                await waiting
        events.end()
        ended(events)


def _frame(name: str, data: dict[str, Any], number: str | None = None) -> str:
    """One event. JSON keeps line ends out of `data`; a topic of the registry has none."""
    shown = json.dumps(data, separators=(",", ":"))
    return f"event: {name}\ndata: {shown}\n" + (f"id: {number}\n" if number is not None else "") + "\n"
