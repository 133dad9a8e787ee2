"""Frames that are nearly right: valid commands in both codecs, damaged in their bytes or in what they say."""

import random
from collections.abc import Callable
from typing import Any, Final

import msgpack

from aico_sched.topics import aico, codecs, names
from aico_sched.topics.envelope import Envelope, new_envelope
from aico_sched.topics.examples import COMMAND_EXAMPLES, TASK

Frame = tuple[str, bytes]

# One slot: whole months of runs would be honest work, not fuzzing.
_SLOT: Final = {"task_id": TASK, "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:30Z"}
_LONG: Final = (
    names.REGISTRY_RELOAD,
    names.STORE_CHECK,
    names.STORE_VACUUM,
    names.STORE_BACKUP,
    names.STORE_REKEY,
)
EXAMPLES: Final = COMMAND_EXAMPLES | {names.TASK_BACKFILL: _SLOT}

ODD_VALUES: Final[list[Callable[[random.Random], Any]]] = [
    lambda draw: None,
    lambda draw: draw.choice([True, False, 0, -1, 1.5, float("nan"), float("inf"), 2**53, 2**63, -(2**63)]),
    lambda draw: "x" * draw.choice([0, 1, 129, 70_000]),
    lambda draw: draw.choice(["", "\0", "\ud7ff", "a.b", "../../etc", "user.a' OR 1=1 --", "🦆" * 30, "0 0 31 2 *"]),
    lambda draw: [[]] * draw.choice([0, 3, 1_001]),
    lambda draw: {str(number): number for number in range(draw.choice([0, 3, 1_001]))},
    lambda draw: nested(draw.choice([3, 15, 17, 90])),
    lambda draw: draw.randbytes(draw.choice([0, 5, 70_000])),
]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"x": value}
    return value


class Fuzzer:
    """Endless frames, the same ones for one `seed`. `source` is whose messages they pretend to be."""

    def __init__(self, seed: int, source: str) -> None:
        self._draw = random.Random(seed)
        self._source = source
        # Scanning the disk for task classes, or working on the whole database, takes longer than a thousand refusals.
        self._topics = [topic for topic in EXAMPLES if topic not in _LONG]

    def frame(self) -> Frame:
        draw = self._draw
        topic = draw.choice(self._topics)
        envelope = new_envelope(topic, self._source, dict(EXAMPLES[topic]), attributes={"reply_to": self.reply_to()})
        codec = draw.choice(("msgpack", "aico"))
        if draw.random() < 0.5:
            body = self._encode(self._oddly(envelope), codec)
        else:
            body = codecs.write(topic, envelope, codec)
        if draw.random() < 0.6:
            body = self._damaged(body)
        if draw.random() < 0.05:
            topic = self._other_topic(topic)
        return topic, body

    def reply_to(self) -> str:
        return f"{names.REPLY}{self._source}.fuzz"

    def _oddly(self, envelope: Envelope) -> dict[str, Any]:
        """The envelope as a map with something odd in it, or missing, or too much."""
        draw = self._draw
        raw: dict[str, Any] = {**envelope._asdict(), "payload": dict(envelope.payload)}
        target: dict[str, Any] = raw["payload"] if draw.random() < 0.6 else raw
        names_in = [*target, "unknown"]
        for _ in range(draw.randrange(1, 3)):
            name = draw.choice(names_in)
            if draw.random() < 0.2:
                target.pop(name, None)
            elif name != "source" or draw.random() < 0.1:
                target[name] = draw.choice(ODD_VALUES)(draw)
        return raw

    def _encode(self, raw: dict[str, Any], codec: str) -> bytes:
        if codec == "aico":
            try:
                return aico.encode(Envelope(**raw))
            except (TypeError, ValueError, AttributeError, OverflowError):
                pass
        try:
            return bytes(msgpack.packb(raw))
        except (ValueError, OverflowError):
            return bytes(msgpack.packb({**raw, "payload": {}}))

    def _damaged(self, body: bytes) -> bytes:
        draw = self._draw
        content = bytearray(body)
        for _ in range(draw.randrange(1, 6)):
            place = draw.randrange(len(content) + 1)
            kind = draw.randrange(6)
            if kind == 0 and place < len(content):
                content[place] ^= 1 << draw.randrange(8)
            elif kind == 1 and place < len(content):
                content[place] = draw.choice((0, 0x7F, 0x80, 0xC1, 0xD4, 0xDD, 0xDF, 0xFF))
            elif kind == 2:
                del content[place : place + draw.randrange(1, 30)]
            elif kind == 3:
                content[place:place] = draw.randbytes(draw.randrange(1, 30))
            elif kind == 4:
                content[place:place] = content[place : place + draw.randrange(1, 60)]
            elif kind == 5:
                del content[place:]
        return bytes(content)

    def _other_topic(self, topic: str) -> str:
        draw = self._draw
        return draw.choice([topic[:-1], topic + ".x", "scheduler.", names.STOP, names.TASK_CREATED, "a" * 300, "\x01"])
