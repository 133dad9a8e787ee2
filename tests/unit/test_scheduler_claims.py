"""What the scheduler actor claims, looked at without its neighbours."""

from typing import Any

from aico_sched.actors.scheduler import SchedulerActor
from aico_sched.execution.breaker import BreakerRules
from aico_sched.quiet import QuietHours
from aico_sched.topics import names
from aico_sched.topics.internal import Capacity, DueLoaded, DueTask, Load, SlotsClaim
from tests.support.clock import START_US, FakeClock

HOUR = 3_600_000_000


class Sent:
    """The effects of an actor that nobody listens to."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []

    def send(self, topic: str, message: Any) -> None:
        self.messages.append((topic, message))

    def claims(self) -> list[SlotsClaim]:
        return [message for topic, message in self.messages if topic == names.SLOTS_CLAIM]


def make_scheduler() -> tuple[SchedulerActor, Sent]:
    actor = SchedulerActor(
        FakeClock(),
        timezone="UTC",
        cache_size=100,
        longest_sleep=60.0,
        priority_aging=60.0,
        groups={},
        first_claim_id=0,
        breaker=BreakerRules(),
        default_quiet=QuietHours.of_window("23:00-06:00", "UTC"),
    )
    sent = Sent()
    actor.effects = sent  # type: ignore[assignment]
    actor.capacity(Capacity(10, 0, 0, {}, True))
    actor.load(Load(1.0, 1.0, 0.0, True, ""))
    return actor, sent


def task(name: str) -> DueTask:
    return DueTask(name, 1, START_US, "interval:3600", "UTC", START_US - HOUR, 30, {}, 0)


def test_a_slot_that_was_claimed_while_the_store_was_asked_is_not_claimed_again() -> None:
    actor, sent = make_scheduler()
    actor._reload()
    actor.loaded(DueLoaded([task("user.a")], [], START_US + HOUR))
    # The question is asked, the claim goes after it, and the answer to the question is from before the claim.
    actor._reload()
    actor.take_input()
    actor.loaded(DueLoaded([task("user.a"), task("user.b")], [], START_US + HOUR))
    actor.take_input()
    assert [slot.task_id for claim in sent.claims() for slot in claim.slots] == ["user.a", "user.b"]
