"""Commands that need no service: `next`, `keys`, `doctor`, and settings that are wrong."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own configuration is seen."""
    monkeypatch.setenv("AICO_SCHED_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("AICO_SCHED_CONFIG_DIR", str(tmp_path / "config"))


AFTER = ("--after", "2026-03-28T12:00:00Z")


def test_next_has_the_shape_that_programs_rely_on(aico: Any) -> None:
    result = aico("next", "30 2 * * *", "--tz", "Europe/Berlin", *AFTER, "-n", "2", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "expression": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "next": ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
        "warnings": [],
    }
    assert list(json.loads(result.stdout)) == ["expression", "timezone", "next", "warnings"]


def test_next_is_a_sentence_and_times_for_people(aico: Any) -> None:
    result = aico("next", "*/7 * * * *", "--tz", "UTC", *AFTER, "-n", "3")
    lines = result.stdout.splitlines()
    assert "(UTC)" in lines[0]
    assert lines[1:4] == ["2026-03-28T12:07:00+00:00", "2026-03-28T12:14:00+00:00", "2026-03-28T12:21:00+00:00"]
    assert result.stderr.startswith("warning: ")
    assert json.loads(aico("next", "*/7 * * * *", *AFTER, "--json").stdout)["warnings"] != []


def test_next_from_now_on_in_the_usual_zone(aico: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    found = json.loads(aico("next", "@hourly", "--json").stdout)
    assert (found["timezone"], len(found["next"])) == ("Asia/Tokyo", 5)
    monkeypatch.setenv("AICO_SCHED_SCHEDULER__TIMEZONE", "Europe/Berlin")
    assert json.loads(aico("next", "@hourly", "--json").stdout)["timezone"] == "Europe/Berlin"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("61 * * * *",), "minute"),
        (("0 0 30 2 *",), ""),
        (("nonsense",), ""),
        (("@daily", "--tz", "Mars/Olympus"), "Mars/Olympus"),
        (("@daily", "--after", "yesterday"), "RFC 3339"),
    ],
)
def test_next_refuses_what_cannot_be_scheduled(arguments: tuple[str, ...], words: str, aico: Any) -> None:
    result = aico("next", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    result = aico("next", *arguments, "--json")
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["code"]) == (1, "invalid_schedule")
    assert set(error) == {"code", "message", "details"}
    assert error["details"]["suggestion"]


