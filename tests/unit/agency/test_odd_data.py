"""What the agency's tasks make of data that are not as described, of damaged notes, and of wrong settings."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aico_sched.tasks.agency import emotion_model
from aico_sched.tasks.agency.background_learning import BackgroundLearning
from aico_sched.tasks.agency.emotion_training import EmotionTraining
from aico_sched.tasks.agency.personality_evolution import PersonalityEvolution
from aico_sched.tasks.base import PermanentError
from aico_sched.tasks.configuration import bind_config
from aico_sched.tasks.errors import InvalidTaskConfig
from aico_sched.testing import MemorySource, TaskRun, VirtualClock, run_task
from tests.unit.agency.test_emotion_training import samples, train

JUNE = datetime(2026, 6, 1, 3, tzinfo=UTC)
NOBODY: list[Any] = []


async def evolve(traits: list[dict[str, Any]], interactions: list[dict[str, Any]], folder: Path) -> TaskRun:
    traits = [{"updated_at": None, **trait} for trait in traits]
    source = MemorySource(personality_traits=traits, interactions=interactions, personality_trait_history=[])
    return await run_task(PersonalityEvolution, data=source, data_dir=folder, scheduled_for=JUNE)


@pytest.mark.parametrize("odd", [None, "much", float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["value", "baseline"])
async def test_a_trait_without_numbers_is_named_and_nothing_moves(tmp_path: Path, odd: Any, column: str) -> None:
    trait = {"name": "humor", "value": 0.5, "baseline": 0.5} | {column: odd}
    run = await evolve([trait], NOBODY, tmp_path)
    assert isinstance(run.error, PermanentError) and "'humor'" in str(run.error)


async def test_feedback_that_is_no_number_is_no_signal(tmp_path: Path) -> None:
    told = [{"timestamp": "2026-05-02T00:00:00Z", "kind": kind, "feedback": feedback}
            for kind, feedback in (("joke", "great"), (None, 1.0), ("joke", float("nan")), ("joke", 1.0))]  # fmt: skip
    run = await evolve([{"name": "humor", "value": 0.5, "baseline": 0.5}], told, tmp_path)
    assert run.result is not None, run.error
    assert run.result.data["signals"]["humor"] == 1


async def test_activity_goes_on_after_the_table_was_made_anew(tmp_path: Path) -> None:
    clock = VirtualClock(datetime(2026, 5, 2, tzinfo=UTC))
    config = {"timezone": "UTC", "cpu_share": 1.0}

    async def learn(count: int, day: int) -> int:
        stamp = f"2026-05-{day:02}T0"
        rows = [{"timestamp": f"{stamp}{n % 9}:00:00Z", "topic": "user.x"} for n in range(count)]
        source = MemorySource(events=rows, task_executions=[])
        run = await clock.until(run_task(BackgroundLearning, config, clock, data=source, data_dir=tmp_path))
        assert run.result is not None, run.error
        read: int = run.result.data["activity_rows"]
        return read

    assert await learn(20, 1) == 20
    assert await learn(20, 1) == 0
    await clock.advance(86_400)
    assert await learn(5, 2) == 5
    assert await learn(0, 2) == await learn(0, 2) == 0


async def test_runs_with_odd_times_and_costs_are_passed_over(tmp_path: Path) -> None:
    rows = [
        {"task_id": "a", "status": "running", "started_at": "soon", "duration_seconds": None},
        {"task_id": "a", "status": "succeeded", "started_at": "2026-05-01T00:00:00Z", "duration_seconds": "long"},
        {"task_id": "a", "status": "running", "started_at": "2026-05-01T00:00:00", "duration_seconds": None},
        {"task_id": "a", "status": "succeeded", "started_at": "2026-05-01T00:00:00Z", "duration_seconds": 2.0},
    ]
    source = MemorySource(events=[], task_executions=rows)
    run = await run_task(BackgroundLearning, {"cpu_share": 1.0}, data=source, data_dir=tmp_path)
    assert run.result is not None, run.error
    assert run.result.data["executions"] == 1


async def test_features_that_are_no_numbers_are_unusable_and_keep_nobody_from_learning(tmp_path: Path) -> None:
    odd = ["[NaN, 1]", "[1e999]", f"[{10**400}]", "[" * 5_000, "{}", '"x"', "7", "nonsense", "[null]", "[[1]]"]
    rows = samples(200, 1) + [{"label": "joy", "face": text, "voice": None, "text": None} for text in odd]
    run = await train(tmp_path, rows)
    assert run.result is not None and run.result.data["promoted"] and run.result.data["unusable"] >= len(odd) - 1


@pytest.mark.parametrize("damage", ["note", "model", "gone"])
async def test_a_damaged_model_is_replaced_by_the_next(tmp_path: Path, damage: str) -> None:
    await train(tmp_path, samples(200, 1))
    folder = tmp_path / "models"
    (model,) = folder.glob("v*.npz")
    if damage == "gone":
        model.unlink()
    else:
        (folder / "current.json" if damage == "note" else model).write_text("{")
    again = await train(tmp_path, samples(200, 2))
    assert again.result is not None and again.result.data["promoted"], again
    assert emotion_model.EmotionModel.current(folder) is not None


async def test_a_roll_back_is_told_before_it_is_done_and_never_to_a_version_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    await train(tmp_path, samples(200, 1))
    await train(tmp_path, samples(2_000, 1))
    assert emotion_model.current_version(folder) == 2
    dry = await train(tmp_path, [], rollback=True, dry_run=True)
    assert dry.result is not None and dry.result.message == "version 1 would be in use again"
    assert emotion_model.current_version(folder) == 2 and dry.published == []
    (folder / "v0001.npz").unlink()
    done = await train(tmp_path, [], rollback=True)
    assert done.result is not None and done.result.skipped
    assert json.loads((folder / "current.json").read_text())["version"] == 2


@pytest.mark.parametrize("zone", ["Nowhere/Town", "", "../etc/passwd", "Europe"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(InvalidTaskConfig, match="is no IANA time zone"):
        bind_config(BackgroundLearning, {"timezone": zone})


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        (EmotionTraining, {"min_samples": 1}),
        (EmotionTraining, {"table": 7}),
        (PersonalityEvolution, {"rate": 0}),
        (PersonalityEvolution, {"influences": {"joke": {"humor": "much"}}}),
        (BackgroundLearning, {"cpu_share": 0}),
        (BackgroundLearning, {"min_days": 1}),
    ],
)
def test_settings_out_of_range_are_refused(task: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidTaskConfig):
        bind_config(task, wrong)
