"""`docker-compose.yml` against the part of the Compose specification it uses, and against what we promise of it.

No container engine runs where these tests do, so this is all that is known of the file until somebody runs it.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from aico_sched.cli.app import app
from aico_sched.settings import Settings

ROOT = Path(__file__).parents[2]

DURATION = {"type": "string", "pattern": r"^(\d+(h|m|s|ms|us))+$"}
WORDS = {"type": "array", "items": {"type": "string"}}
COMMAND = {"anyOf": [{"type": "string"}, WORDS]}

SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "image": {"type": "string"},
        "build": {
            "type": "object",
            "additionalProperties": False,
            "required": ["context"],
            "properties": {"context": {"type": "string"}, "dockerfile_inline": {"type": "string"}},
        },
        "command": COMMAND,
        "user": {"type": "string"},
        "init": {"type": "boolean"},
        "read_only": {"type": "boolean"},
        "cap_drop": {**WORDS, "uniqueItems": True},
        "security_opt": {**WORDS, "uniqueItems": True},
        "restart": {"type": "string", "pattern": r"^(no|always|unless-stopped|on-failure(:\d+)?)$"},
        "stop_grace_period": DURATION,
        "networks": WORDS,
        "environment": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
        "ports": {"type": "array", "uniqueItems": True, "items": {"type": "string", "pattern": r"^[\d.:\[\]]+$"}},
        "volumes": {"type": "array", "items": {"type": "string", "pattern": r"^[a-z][\w-]*:/[^:]+(:(ro|rw))?$"}},
        "tmpfs": WORDS,
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["condition"],
                "properties": {"condition": {"enum": ["service_started", "service_healthy"]}},
            },
        },
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test"],
            "properties": {
                "test": {**WORDS, "minItems": 2, "prefixItems": [{"enum": ["CMD", "CMD-SHELL"]}]},
                "interval": DURATION,
                "timeout": DURATION,
                "retries": {"type": "integer", "minimum": 1},
                "start_period": DURATION,
            },
        },
    },
}
COMPOSE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["services"],
    "patternProperties": {"^x-": {}},
    "properties": {
        "name": {"type": "string", "pattern": r"^[a-z0-9][a-z0-9_-]*$"},
        "services": {"type": "object", "additionalProperties": SERVICE},
        "networks": {"type": "object", "additionalProperties": {"type": "object"}},
        "volumes": {"type": "object", "additionalProperties": {"type": "object"}},
    },
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(params=["bus", "scheduler"])
def service(request: pytest.FixtureRequest, compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"][request.param]
    return found


def test_it_follows_the_specification(compose: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(COMPOSE)
    assert [error.message for error in Draft202012Validator(COMPOSE).iter_errors(compose)] == []


def test_the_bus_and_the_scheduler_are_separate(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"bus", "scheduler"}
    assert compose["services"]["scheduler"]["depends_on"] == {"bus": {"condition": "service_healthy"}}


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_containers_can_do_little(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].partition(":")[0]) >= 1_000


def test_each_has_a_health_check_that_fits_its_interval(service: dict[str, Any]) -> None:
    check = service["healthcheck"]
    assert int(check["timeout"].rstrip("s")) <= int(check["interval"].rstrip("s"))


def test_what_must_last_is_in_a_declared_volume(compose: dict[str, Any]) -> None:
    mounts = {
        name: dict(volume.split(":")[:2] for volume in service["volumes"])
        for name, service in compose["services"].items()
    }
    for name, service in compose["services"].items():
        assert set(mounts[name]) <= set(compose["volumes"])
        assert all(target.startswith(service["environment"]["AICO_SCHED_DATA_DIR"]) for target in mounts[name].values())
    assert mounts["bus"]["keys"] == mounts["scheduler"]["keys"] == "/var/lib/aico-sched/keys"
    assert mounts["scheduler"]["data"] == "/var/lib/aico-sched"


def test_the_settings_they_start_with_are_valid(service: dict[str, Any]) -> None:
    settings = Settings.load(environ={key: str(value) for key, value in service["environment"].items()})
    assert str(settings.data_dir) == "/var/lib/aico-sched"
    assert (settings.bus.publish_port, settings.bus.subscribe_port) == (5565, 5566)


def test_the_commands_they_run_exist_with_these_options(compose: dict[str, Any]) -> None:
    called = [service["command"] for service in compose["services"].values()]
    shell = compose["services"]["scheduler"]["healthcheck"]["test"][1]
    called.append(shell.removeprefix("aico-sched ").removesuffix(" || exit 1").split())
    for command, *arguments in called:
        text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
        assert [word for word in arguments if word.startswith("--") and word not in text] == []


def test_the_scheduler_joins_the_bus_that_is_there(compose: dict[str, Any]) -> None:
    address = compose["services"]["scheduler"]["command"][-1]
    settings = Settings.load(environ={"AICO_SCHED_DATA_DIR": "/d"}, bus__connect=address)
    assert settings.bus.joined == ("tcp://bus:5565", "tcp://bus:5566")


def test_the_image_is_built_for_an_ordinary_user_and_a_supported_python(service: dict[str, Any]) -> None:
    lines = service["build"]["dockerfile_inline"].replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines]
    assert {step for step, _ in steps} <= {"FROM", "RUN", "COPY", "USER", "WORKDIR", "ENTRYPOINT"}
    version = re.search(r"python:3\.(\d+)-slim", lines[0])
    assert version is not None
    assert 11 <= int(version[1]) <= 13
    assert dict(map(tuple, steps))["USER"] == service["user"]
    assert steps[-1] == ["ENTRYPOINT", '["aico-sched"]']


def test_the_image_leaves_out_what_is_not_source() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".*", "tests", "**/__pycache__"} <= set(ignored)
