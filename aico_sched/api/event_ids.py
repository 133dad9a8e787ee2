"""The id of a server-sent event: how far the reader is in every topic, since events are numbered per topic."""

import re
from collections.abc import Mapping
from typing import Final

from aico_sched.client.errors import refusal
from aico_sched.topics import names
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.registry import EVENTS

_MAX_CHARS: Final = 4_096
_PART: Final = re.compile(r"([a-z._]{1,60})=(\d{1,18})")
_DURABLE: Final = tuple(topic for topic, event in EVENTS.items() if event.durable)


def event_id(seq: Mapping[str, int]) -> str:
    """`execution.started=12;task.created=3`: the number of the last event of each topic."""
    return ";".join(f"{topic.removeprefix(names.EVENTS)}={number}" for topic, number in sorted(seq.items()))


def parse_event_id(text: str) -> dict[str, int]:
    """What `event_id` was made of, and 0 for each topic it does not name: none of its events were there then. Raises
    `InvalidMessage`."""
    parts = [_PART.fullmatch(part) for part in text.split(";")] if len(text) <= _MAX_CHARS else [None]
    found: dict[str, int] = dict.fromkeys(_DURABLE, 0)
    for part in parts:
        topic = None if part is None else names.EVENTS + part[1]
        if part is None or topic not in found:
            message = "Last-Event-ID is not an id of this stream; without it the stream begins now"
            raise refusal(ErrorCode.INVALID_MESSAGE, message, {"field": "Last-Event-ID"})
        found[topic] = int(part[2])
    return found
