"""`scheduler.schedule.explain` and `aico-sched next` say the same, and what they say comes true."""

import pytest
from typer.testing import CliRunner

from aico_sched.cli.app import app
from aico_sched.client.errors import InvalidSchedule
from aico_sched.schedule import format_rfc3339, parse_rfc3339
from aico_sched.testing import Simulation
from tests.integration.time.conftest import Simulate
from tests.support.simulated import DAY, at, slots

AFTER = "2026-03-28T00:00:00Z"


def said_by_the_command_line(schedule: str, zone: str, count: int = 5) -> str:
    result = CliRunner().invoke(app, ["next", schedule, "--tz", zone, "--after", AFTER, "-n", str(count)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("schedule", "zone", "description", "note", "warning"),
    [
        ("30 2 * * *", "Europe/Berlin", "At 02:30", "02:30 does not exist, runs once at 03:00", None),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "between 02:00 and 02:59",
            "02:00 to 02:30 do not exist and are skipped",
            None,
        ),
        ("*/7 * * * *", "UTC", "Every 7 minutes", None, "uneven"),
        ("*/90 * * * *", "UTC", "", None, "acts as 0"),
        ("5/15 * * * *", "UTC", "", None, "not portable"),
        ("0 9 * * MON-FRI", "America/New_York", "Monday through Friday", None, None),
        ("@daily", "Asia/Tokyo", "00:00", None, None),
        ("interval:90", "UTC", "90", None, None),
        ("at:2026-05-01T00:00:00Z", "UTC", "2026", None, None),
    ],
)
async def test_service_and_command_line_agree(
    simulation: Simulation, schedule: str, zone: str, description: str, note: str | None, warning: str | None
) -> None:
    view = await simulation.client.explain(schedule, timezone=zone, after=AFTER, count=5)
    text = " ".join(said_by_the_command_line(schedule, zone).split())
    assert description.lower() in view.description.lower()
    assert view.timezone == zone
    for part in (view.description, zone, *view.next, *view.notes, *view.warnings):
        assert " ".join(part.split()) in text
    assert note is None or any(note in found for found in view.notes), view.notes
    assert warning is None or any(warning in found for found in view.warnings), view.warnings
    assert (note is None) <= (not view.notes)


async def test_an_overlap_is_told_too(simulation: Simulation) -> None:
    for schedule, words in (
        ("30 2 * * *", "comes twice, runs the first time only"),
        ("*/30 2 * * *", "runs both times"),
    ):
        view = await simulation.client.explain(
            schedule, timezone="Europe/Berlin", after="2026-10-24T12:00:00Z", count=4
        )
        assert any(words in note for note in view.notes), view.notes


@pytest.mark.parametrize(
    ("schedule", "part", "text", "suggestion"),
    [
        ("61 * * * *", "minute", "61", "0"),
        ("0 25 * * *", "hour", "25", "23"),
        ("0 0 * JANUARY *", "month", "JANUARY", "JAN"),
        ("0 0 30 2 *", "day-of-month", "30 2 *", "length"),
        ("0 0 * * * *", "expression", "0 0 * * * *", "five fields"),
        ("interval:abc", "interval", "abc", "interval:5"),
        ("at:2026-01-01T00:00:00", "at", "2026-01-01T00:00:00", ""),
        ("@dayly", "expression", "@dayly", "@daily"),
    ],
)
async def test_a_bad_expression_is_answered_with_field_text_and_suggestion(
    simulation: Simulation, schedule: str, part: str, text: str, suggestion: str
) -> None:
    with pytest.raises(InvalidSchedule) as explained:
        await simulation.client.explain(schedule, timezone="UTC")
    with pytest.raises(InvalidSchedule) as created:
        await simulation.client.create("user.x", schedule, task_class="demo.echo")
    for caught in (explained, created):
        details = caught.value.details
        assert (details["part"], details["text"]) == (part, text)
        assert suggestion in str(details["suggestion"])
    printed = CliRunner().invoke(app, ["next", schedule])
    assert printed.exit_code != 0
    assert str(created.value.details["suggestion"]) in " ".join(printed.output.split())


async def test_a_warning_comes_with_the_answer_to_create(simulation: Simulation) -> None:
    view = await simulation.client.create("user.x", "*/7 * * * *", task_class="demo.echo")
    assert any("uneven" in warning for warning in view.warnings)


async def test_what_is_explained_comes_true(simulate: Simulate) -> None:
    async with simulate(start=at("2026-10-24 00:00")) as simulation:
        for number, schedule in enumerate(("0 */3 * * *", "30 2 * * *", "15 1-4 * * SUN")):
            await simulation.client.create(
                f"user.t{number}", schedule, task_class="demo.echo", timezone="Europe/Berlin"
            )
        foretold = [
            await simulation.client.explain(schedule, timezone="Europe/Berlin", count=40)
            for schedule in ("0 */3 * * *", "30 2 * * *", "15 1-4 * * SUN")
        ]
        await simulation.clock.advance(3 * DAY)
        for number, view in enumerate(foretold):
            expected = [format_rfc3339(parse_rfc3339(moment)) for moment in view.next]
            found = await slots(simulation, f"user.t{number}", "succeeded")
            assert found == expected[: len(found)]
            assert len(found) >= 3
