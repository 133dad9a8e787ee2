"""The short form of a bus address."""

import pytest

from aico_sched.bus.address import BusAddress, InvalidBusAddress


@pytest.mark.parametrize(
    ("text", "publish", "subscribe"),
    [
        ("tcp://127.0.0.1:5555,5556", "tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556"),
        ("  tcp://bus.example:1,65535 ", "tcp://bus.example:1", "tcp://bus.example:65535"),
        ("tcp://[::1]:5555,5556", "tcp://[::1]:5555", "tcp://[::1]:5556"),
    ],
)
def test_parse_and_format_are_inverse(text: str, publish: str, subscribe: str) -> None:
    address = BusAddress.parse(text)
    assert address == (publish, subscribe)
    assert address.format() == str(address) == text.strip()
    assert BusAddress.of(publish, subscribe) == address


def test_two_hosts_are_shown_in_full() -> None:
    assert BusAddress.of("tcp://a:1", "tcp://b:2").format() == "tcp://a:1 tcp://b:2"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:5555,5556",
        "tcp://h:5555",
        "tcp://h:0,1",
        "tcp://h:1,65536",
        "tcp://h:7,7",
        "tcp://:1,2",
        "tcp://::1:1,2",
        "ipc://x:1,2",
        "tcp://h:1,2,3",
        "tcp://h h:1,2",
        "tcp://h:a,b",
    ],
)
def test_anything_else_is_refused_with_the_form_to_use(text: str) -> None:
    with pytest.raises(InvalidBusAddress, match="tcp://HOST:PUBLISH_PORT,SUBSCRIBE_PORT"):
        BusAddress.parse(text)


@pytest.mark.parametrize("endpoint", ["tcp://h", "tcp://h:0", "inproc://x", "tcp://h:1,2"])
def test_endpoints_are_checked(endpoint: str) -> None:
    with pytest.raises(InvalidBusAddress):
        BusAddress.of("tcp://h:1", endpoint)
