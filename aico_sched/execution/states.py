"""The life of an execution, as data.

queued     waits for its time or for the run before it   → running (claimed), cancelled;
           skipped or dead, when it was put off for longer than its task bears
running    its claim is durable, the executor has it     → any of the below
retrying   failed, waits for its next attempt            → running (claimed), cancelled, dead
succeeded, dead, cancelled, skipped, missed, interrupted are final; `dead` and `interrupted` can be revived.
"""

from typing import Final

from aico_sched.topics import names

ACTIVE: Final = frozenset({"queued", "running", "retrying"})
FINAL: Final = frozenset({"succeeded", "dead", "cancelled", "skipped", "missed", "interrupted"})

TRANSITIONS: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("queued", "running"),
        ("queued", "cancelled"),
        ("queued", "skipped"),
        ("queued", "dead"),
        ("retrying", "running"),
        ("retrying", "cancelled"),
        ("retrying", "dead"),
        ("running", "succeeded"),
        ("running", "retrying"),
        ("running", "dead"),
        ("running", "cancelled"),
        ("running", "interrupted"),
        ("running", "queued"),
        ("interrupted", "queued"),
        ("dead", "queued"),
    }
)
"""Every move there is; the SQL that makes one names the state it starts from."""

OUTCOME_EVENTS: Final[dict[str, str]] = {
    "succeeded": names.EXECUTION_SUCCEEDED,
    "failed": names.EXECUTION_FAILED,
    "timed_out": names.EXECUTION_TIMED_OUT,
    "cancelled": names.EXECUTION_CANCELLED,
    "interrupted": names.EXECUTION_INTERRUPTED,
}
"""What is published for each outcome of an attempt."""


def status_after(outcome: str, *, retry: bool, attempts_left: bool, delivery: str, lost: bool = False) -> str:
    """The status of an execution after an attempt with `outcome`.

    An interrupted run goes again when it was promised at least once and has attempts left; who counts them
    sees to it that a task which takes the process down with it does not do so for ever. What was `lost` (its process
    or worker is gone, nobody knows how far it came) is not tried again when it was promised at most once.
    """
    if outcome in ("succeeded", "cancelled"):
        return outcome
    if outcome == "interrupted":
        if delivery == "at_most_once":
            return "interrupted"
        return "queued" if attempts_left else "dead"
    return "retrying" if retry and not (lost and delivery == "at_most_once") else "dead"
