"""The real service, from the client to the database, through a week in which Europe's clocks change.

60 schedules; every fire is checked against an independent oracle, and a restart lies in the middle of the week. For the
year of 1,000 schedules see `test_year.py`.
"""

import random
import time
from pathlib import Path

from aico_sched.schedule import parse_rfc3339
from aico_sched.testing import Simulation
from tests.simulation.test_year import ZONES
from tests.support.oracle import fires, us_of
from tests.support.simulated import DAY, at, executions


def schedules() -> list[str]:
    source = random.Random(7)
    found = ["*/30 1-4 * * *", "interval:3600", "at:2026-03-29T02:30:00+01:00", "0 */6 * * *"]
    for _ in range(56):
        minute, hour = source.randrange(60), source.randrange(24)
        found.append(source.choice((f"{minute} {hour} * * *", f"{minute} 2 * * *", f"{minute} {hour} * * SUN,WED")))
    return found


async def test_a_week_of_the_real_service(tmp_path: Path) -> None:
    started, total = time.perf_counter(), 0
    async with Simulation(tmp_path / "data", start=at("2026-03-25 00:00"), scheduler__cache_size=20) as simulation:
        anchor = us_of(simulation.clock.now)
        wanted = {}
        for number, schedule in enumerate(schedules()):
            zone = ZONES[number % len(ZONES)]
            await simulation.client.create(f"user.t{number}", schedule, task_class="demo.echo", timezone=zone)
            wanted[f"user.t{number}"] = (schedule, zone)
        await simulation.clock.advance(3.3 * DAY)
        await simulation.restart(down=30)
        await simulation.clock.advance(3.7 * DAY)
        end = us_of(simulation.clock.now)
        for task_id, (schedule, zone) in wanted.items():
            rows = await executions(simulation, task_id)
            assert {row.status for row in rows} <= {"succeeded"}, (schedule, zone)
            expected = fires(schedule, zone, anchor, end, anchor)
            assert [parse_rfc3339(row.scheduled_for) for row in rows] == expected, (schedule, zone)
            total += len(expected)
    print(f"one week of the real service, 60 schedules, {total} fires checked in {time.perf_counter() - started:.1f} s")
