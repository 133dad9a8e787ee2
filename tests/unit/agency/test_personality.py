"""`agency.personality_evolution`: slow, bounded, checked, reversible."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from aico_sched.data.source import Change
from aico_sched.tasks.agency.personality_evolution import INFLUENCES, PersonalityEvolution
from aico_sched.tasks.agency.traits import DriftRules, Evidence, Trait, drifted, picture, violations
from aico_sched.testing import MemorySource, TaskRun, run_task

RULES = DriftRules(0.05, 0.03, 0.2, (("humor", "formality"),), 1.5, INFLUENCES)
unit = st.floats(0, 1)


def source(*interactions: tuple[str, str, float], humor: float = 0.5, formality: float = 0.5) -> MemorySource:
    traits = [
        {"name": name, "value": value, "baseline": value, "updated_at": None}
        for name, value in (("humor", humor), ("formality", formality), ("warmth", 0.6))
    ]
    rows = [{"timestamp": at, "kind": kind, "feedback": feedback} for at, kind, feedback in interactions]
    return MemorySource(personality_traits=traits, interactions=rows)


async def evolve(data: MemorySource, folder: Path, month: int = 6, **config: Any) -> TaskRun:
    slot = datetime(2026, month, 1, 3, tzinfo=UTC)
    run = await run_task(PersonalityEvolution, config, data=data, data_dir=folder, scheduled_for=slot)
    assert run.result is not None, run.error
    return run


def values(data: MemorySource) -> dict[str, float]:
    return {row["name"]: row["value"] for row in data.tables["personality_traits"]}


LIKED = [("2026-05-10T12:00:00Z", "joke", 1.0)] * 60


async def test_traits_follow_the_month_before_once_and_keep_their_history(tmp_path: Path) -> None:
    data = source(*LIKED, ("2026-04-01T00:00:00Z", "comfort", 1.0))
    run = await evolve(data, tmp_path)
    assert run.result is not None and run.result.data["signals"] == {"humor": 60, "formality": 60}
    assert 0.5 < values(data)["humor"] <= 0.53 and values(data)["formality"] < 0.5
    assert values(data)["warmth"] == 0.6
    history = data.tables["personality_trait_history"]
    assert {(row["trait"], row["before"]) for row in history} == {("humor", 0.5), ("formality", 0.5), ("warmth", 0.6)}
    before = values(data)
    again = await evolve(data, tmp_path)
    assert again.result is not None and again.result.skipped and values(data) == before


async def test_years_of_applause_stay_within_the_bounds(tmp_path: Path) -> None:
    data = source()
    for month in range(2, 13):
        applause = [
            {"id": month * 1_000 + n, "timestamp": f"2026-{month - 1:02}-10T00:00:00Z", "kind": "joke", "feedback": 9.0}
            for n in range(500)
        ]
        data.tables["interactions"] = applause
        run = await evolve(data, tmp_path, month)
        assert run.result is not None and run.result.success, run.result
    assert values(data)["humor"] == 0.7


async def test_a_violation_is_rolled_back_by_itself(tmp_path: Path) -> None:
    data = source(*LIKED, humor=0.8, formality=0.7)
    before = values(data)
    run = await evolve(data, tmp_path, opposites_limit=1.51, influences={"joke": {"humor": 1.0}})
    assert run.result is not None and not run.result.success and run.result.data["rolled_back"]
    assert "humor and formality together" in run.result.message
    assert values(data) == before
    assert {row["reason"] for row in data.tables["personality_trait_history"]} == {"drift", "rolled back"}


async def test_what_a_killed_run_left_is_rolled_back_by_the_next(tmp_path: Path) -> None:
    data = source(*LIKED)
    await evolve(data, tmp_path)
    broken = [{**row, "value": 0.95} for row in data.tables["personality_traits"] if row["name"] == "warmth"]
    from aico_sched.data.source import Table

    await data.write([Change(Table("personality_traits"), broken, key="name")])
    run = await evolve(data, tmp_path)
    assert run.result is not None and run.result.data["rolled_back"]
    assert values(data) == {"humor": 0.5, "formality": 0.5, "warmth": 0.6}


async def test_dry_run_and_missing_tables_change_nothing(tmp_path: Path) -> None:
    data = source(*LIKED)
    before = values(data)
    run = await evolve(data, tmp_path, dry_run=True)
    assert run.result is not None and run.result.data["steps"]["humor"] > 0 and values(data) == before
    none = await evolve(MemorySource(), tmp_path / "b")
    assert none.result is not None and none.result.skipped


async def test_a_picture_of_the_history(tmp_path: Path) -> None:
    data = source(*LIKED)
    none = await evolve(data, tmp_path, picture=True)
    assert none.result is not None and none.result.skipped
    await evolve(data, tmp_path)
    drawn = await evolve(data, tmp_path, picture=True)
    assert drawn.result is not None
    root = ElementTree.fromstring(Path(drawn.result.data["picture"]).read_text())
    assert len(root.findall("{*}polyline")) == 3


@given(unit, unit, st.integers(0, 10_000), st.floats(-1, 1))
def test_no_step_is_longer_than_the_rules_allow(value: float, baseline: float, count: int, mean: float) -> None:
    low, high = max(0.0, baseline - RULES.max_total), min(1.0, baseline + RULES.max_total)
    before = Trait("x", round(min(high, max(low, value)), 6), baseline)
    after = drifted(before, Evidence(count, count * mean), RULES)
    assert violations([after], {"x": before.value}, RULES) == []


@given(st.dictionaries(st.text(max_size=8), st.lists(st.tuples(st.just("2026-01"), unit), min_size=1), max_size=4))
def test_any_history_makes_a_well_formed_picture(history: dict[str, list[tuple[str, float]]]) -> None:
    printable = {"".join(c for c in name if c.isprintable()): points for name, points in history.items()}
    ElementTree.fromstring(picture(printable))
