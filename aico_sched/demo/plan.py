"""What the demo does, when, and what has to come of it."""

from typing import Final, NamedTuple

PREFIX: Final = "user.demo."
"""Of the ids of the demo's own tasks; the service's system tasks may run beside them."""

CUSTOMER: Final = "customer"
"""Key of the client process, whose role is operator."""

OBSERVER: Final = "watcher"
"""Key of the bare process, whose role is observer."""

MINUTE_IN: Final = 9.0
"""Seconds from the start of the demo to the full minute at which the cron task is due."""

ONCE_IN: Final = 3.0
"""Seconds from its creation to the moment of the one-time task."""

DEADLINE: Final = 16.0
"""Seconds from the start of the demo after which what has not run or arrived counts as missing. Ending the
processes takes its time too, and all has to be over within 20 s."""

HARD_LIMIT: Final = 18.0
"""Seconds from the start of the demo after which it is broken off wherever it is."""


class Planned(NamedTuple):
    """One task of the demo: at least `runs` executions have to succeed. An `at` schedule is completed when the task
    is created."""

    task_id: str
    schedule: str
    task_class: str
    config: dict[str, float]
    runs: int


TASKS: Final = (
    Planned(f"{PREFIX}interval", "interval:1", "demo.echo", {"every": 1}, 6),
    Planned(f"{PREFIX}once", "at:", "demo.sleep", {"seconds": 0.4, "steps": 2}, 1),
    Planned(f"{PREFIX}cron", "* * * * *", "demo.echo", {"every": 60}, 1),
)
