"""Where a bus is: the two endpoints of its broker, and the short form people write, `tcp://HOST:PUB,SUB`."""

import re
from typing import NamedTuple, Self

_SHORT = re.compile(
    r"tcp://(?P<host>\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s:,/\[\]]+):(?P<publish>\d{1,5}),(?P<subscribe>\d{1,5})"
)
_ENDPOINT = re.compile(r"tcp://(?P<host>\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s:,/\[\]]+):(?P<port>\d{1,5})")


class InvalidBusAddress(ValueError):
    """A text that does not say where a bus is."""

    def __init__(self, text: str, problem: str) -> None:
        super().__init__(
            f"{text[:200]!r} is not a bus address: {problem}; write tcp://HOST:PUBLISH_PORT,SUBSCRIBE_PORT"
        )
        self.text = text


class BusAddress(NamedTuple):
    """`publish` is the endpoint that senders connect to (the broker's XSUB), `subscribe` the one that listeners
    connect to (its XPUB); both `tcp://HOST:PORT`."""

    publish: str
    subscribe: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `tcp://HOST:PUB,SUB`; an IPv6 host stands in brackets. Raises `InvalidBusAddress`."""
        match = _SHORT.fullmatch(text.strip())
        if match is None:
            raise InvalidBusAddress(text, "it has another form")
        for port in (match["publish"], match["subscribe"]):
            _check_port(text, port)
        if match["publish"] == match["subscribe"]:
            raise InvalidBusAddress(text, "the two ports are the same")
        host = match["host"]
        return cls(f"tcp://{host}:{int(match['publish'])}", f"tcp://{host}:{int(match['subscribe'])}")

    @classmethod
    def of(cls, publish: str, subscribe: str) -> Self:
        """From two endpoints `tcp://HOST:PORT`, which may be on different hosts. Raises `InvalidBusAddress`."""
        for endpoint in (publish, subscribe):
            match = _ENDPOINT.fullmatch(endpoint)
            if match is None:
                raise InvalidBusAddress(endpoint, "an endpoint is tcp://HOST:PORT")
            _check_port(endpoint, match["port"])
        return cls(publish, subscribe)

    def format(self) -> str:
        """The short form where both endpoints have one host, else both endpoints in full."""
        host, _, publish = self.publish.rpartition(":")
        other, _, subscribe = self.subscribe.rpartition(":")
        return f"{host}:{publish},{subscribe}" if host == other else f"{self.publish} {self.subscribe}"

    def __str__(self) -> str:
        return self.format()


def _check_port(text: str, port: str) -> None:
    if not 1 <= int(port) <= 65_535:
        raise InvalidBusAddress(text, f"{port} is not a port")