def test_keys_are_made_listed_and_revoked(aico: Any, tmp_path: Path) -> None:
    made = json.loads(aico("keys", "create", "robot", "--role", "operator", "--json").stdout)
    assert (made["name"], made["role"]) == ("robot", "operator")
    assert Path(made["secret_file"]).stat().st_mode & 0o777 == 0o600
    assert "secret" not in {key for key in made if key != "secret_file"}
    listed = {key["name"]: key for key in json.loads(aico("keys", "list", "--json").stdout)["keys"]}
    robot = {"name": "robot", "role": "operator", "public": made["public"], "revoked": False, "state": "current"}
    assert listed["robot"] | robot == listed["robot"]
    assert "admin" in listed
    assert aico("keys", "revoke", "robot").stdout == "revoked robot\n"
    assert "robot" in aico("keys", "list").stdout
    result = aico("keys", "revoke", "robot", "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (1, "keys")
    assert aico("keys", "create", "Bad Name").exit_code == 1


def test_wrong_settings_are_wrong_usage_with_the_key(aico: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICO_SCHED_STORE__SYNCHRONOUS", "xml")
    result = aico("run")
    assert result.exit_code == 2
    assert "store.synchronous is 'xml' (AICO_SCHED_STORE__SYNCHRONOUS); allowed: one of full, normal" in result.stderr
    details = json.loads(aico("run", "--json").stdout)["error"]["details"]
    assert details["errors"][0]["path"] == "store.synchronous"


def test_run_and_bus_hand_their_settings_over(aico: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    service = ModuleType("aico_sched.process")
    given: list[Any] = []

    def recorder(exit_code: int) -> Callable[[Any], int]:
        def record(settings: Any) -> int:
            given.append(settings)
            return exit_code

        return record

    vars(service).update(run=recorder(0), run_broker=recorder(7))
    monkeypatch.setitem(sys.modules, "aico_sched.process", service)
    (tmp_path / "my.yaml").write_text("scheduler: {batch_size: 7}")
    arguments = ("--config", str(tmp_path / "my.yaml"), "--data-dir", str(tmp_path / "d"))
    assert aico("run", *arguments, "--bus-connect", "tcp://bus:5565,5566").exit_code == 0
    assert aico("bus", *arguments).exit_code == 7
    assert [(s.scheduler.batch_size, s.data_dir, s.bus.connect) for s in given] == [
        (7, tmp_path / "d", "tcp://bus:5565,5566"),
        (7, tmp_path / "d", None),
    ]


def checks(aico: Any, code: int = 0) -> dict[str, dict[str, Any]]:
    result = aico("doctor", "--json")
    assert result.exit_code == code, result.stdout
    return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


@pytest.fixture
def free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICO_SCHED_BUS__PUBLISH_PORT", "0")
    monkeypatch.setenv("AICO_SCHED_BUS__SUBSCRIBE_PORT", "0")


@pytest.mark.usefixtures("free_ports")
def test_doctor_finds_nothing_wrong_before_the_first_start(aico: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aico_sched.cli.doctor.versions", lambda: {"pyzmq": "27"})
    found = checks(aico)
    assert {check["status"] for check in found.values()} <= {"ok"}
    names = "python packages clock configuration database keys bus disk"
    assert set(names.split()) <= set(found)
    assert found["data folder"]["detail"].endswith("is made on first start")
    text = aico("doctor").stdout
    assert text.splitlines()[0].split() == ["CHECK", "STATE", "FOUND"]


@pytest.mark.usefixtures("free_ports")
def test_doctor_says_how_to_mend(aico: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "scheduler.db").touch(mode=0o644)
    aico("keys", "list")
    (data / "keys").chmod(0o755)
    monkeypatch.setenv("AICO_SCHED_SCHEDULER__TASK_MODULES", '["no.such.module"]')
    monkeypatch.setattr("aico_sched.cli.doctor.versions", lambda: {"pyzmq": "missing"})
    found = checks(aico, 1)
    assert found["data folder"]["mend"] == f"run: chmod 700 {data}"
    assert found["database"]["mend"] == f"run: chmod 600 {data / 'scheduler.db'}"
    assert (found["keys"]["status"], "chmod 700" in found["keys"]["mend"]) == ("failed", True)
    assert found["task modules"]["detail"] == "not found: no.such.module"
    assert found["packages"]["status"] == "failed"
    assert "chmod 600" in aico("doctor").stdout


def test_doctor_sees_that_a_port_is_taken(aico: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("AICO_SCHED_BUS__PUBLISH_PORT", str(other.getsockname()[1]))
        monkeypatch.setattr("aico_sched.cli.doctor.versions", dict)
        bus = checks(aico, 1)["bus"]
    assert (bus["status"], "choose another bus.publish_port" in bus["mend"]) == ("failed", True)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (None, "ok", "does not run"),
        ('{"pid": PID, "publish": "tcp://127.0.0.1:5"}', "ok", "bus at tcp://127.0.0.1:5"),
        ('{"pid": 4194304}', "warning", "without an orderly stop"),
        ("{}", "warning", "cannot be read"),
        ("nonsense", "warning", "cannot be read"),
    ],
)
@pytest.mark.usefixtures("free_ports")
def test_doctor_sees_whether_the_service_runs(
    content: str | None, status: str, words: str, aico: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("aico_sched.cli.doctor.versions", dict)
    (tmp_path / "data").mkdir(mode=0o700)
    if content is not None:
        (tmp_path / "data" / "service.json").write_text(content.replace("PID", str(os.getpid())))
    found = checks(aico)["service"]
    assert (found["status"], words in found["detail"]) == (status, True)


def test_doctor_stops_at_wrong_settings(aico: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AICO_SCHED_STORE__SYNCHRONOUS", "xml")
    found = checks(aico, 1)
    assert (found["configuration"]["status"], "store.synchronous" in found["configuration"]["detail"]) == (
        "failed",
        True,
    )
    assert "bus" not in found


def test_a_clock_that_was_never_set_is_told(aico: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aico_sched.cli.doctor.time.time", lambda: 5.0)
    assert checks(aico, 1)["clock"]["status"] == "failed"


def test_web_without_its_extra_says_what_to_install(aico: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "aico_sched.api", None)
    monkeypatch.setenv("AICO_SCHED_DATA_DIR", str(tmp_path))
    result = aico("web")
    assert result.exit_code == 1
    assert "aico-sched[api]" in result.words
