"""What the benchmarks conclude from figures: ratios point the right way, what is missing is never beaten, charts are
well-formed, and the soak sees a leak, a lost slot and a service that slows down."""

import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
OURS, DURABLE, MEMORY = "aico-sched", "durable peer", "memory peer"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmarks are programs: they import one another from their own folder."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(BENCHMARKS):
            del sys.modules[name]


class Known:
    def __init__(self, durable: bool) -> None:
        self.durable = durable


KNOWN = {OURS: Known(True), DURABLE: Known(True), MEMORY: Known(False)}


def judged(figures: dict[str, list[float]], failures: dict[str, str] | None = None, **row: Any) -> dict[str, Any]:
    from measures import Row
    from report import judged as judge

    rounds = {name: [{"value": value} for value in values] for name, values in figures.items()}
    found: dict[str, Any] = judge(
        Row("{run} things", "run", "value", "ms", **row), {"run": "5"}, rounds, failures or {}, KNOWN
    )
    return found


def test_less_is_better_and_the_median_counts() -> None:
    found = judged({OURS: [1.0, 9.0, 2.0], DURABLE: [8.0], MEMORY: [1.0]}, reach=3.0)
    assert found["title"] == "5 things"
    assert found["figures"][OURS] == {"median": 2.0, "low": 1.0, "high": 9.0, "rounds": 3}
    assert found["comparable"] == {"name": DURABLE, "value": 8.0, "ratio": 4.0}
    assert found["best"] == {"name": MEMORY, "value": 1.0, "ratio": 0.5}
    assert found["met"] is True


def test_more_is_better() -> None:
    found = judged({OURS: [100.0], DURABLE: [25.0], MEMORY: [400.0]}, less=False, times=5.0)
    assert found["comparable"]["ratio"] == 4.0
    assert found["best"]["ratio"] == 0.25
    assert found["met"] is False


def test_who_is_missing_is_not_beaten() -> None:
    found = judged({OURS: [1.0]}, {DURABLE: "missing: could not be installed"}, times=2.0)
    assert found["comparable"] == {"name": None, "value": None, "ratio": None}
    assert found["met"] is None
    assert found["failures"] == {DURABLE: "missing: could not be installed"}


def test_without_a_figure_of_ours_nothing_is_met() -> None:
    assert judged({DURABLE: [1.0]}, {OURS: "failed"}, reach=3.0)["met"] is None


def test_nothing_is_divided_by_nothing() -> None:
    found = judged({OURS: [0.0], DURABLE: [0.0]}, reach=0.0)
    assert found["comparable"]["ratio"] is None
    assert found["met"] is True


def result() -> dict[str, Any]:
    return {
        "rows": [
            judged({OURS: [2.0], DURABLE: [8.0], MEMORY: [1.0]}, {"other": "missing: no <such> thing"}, reach=3.0)
        ],
        "guarantees": {OURS: "all", DURABLE: "durable", MEMORY: "none"},
        "versions": {OURS: "1", "peer & co": "2"},
        "missing": {"other": "no <such> thing"},
        "machine": {"cpus": 2, "python": "3.11", "load": 0.5},
        "command": "make bench",
        "minutes": 1.0,
        "made": "2026-01-01T00:00:00+00:00",
    }


def test_the_table_names_everybody_and_who_is_missing() -> None:
    from report import table

    text = table(result())
    assert "durable peer 8 ms" in text
    assert "4×" in text
    assert "Missing: other: no <such> thing" in text


def test_the_charts_are_well_formed(tmp_path: Path) -> None:
    from chart import Plot, Series, draw_plots, draw_ratios

    draw_ratios(result(), tmp_path)
    draw_plots([Plot("plot", "A & B", "size", "ms", [Series("a", [(1, 0.0), (1_000_000, 5.0)])])], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bench-dark.svg",
        "bench-light.svg",
        "plot.svg",
    ]
    for path in tmp_path.iterdir():
        assert ET.fromstring(path.read_text(encoding="utf-8")).tag.endswith("svg")


