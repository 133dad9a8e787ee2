"""A subscription to events is not one to the command that lists them."""

from hypothesis import given
from hypothesis import strategies as st

from aico_sched.bus.narrowing import narrowed
from aico_sched.topics import names
from aico_sched.topics.registry import COMMANDS, EVENTS

COMMAND = names.EVENT_LIST.encode()
EVENT_NAMES = st.from_regex(r"scheduler\.event\.[a-z0-9_-]+(\.[a-z0-9_-]+)*", fullmatch=True).filter(
    # Who hears a beginning of the command's own topic hears the command; no event is named so.
    lambda topic: not topic.startswith(names.EVENT_LIST) and not names.EVENT_LIST.startswith(topic)
)


def heard(prefix: str, topic: str) -> bool:
    return topic.encode().startswith(narrowed(prefix.encode()))


@given(EVENT_NAMES | st.sampled_from(sorted(EVENTS)), st.integers(0, 30))
def test_every_event_is_heard_that_the_prefix_matches(topic: str, length: int) -> None:
    prefix = topic[: len(names.EVENTS) + length]
    assert heard(prefix, topic)


@given(st.integers(0, 40), st.text(max_size=5))
def test_the_command_never_is(length: int, tail: str) -> None:
    prefix = (names.EVENT_LIST + tail)[: len(names.EVENTS) + length]
    for topic in (names.EVENT_LIST, names.EVENT_LIST + tail, names.EVENT_LIST + ".x"):
        assert not heard(prefix, topic)
    assert not [topic for topic in COMMANDS if heard(names.EVENTS, topic)]


def test_other_prefixes_are_as_they_are() -> None:
    for prefix in (b"", b"scheduler.", b"scheduler.reply.bob.1", b"scheduler.event.task.", b"other."):
        assert narrowed(prefix) == (prefix,)
    assert 100 < len(narrowed(names.EVENTS.encode())) < 200
