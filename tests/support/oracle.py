"""When schedules fire, by code that is not ours: cronsim for cron, arithmetic for intervals."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000


def us_of(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def fires(schedule: str, zone: str, start_us: int, end_us: int, anchor_us: int) -> list[int]:
    """Every fire in (start, end], microseconds since the epoch."""
    if schedule.startswith("interval:"):
        step = round(float(schedule.partition(":")[2]) * SECOND)
        first = anchor_us + ((start_us - anchor_us) // step + 1) * step
        return list(range(first, end_us + 1, step))
    if schedule.startswith("at:"):
        moment = us_of(datetime.fromisoformat(schedule.removeprefix("at:")))
        return [moment] if start_us < moment <= end_us else []
    found = []
    for local in CronSim(schedule, (EPOCH + timedelta(microseconds=start_us)).astimezone(ZoneInfo(zone))):
        us = us_of(local.astimezone(UTC))
        if us > end_us:
            break
        found.append(us)
    return found
