"""The judgement of health and load, and what the machine says about itself."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from aico_sched.health import Thresholds, constraint, judge, not_idle
from aico_sched.host import HostSample, PsutilSampler
from aico_sched.topics.internal import Load

THRESHOLDS = Thresholds(max_cpu=80, max_memory=90, idle_cpu=20, idle_memory=70)
QUIET = Load(1.0, 2.0, 0.0, True, "")
ALL = ("store", "executor", "scheduler")


def reports(**given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {"restarts": 0, "dropped": 0, **given.get(name, {})} for name in ALL}


def test_all_is_well() -> None:
    status, reasons, checks = judge(reports(), ALL, QUIET, 0.0)
    assert (status, reasons) == ("healthy", [])
    assert all(check["ok"] for check in checks.values())


@pytest.mark.parametrize(
    ("given", "load", "status", "reason", "check"),
    [
        ({"store": {"restarts": 1}}, QUIET, "degraded", "crashed and were restarted: store", "actors"),
        ({"store": {"dropped": 2}}, QUIET, "critical", "2 messages could not be handled", "messages"),
        (
            {"executor": {"ended": 10, "failed": 1, "timed_out": 1}},
            QUIET,
            "degraded",
            "20% of the attempts",
            "failures",
        ),
        ({"executor": {"ended": 20, "failed": 10}}, QUIET, "critical", "50% of the attempts", "failures"),
        ({"store": {"unavailable": ["user.x"]}}, QUIET, "degraded", "missing for user.x", "task_classes"),
        (
            {"scheduler": {"breaker": "open"}},
            QUIET,
            "degraded",
            "given a rest (the circuit breaker is open)",
            "breaker",
        ),
        ({}, Load(99.0, 2.0, 0.0, False, "CPU load is high"), "degraded", "CPU load is high", "load"),
        ({}, Load(1.0, 2.0, 0.25, True, ""), "degraded", "250 ms behind", "loop"),
    ],
)
def test_each_trouble_has_its_reason(
    given: dict[str, dict[str, Any]], load: Load, status: str, reason: str, check: str
) -> None:
    found, reasons, checks = judge(reports(**given), ALL, load, 0.0)
    assert found == status
    assert len(reasons) == 1
    assert reason in reasons[0]
    assert [name for name, result in checks.items() if not result["ok"]] in ([check], [])


def test_a_silent_actor_is_critical() -> None:
    answered = reports()
    del answered["executor"]
    status, reasons, checks = judge(answered, ALL, QUIET, 0.0)
    assert (status, reasons) == ("critical", ["no answer from executor"])
    assert checks["actors"]["silent"] == ["executor"]


@pytest.mark.parametrize(
    ("ended", "failed", "ok"), [(9, 9, True), (11, 1, True), (10, 1, False), (1_000, 99, True), (1_000, 100, False)]
)
def test_a_failure_rate_needs_enough_attempts_and_a_tenth_of_them(ended: int, failed: int, ok: bool) -> None:
    _, _, checks = judge(reports(executor={"ended": ended, "failed": failed}), ALL, QUIET, 0.0)
    assert checks["failures"]["ok"] is ok


@pytest.mark.parametrize(
    ("cpu", "memory", "word"), [(80, 90, ""), (81, 0, "max_cpu_percent"), (0, 91, "max_memory_percent")]
)
def test_what_holds_a_start_back_names_its_setting(cpu: float, memory: float, word: str) -> None:
    reason = constraint(HostSample(cpu, memory, False), THRESHOLDS)
    assert bool(reason) == bool(word)
    assert word in reason


@pytest.mark.parametrize(
    ("sample", "idle"),
    [
        (HostSample(20, 70, False), True),
        (HostSample(20.5, 10, False), False),
        (HostSample(5, 71, False), False),
        (HostSample(5, 10, True), False),
    ],
)
def test_idle_means_little_load_and_no_battery(sample: HostSample, idle: bool) -> None:
    assert (not_idle(sample, THRESHOLDS) == "") is idle


def test_at_a_hundred_percent_nothing_is_held_back() -> None:
    full, never = HostSample(100.0, 100.0, False), Thresholds(100, 100, 100, 100)
    assert constraint(full, never) == ""
    assert not_idle(full, never) == ""


def cgroup(folder: Path, limit: str, current: str, cached: int = 0) -> Path:
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(current + "\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file 5\n")
    return folder


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine that is mostly empty."""
    state = SimpleNamespace(battery=None)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(percent=10.0))
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 3.0)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: state.battery, raising=False)
    return state