def samples(count: int = 60, **changes: Any) -> list[Any]:
    """A minute without any trouble; `changes` maps the name of a figure to what it is in sample n."""
    from soak import Sample

    def one(number: int) -> Any:
        plain = {
            "at": float(number), "megabytes": 80.0, "descriptors": 40, "database": 10.0, "start_p99": 0.01,
            "command_p99": 0.01, "runs": 500 * number, "commands": 1_000 * number, "unanswered": 0, "missed": 0,
            "doubled": 0, "others": 0, "events_lost": 0, "cpu": 0.5 * number,
        }  # fmt: skip
        return Sample(**{**plain, **{name: change(number) for name, change in changes.items()}})

    return [one(number) for number in range(1, count + 1)]


def failing(taken: list[Any], seconds: float = 60.0, expected: float = 1_000.0) -> list[str]:
    from soak import judge

    return [verdict.what for verdict in judge(taken, seconds, expected) if not verdict.holds]


def test_a_steady_service_passes() -> None:
    assert failing(samples()) == []


@pytest.mark.parametrize(
    ("figure", "change", "what"),
    [
        ("megabytes", lambda number: 80.0 + number / 4, "memory, growth"),
        ("missed", lambda number: number // 60, "slots missed"),
        ("doubled", lambda number: number // 60, "slots run twice"),
        ("unanswered", lambda number: number // 60, "commands that failed"),
        ("others", lambda number: number // 60, "runs that did not succeed"),
        ("runs", lambda number: 10 * number, "runs"),
        ("start_p99", lambda number: number / 1_000, "p99, start delay"),
        ("command_p99", lambda number: number / 1_000, "p99, commands"),
        ("descriptors", lambda number: 40 + number, "file descriptors"),
        ("database", lambda number: 10.0 * number, "database"),
    ],
)
def test_the_soak_sees_what_goes_wrong(figure: str, change: Any, what: str) -> None:
    assert failing(samples(**{figure: change})) == [what]


def test_the_soak_does_not_judge_what_it_has_hardly_seen() -> None:
    assert failing(samples(3), seconds=3.0) == ["samples after the warm-up"]


def test_a_database_that_grows_from_sweep_to_sweep_is_found() -> None:
    taken = samples(1_800, database=lambda number: 100.0 + number / 5)
    assert failing(taken, seconds=1_800.0) == ["database"]


def event(task: str, slot: str, seq: int, kind: str = "succeeded") -> tuple[str, dict[str, Any]]:
    at = f"2026-01-01T00:00:{slot}Z"
    payload = {"task_id": task, "scheduled_for": at, "started_at": at}
    return f"scheduler.event.execution.{kind}", {"attributes": {"seq": seq}, "payload": payload}


def watched(*slots: str, kind: str = "succeeded") -> Any:
    from soak_watch import Watch

    watch = Watch("bench.soak", 1.0)
    for number, slot in enumerate(slots):
        watch.take(*event("bench.soak.1", slot, number, kind))
    return watch.figures()


def test_every_slot_once_is_what_the_watcher_wants() -> None:
    seen = watched("01", "02", "03")
    assert (seen["missed"], seen["doubled"], seen["events_lost"], seen["runs"]) == (0, 0, 0, 3)


def test_a_slot_that_is_left_out_is_missed_until_it_comes() -> None:
    assert watched("01", "03")["missed"] == 1
    assert watched("01", "03", "02")["missed"] == 0


def test_a_slot_that_comes_again_is_doubled() -> None:
    assert watched("01", "02", "02")["doubled"] == 1
    assert watched("01", "02", "01")["doubled"] == 1


def test_a_run_that_ends_otherwise_is_counted() -> None:
    assert watched("01", kind="failed")["others"] == 1


def test_a_peer_that_cannot_be_installed_is_missing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contestants import CONTESTANTS, Field
    from peers import environments

    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "uv").write_text("#!/bin/sh\necho 'no such version' >&2\nexit 1\n")
    (tools / "uv").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr(environments, "CACHE", tmp_path / "cache")
    with pytest.raises(environments.Missing, match="could not be installed: no such version"):
        environments.python_of(environments.PEERS["huey"])
    field = Field(tmp_path)
    field.missing["huey"] = "could not be installed"
    with pytest.raises(environments.Missing):
        field.measure(CONTESTANTS["huey"], "adds", {"count": 1})


def test_without_a_server_its_peer_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from peers import environments, servers

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(servers, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(servers, "CLUSTERS", tmp_path / "postgresql")
    with pytest.raises(environments.Missing, match="redis-server"), servers.redis(tmp_path):
        pass
    with pytest.raises(environments.Missing, match="PostgreSQL"), servers.postgresql(tmp_path):
        pass
