"""The agency's tasks on a real encrypted database that AICO has open too: what they write, and how little they hold up
the loop. The full sizes: `tests/benchmarks/bench_tasks.py`."""

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aico_sched.data.database import open_database
from aico_sched.tasks.agency import emotion_model
from aico_sched.tasks.agency.background_learning import BackgroundLearning
from aico_sched.tasks.agency.emotion_training import EmotionTraining
from aico_sched.tasks.agency.personality_evolution import PersonalityEvolution
from aico_sched.tasks.base import BaseTask
from aico_sched.testing import TaskRun, run_task
from tests.integration.agency.agency_data import KEY, SIZES, TRAITS, connect, emotions, make_database
from tests.support.lag import measured_lag, p99

LONG = os.environ.get("AICO_SCHED_LONG") == "1"
LAG = 0.02
JUNE = datetime(2026, 6, 1, 3, tzinfo=UTC)

Do = Callable[..., Awaitable[TaskRun]]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "aico.db"
    size = 20 if LONG else 1
    make_database(path, samples=400 * size, interactions=1_000 * size, hours=24 * 21)
    return path


@pytest.fixture
async def do(database: Path, tmp_path: Path) -> AsyncIterator[Do]:
    """Runs a task on the database, in a folder of its own, and holds it to the loop's budget."""

    async def run(task: type[BaseTask], **config: Any) -> TaskRun:
        folder = tmp_path / task.name
        async with measured_lag() as lag, open_database(database, lambda: KEY) as source:
            found = await run_task(task, config, data=source, data_dir=folder, scheduled_for=JUNE, deadline=300)
        assert found.result is not None, found.error
        assert len(lag.own) > 3
        assert p99(lag.wall if LONG else lag.own) < LAG
        return found

    yield run


def rows(database: Path, sql: str) -> list[Any]:
    connection = connect(database)
    found = connection.execute(sql).fetchall()
    connection.close()
    return list(found)


async def test_emotions_are_learned_from_the_table_and_the_model_tells_new_samples(
    do: Do, database: Path, tmp_path: Path
) -> None:
    run = await do(EmotionTraining)
    assert run.result is not None and run.result.data["promoted"], run.result
    data = run.result.data
    assert (
        data["samples"] + data["held_out"] + data["unusable"]
        == rows(database, "SELECT count(*) FROM emotion_samples")[0][0]
    )
    assert data["score"] > data["baseline"] + 0.3
    model = emotion_model.EmotionModel.current(tmp_path / EmotionTraining.name / "models")
    assert model is not None and model.sizes == tuple(SIZES.values())


async def test_traits_move_in_the_table_with_their_history_once(do: Do, database: Path) -> None:
    assert b"personality" not in database.read_bytes()
    run = await do(PersonalityEvolution)
    assert run.result is not None and run.result.success, run.result
    after = dict(rows(database, "SELECT name, value FROM personality_traits"))
    assert TRAITS["humor"] < after["humor"] <= TRAITS["humor"] + 0.03
    history = rows(database, "SELECT trait, before, value, reason FROM personality_trait_history ORDER BY trait")
    assert [(t, before) for t, before, _, _ in history] == sorted(TRAITS.items())
    assert {reason for *_, reason in history} == {"drift"}
    again = await do(PersonalityEvolution)
    assert again.result is not None and again.result.skipped
    assert dict(rows(database, "SELECT name, value FROM personality_traits")) == after


async def test_a_trait_somebody_else_broke_is_rolled_back_in_the_table(do: Do, database: Path) -> None:
    await do(PersonalityEvolution)
    connection = connect(database)
    connection.execute("UPDATE personality_traits SET value = 0.99 WHERE name = 'warmth'")
    connection.close()
    run = await do(PersonalityEvolution)
    assert run.result is not None and run.result.data["rolled_back"]
    assert dict(rows(database, "SELECT name, value FROM personality_traits")) == TRAITS


async def test_activity_is_read_from_the_table_and_not_twice(do: Do) -> None:
    run = await do(BackgroundLearning, timezone="UTC", cpu_share=1.0)
    assert run.result is not None and run.result.data["activity_rows"] == 15 * 10 * 6
    again = await do(BackgroundLearning, timezone="UTC", cpu_share=1.0)
    assert again.result is not None and again.result.data["activity_rows"] == 0


@pytest.mark.parametrize("task", [EmotionTraining, PersonalityEvolution, BackgroundLearning])
async def test_empty_tables_and_one_row_harm_nothing(task: type[BaseTask], tmp_path: Path) -> None:
    path = tmp_path / "aico.db"
    make_database(path)
    connection = connect(path)
    connection.execute("DELETE FROM personality_traits")
    for stage in ("empty", "one row"):
        async with open_database(path, lambda: KEY) as source:
            run = await run_task(task, data=source, data_dir=tmp_path / stage, scheduled_for=JUNE)
        assert run.result is not None and (run.result.skipped or run.result.success), (stage, run)
        if stage == "one row":
            break
        (sample,) = emotions(random.Random(1), 1)
        connection.execute("INSERT INTO emotion_samples (label, face, voice, text) VALUES (?, ?, ?, ?)", sample)
        connection.execute("INSERT INTO personality_traits (name, value, baseline) VALUES ('humor', 0.5, 0.5)")
        connection.execute("INSERT INTO interactions VALUES (1, '2026-05-10T00:00:00Z', 'joke', 1.0)")
        connection.execute("INSERT INTO events (timestamp, topic) VALUES ('2026-05-10T00:00:00Z', 'user.x')")
    connection.close()
