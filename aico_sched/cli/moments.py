"""Times as people type them: in their own zone unless they name another."""

from datetime import UTC, datetime

from aico_sched.cli.errors import usage


def moment(text: str, option: str) -> str:
    """The RFC 3339 time in UTC that `text` names: a day (its midnight), a day and a time, or RFC 3339. Without an
    offset it is in the user's own zone, as every command shows times. Raises a usage failure that names `option`.

    A time that the clock shows twice is the first of the two; one that it leaves out is what it shows an hour later.
    """
    try:
        # By way of the timestamp, since `astimezone` moves a time that the clock leaves out back instead of on.
        found = datetime.fromtimestamp(datetime.fromisoformat(text.strip()).timestamp(), UTC)
    except (ValueError, OverflowError, OSError):
        examples = "2026-03-29, '2026-03-29 01:30' or 2026-03-29T01:30:00Z"
        raise usage(f"--{option} takes a time such as {examples}, not {text!r}", option=option) from None
    return rfc3339(found)


def rfc3339(moment: datetime) -> str:
    """An aware time as the contract has it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
