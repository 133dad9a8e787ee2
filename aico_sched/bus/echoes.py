"""Messages to oneself, by which an endpoint proves that it is connected both ways."""

import secrets
from collections.abc import Callable

from aico_sched.topics.codecs import Codec, write
from aico_sched.topics.envelope import MSGPACK, new_envelope
from aico_sched.topics.names import REPLY

ProbeBody = Callable[[str, str], bytes]
"""Called with (topic, name); the body of a probe message in the codec of the bus."""


def probe_body(codec: Codec) -> ProbeBody:
    """Makes the bodies of probes on a bus that carries `codec`."""
    return lambda topic, name: write(topic, new_envelope(topic, name, {}), codec)


msgpack_probe = probe_body(MSGPACK)


class Echoes:
    """The probe topics of the client `name`: below its own replies, where only it may publish and listen."""

    def __init__(self, name: str) -> None:
        self._prefix = f"{REPLY}{name}.probe."
        self._heard: dict[str, bool] = {}

    def begin(self) -> str:
        """A fresh topic to listen for."""
        topic = self._prefix + secrets.token_hex(16)
        self._heard[topic] = False
        return topic

    def heard(self, topic: str) -> bool:
        return self._heard[topic]

    def end(self, topic: str) -> None:
        del self._heard[topic]

    def take(self, topic: str) -> bool:
        """Whether a message received on `topic` is a probe, maybe a late one, and none of the caller's business."""
        if not topic.startswith(self._prefix):
            return False
        if topic in self._heard:
            self._heard[topic] = True
        return True
