"""What must hold of a `Place` after each of the nine tasks was interrupted (`whole`), and after it has then run to its
end (`right`)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aico_sched.quiet import HOUR_US
from aico_sched.store.maintenance.operations import verify
from aico_sched.tasks.agency.activity_profile import ActivityProfile
from aico_sched.tasks.agency.emotion_model import EmotionModel
from aico_sched.tasks.agency.memory_vectors import ORIGINAL
from tests.integration.agency.agency_data import SIZES, TRAITS
from tests.integration.interrupted.place import (
    FACTS,
    FILLER,
    HOLES,
    INTERACTIONS,
    LOG_ROWS,
    LONG,
    SAMPLES,
    SHELVES,
    VECTORS,
    WITNESS,
    Place,
    active_hours,
    read_json,
)
from tests.integration.interrupted.shelves import SAID, memories
from tests.integration.support.forked import Stem

OLD = "aico-sched.old.holes"
ARCHIVED = "working_memory/"

Result = Mapping[str, Any]
"""What a run of the task has returned: its data."""


async def nothing(place: Place, chroma: Stem) -> None:
    """There is no more to see than in the database."""


@dataclass(frozen=True, slots=True)
class Case:
    """`steps` are those of a whole run, at the least. `swaps` says that it puts something in the place of another;
    `chroma` that it works on vectors."""

    steps: int
    right: Callable[[Place, Stem, Result], Awaitable[None]]
    whole: Callable[[Place, Stem], Awaitable[None]] = nothing
    swaps: bool = False
    chroma: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)


async def check_whole(place: Place, chroma: Stem, *cases: Case) -> None:
    """The database is whole and holds what nobody was to change, and so is what these tasks work on."""
    with place.database() as database:
        assert database.integrity_check() == []
        assert database.one("get_meta", ("witness",)) == (WITNESS,)
        counts = {
            "scheduler_seen_messages WHERE message_id LIKE 'filler/%'": FILLER,
            "emotion_samples": SAMPLES,
            "interactions": 2 * INTERACTIONS,
            "personality_traits": len(TRAITS),
            "events": 6 * len(active_hours(place.made.now)),
            "logs WHERE id > (SELECT max(id) FROM logs) / 2": LOG_ROWS // 2,
        }
        for table, count in counts.items():
            assert database._raw(f"SELECT count(*) FROM {table}") == [(count,)], table
    for case in cases:
        await case.whole(place, chroma)


async def logs_right(place: Place, chroma: Stem, result: Result) -> None:
    assert place.rows("SELECT count(*) FROM logs") == [(LOG_ROWS // 2,)]
    assert sorted(path.name for path in (place.folder / "logs").iterdir()) == ["app.log", "app.log.1"]


async def keys_whole(place: Place, chroma: Stem) -> None:
    """Whoever has an old key is let in, and whoever reads the folder finds one that is."""
    ring = place.ring()
    ring.reload()
    for name, public in place.made.clients.items():
        assert ring.lookup(public) is not None, name
        assert ring.lookup(ring.client(name).public) is not None, name


async def keys_right(place: Place, chroma: Stem, result: Result) -> None:
    await keys_whole(place, chroma)
    ring = place.ring()
    ring.reload()
    assert all(ring.client(name).public != public for name, public in place.made.clients.items())
    assert place.database_key() != place.made.database_key
    assert result["database"]["rows"] > FILLER
    folder = place.task_folder("security.key_rotation")
    backups = sorted(folder.glob("before-rekey-*"))
    assert backups and not [path for path in backups if path.suffix != ".db"]
    retired = place.folder / "data" / "keys" / "retired"
    keys = [path.read_text().strip() for path in retired.iterdir()]
    assert place.made.database_key in keys
    assert sum(verify(backups[0], place.made.database_key).values()) > FILLER


async def health_right(place: Place, chroma: Stem, result: Result) -> None:
    checks = result["checks"]
    assert checks["database"]["ok"] and checks["data_folder"]["ok"] and not checks["stuck_executions"]["stuck"]
    folder = place.task_folder("maintenance.health_check")
    assert sorted(path.name for path in folder.iterdir()) == ["state.json"] and read_json(folder / "state.json")


async def vacuum_right(place: Place, chroma: Stem, result: Result) -> None:
    with place.database() as database:
        assert database.free_bytes() < 0.05 * database.size()


async def index_whole(place: Place, chroma: Stem) -> None:
    async with chroma.open(SHELVES, path=str(place.shelf)) as shelves:
        names = await shelves.call("names")
        found = (await shelves.call("look", name="holes" if "holes" in names else OLD))["rows"]
    assert found == place.made.vectors and len(found) == VECTORS - HOLES


async def index_right(place: Place, chroma: Stem, result: Result) -> None:
    await index_whole(place, chroma)
    (holes,) = (one for one in result["collections"] if one["name"] == "holes")
    assert holes.get("rebuilt") or holes["fragmentation"] <= 0.3, holes
    assert holes.get("recall_after", holes["recall_before"]) > 0.9
    async with chroma.open(SHELVES, path=str(place.shelf)) as shelves:
        assert await shelves.call("names") == ["holes"]


async def learned_right(place: Place, chroma: Stem, result: Result) -> None:
    """What is learned is what is there, hour by hour, each once."""
    kept = read_json(place.task_folder("agency.background_learning") / "profile.json")["profile"]
    active = {int(hour.timestamp()) * 1_000_000 for hour in active_hours(place.made.now)}
    wanted = ActivityProfile()
    for hour in range(min(active), kept["until_us"], HOUR_US):
        wanted.learn(hour, hour in active, ZoneInfo("UTC"))
    assert kept == wanted.plain()
    assert datetime.fromtimestamp(kept["until_us"] / 1e6, UTC) > place.made.now - timedelta(hours=2)


async def memories_whole(place: Place, chroma: Stem) -> None:
    """Every memory is somewhere."""
    async with chroma.open(SHELVES, path=str(place.memories)) as shelves:
        held = await shelves.call("texts")
    there = {id_.removeprefix(ARCHIVED): text for rows in held.values() for id_, text in rows.items()}
    assert {id_: text for id_, text in there.items() if not id_.endswith(ORIGINAL)} == memories(FACTS)


async def memories_right(place: Place, chroma: Stem, result: Result) -> None:
    await memories_whole(place, chroma)
    async with chroma.open(SHELVES, path=str(place.memories)) as shelves:
        held = await shelves.call("texts")
    assert list(held["long_term_memory"]) == ["important"]
    assert len({id_.partition("-")[0] for id_ in held["working_memory"]}) == len(held["working_memory"]) == FACTS
    archived = [id_ for id_ in held["memory_archive"] if not id_.endswith(ORIGINAL)]
    assert len(archived) == FACTS * (len(SAID) - 1) + 1 and ARCHIVED + "faded" in archived


async def model_whole(place: Place, chroma: Stem) -> None:
    """None is in use, or one that answers."""
    model = EmotionModel.current(place.task_folder("agency.emotion_training") / "models")
    if model is not None:
        assert abs(sum(model.predict({"face": [0.0] * SIZES["face"]}).values()) - 1.0) < 1e-9


async def model_right(place: Place, chroma: Stem, result: Result) -> None:
    folder = place.task_folder("agency.emotion_training") / "models"
    assert EmotionModel.current(folder) is not None
    assert result["score"] > result["baseline"] + 0.1
    assert not list(folder.glob("*.new*"))


async def traits_whole(place: Place, chroma: Stem) -> None:
    """All have moved, once and within bounds, or none."""
    traits = dict(place.rows("SELECT name, value FROM personality_traits"))
    tables = place.rows("SELECT count(*) FROM sqlite_master WHERE name = 'personality_trait_history'")
    if tables == [(0,)]:
        assert traits == TRAITS
        return
    history = place.rows("SELECT trait, before, value FROM personality_trait_history ORDER BY trait")
    assert [(trait, before) for trait, before, _ in history] == sorted(TRAITS.items())
    assert {trait: value for trait, _, value in history} == traits
    assert all(abs(value - TRAITS[name]) <= 0.03 + 1e-9 for name, value in traits.items())


async def traits_right(place: Place, chroma: Stem, result: Result) -> None:
    await traits_whole(place, chroma)
    traits = dict(place.rows("SELECT name, value FROM personality_traits"))
    assert traits["humor"] > TRAITS["humor"] and traits["warmth"] < TRAITS["warmth"]


def config_of(place: Place, task: str) -> dict[str, Any]:
    """How the task is configured on that place."""
    folders = {
        "maintenance.log_cleanup": {"log_folder": str(place.folder / "logs")},
        "maintenance.vector_optimization": {"path": str(place.shelf)},
        "agency.memory_consolidation": {"path": str(place.memories)},
    }
    return {**CASES[task].config, **folders.get(task, {})}


CASES: Mapping[str, Case] = {
    "maintenance.log_cleanup": Case(18, logs_right),
    "security.key_rotation": Case(11, keys_right, keys_whole, True, config={"rotate_database_keys": True}),
    "maintenance.health_check": Case(16, health_right, config={"min_free_mb": 0, "max_memory_percent": 100}),
    "maintenance.database_vacuum": Case(4, vacuum_right, config={"threshold": 0.0}),
    "maintenance.vector_optimization": Case(16, index_right, index_whole, True, True, {"vacuum": LONG}),
    "agency.background_learning": Case(15, learned_right, config={"timezone": "UTC", "cpu_share": 1.0}),
    "agency.memory_consolidation": Case(9, memories_right, memories_whole, True, True),
    "agency.emotion_training": Case(7, model_right, model_whole, True),
    "agency.personality_evolution": Case(18, traits_right, traits_whole, True),
}