@pytest.mark.parametrize(
    ("limit", "current", "cached", "percent"),
    [
        ("1000", "800", 0, 80.0),
        ("1000", "990", 700, 29.0),
        ("max", "990", 0, 10.0),
        ("0", "990", 0, 10.0),
        ("1000", "rubbish", 0, 10.0),
        ("1000", "1200", 0, 100.0),
        ("1000", "50", 0, 10.0),
    ],
)
def test_a_container_s_own_memory_limit_counts_without_its_page_cache(
    tmp_path: Path, host: SimpleNamespace, limit: str, current: str, cached: int, percent: float
) -> None:
    sample = PsutilSampler(cgroup(tmp_path, limit, current, cached)).sample()
    assert sample == HostSample(3.0, percent, False)


def test_no_container_is_no_trouble(tmp_path: Path, host: SimpleNamespace) -> None:
    assert PsutilSampler(tmp_path / "none").sample().memory_percent == 10.0


@pytest.mark.parametrize(("plugged", "on_battery"), [(True, False), (False, True), (None, False)])
def test_only_a_battery_known_to_be_in_use_counts(
    tmp_path: Path, host: SimpleNamespace, plugged: bool | None, on_battery: bool
) -> None:
    host.battery = SimpleNamespace(power_plugged=plugged)
    assert PsutilSampler(tmp_path).sample().on_battery is on_battery


def test_the_real_machine_has_plausible_figures() -> None:
    sample = PsutilSampler().sample()
    assert 0 <= sample.cpu_percent <= 100
    assert 0 < sample.memory_percent <= 100


def test_a_container_s_own_cpu_limit_counts(tmp_path: Path, host: SimpleNamespace) -> None:
    """Half a second of CPU time within a second, under a limit of two CPUs above and of one CPU for our own group."""
    own = tmp_path / "own"
    own.mkdir()
    membership = tmp_path / "membership"
    membership.write_text("0::/own\n")
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    (own / "cpu.max").write_text("100000 100000\n")
    now = [0.0]

    def used(microseconds: int) -> None:
        for folder in (tmp_path, own):
            (folder / "cpu.stat").write_text(f"usage_usec {microseconds}\nuser_usec 1\n")

    used(1_000_000)
    sampler = PsutilSampler(tmp_path, membership, lambda: now[0])
    used(1_500_000)
    now[0] = 1.0
    assert sampler.sample().cpu_percent == 50.0
    used(3_500_000)
    now[0] = 2.0
    assert sampler.sample().cpu_percent == 100.0
    now[0] = 3.0
    assert sampler.sample().cpu_percent == 3.0
    (own / "cpu.stat").write_text("rubbish\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    now[0] = 4.0
    assert sampler.sample().cpu_percent == 3.0


def test_how_well_users_tasks_are_shut_in_is_a_check_and_no_illness() -> None:
    def found(level: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
        figures = {} if level is None else {"sandbox": level}
        status, _, checks = judge(reports(executor={"environments": {"sandbox": figures}}), ALL, QUIET, 0.0)
        return status, checks["sandbox"]

    assert found(None) == ("healthy", {"ok": True, "level": "not used yet", "missing": []})
    full = {"level": "full", "missing": [], "landlock": 4}
    assert found(full) == ("healthy", {"ok": True, "level": "full", "missing": []})
    reduced = {"level": "reduced", "missing": ["Landlock for TCP"], "landlock": 3}
    assert found(reduced) == ("healthy", {"ok": False, "level": "reduced", "missing": ["Landlock for TCP"]})
