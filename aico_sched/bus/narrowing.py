"""What the broker applies for a subscription in place of the prefix that was asked for. Pure.

`scheduler.event.list` is a command whose name lies among the events, and ZeroMQ filters by prefix: who listens to
`scheduler.event.` would hear what others ask. So that prefix is applied as all its continuations but the command's.
"""

from typing import Final

from aico_sched.topics import names

_ALPHABET: Final = b"abcdefghijklmnopqrstuvwxyz0123456789_-"
_EVENTS: Final = names.EVENTS.encode()
_COMMAND: Final = names.EVENT_LIST.encode()
_INSTEAD: Final = tuple(
    _COMMAND[:length] + bytes([letter])
    for length in range(len(_EVENTS), len(_COMMAND))
    for letter in _ALPHABET
    if letter != _COMMAND[length]
)


def narrowed(prefix: bytes) -> tuple[bytes, ...]:
    """The prefixes that stand for `prefix` where the subscriber is not to hear commands: together they match every
    event that `prefix` matches, and no command. The broker's rules allow no shorter prefix that holds the command."""
    if prefix == _EVENTS:
        return _INSTEAD
    if _COMMAND.startswith(prefix) and len(prefix) > len(_EVENTS):
        return tuple(other for other in _INSTEAD if other.startswith(prefix))
    if prefix.startswith(_COMMAND):
        return ()
    return (prefix,)
