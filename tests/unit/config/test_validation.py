"""A wrong value never starts a service, and the error says where it stands and what may stand there."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aico_sched.settings import ConfigurationError, PathSettings, Settings
from aico_sched.settings.errors import from_validation
from aico_sched.settings.layers import defaults, unnested
from aico_sched.settings.sections import parse_connect


def load(**overrides: Any) -> Settings:
    return Settings.load(environ={"AICO_SCHED_DATA_DIR": "/d", "AICO_SCHED_CONFIG_DIR": "/none"}, **overrides)


WRONG = [
    ("scheduler.enabled", 1, "true or false"),
    ("scheduler.max_concurrent_tasks", 0, "a whole number, at least 1 and at most 10000"),
    ("scheduler.max_concurrent_tasks", True, "a whole number"),
    ("scheduler.max_concurrent_tasks", 1.5, "a whole number"),
    ("scheduler.max_cpu_percent", 101, "a number, at least 0 and at most 100"),
    ("scheduler.max_memory_percent", -1, "at least 0"),
    ("scheduler.auto_discover", "yes", "true or false"),
    ("scheduler.task_modules", "a.b", "a list of text"),
    ("scheduler.task_modules", ["a.b", "a-b"], "dotted names of Python modules; 'a-b' is none"),
    ("scheduler.scheduler_interval", 0, "at least 0.01 and at most 30"),
    ("scheduler.scheduler_interval", float("nan"), "a number"),
    ("scheduler.batch_size", 0, "at least 1"),
    ("scheduler.cache_size", 0, "at least 1"),
    ("scheduler.default_retry_count", -1, "at least 0 and at most 99"),
    ("scheduler.default_retry_delay", -1, "at least 0"),
    ("scheduler.max_retry_delay", 59, "at least scheduler.default_retry_delay, which is 60"),
    ("scheduler.resource_check_interval", 0, "at least 0.05"),
    ("scheduler.idle_threshold_cpu", 200, "at most 100"),
    ("scheduler.idle_threshold_memory", "70", "a number"),
    ("scheduler.timezone", "Mars/Olympus", "IANA time zone"),
    ("scheduler.timezone", "Europe", "IANA time zone"),
    ("scheduler.timezone", "../etc/passwd", "IANA time zone"),
    ("scheduler.user_idle_after", -1, "at least 0 and at most 86400"),
    ("scheduler.longest_pause", -1, "at least 0 and at most 2592000"),
    ("scheduler.stress_after", 0, "at least 1 and at most 10000"),
    ("scheduler.stress_stretch", 0, "at least 1 and at most 1024"),
    ("scheduler.standby", "yes", "true or false"),
    ("scheduler.health_window", 0, "at least 1 and at most 86400"),
    ("scheduler.blackout", ["25:00-26:00"], "is no time of day"),
    ("scheduler.quiet_hours", "2-5", "whole hours of the day as HH:00-HH:00"),
    ("execution.processes", 0, "a whole number or null, at least 1 and at most 1000"),
    ("sandbox.enabled", 1, "true or false"),
    ("sandbox.memory_mb", 15, "at least 16 and at most 1048576"),
    ("sandbox.cpu_seconds", 0, "at least 1 and at most 2592000"),
    ("sandbox.disk_mb", 0, "at least 1 and at most 1048576"),
    ("sandbox.max_files", 0, "at least 1 and at most 10000000"),
    ("sandbox.allow_network", 1, "a list"),
    ("sandbox.uid", 0, "a whole number or null, at least 1"),
    ("scheduler.groups", {"mail": 0}, "from 1 to 10000"),
    ("scheduler.priority_aging", 0, "at least 0.001 and at most 86400"),
    ("scheduler.default_timeout", 0, "more than 0"),
    ("scheduler.shutdown_grace", -1, "at least 0"),
    ("scheduler.mailbox_limit", 0, "at least 1"),
    ("scheduler.turn_budget", 0, "at least 0.0001 and at most 1"),
    ("scheduler.restart_budget", -1, "at least 0"),
    ("scheduler.restart_window", 0, "more than 0"),
    ("scheduler.entry_points", None, "true or false"),
    ("scheduler.user_task_folder", 3, "a path or null"),
    ("scheduler.heartbeat_interval", 0, "at least 0.05"),
    ("scheduler.event_retention", 5, "at least 100"),
    ("scheduler.audit_retention", 5, "at least 100"),
    ("scheduler.message_id_retention", 0, "at least 1"),
    ("scheduler.log_level", "loud", "one of debug, info, warning, error, critical"),
    ("scheduler.log_format", "xml", "one of auto, console, json"),
    ("scheduler.log_topic", "scheduler.log", "outside scheduler."),
    ("bus.host", "a b", "text"),
    ("bus.publish_port", 65536, "at most 65535"),
    ("bus.subscribe_port", 5565, "another port than bus.publish_port"),
    ("bus.connect", "tcp://host:1", "tcp://HOST:PUBLISH_PORT,SUBSCRIBE_PORT"),
    ("bus.codec", "json", "one of auto, msgpack, aico"),
    ("bus.server_key", "short", "text"),
    ("bus.signing_keys", 5, "a path"),
    ("bus.unsigned_role", "service", "one of observer, module, operator, admin"),
    ("bus.signature_window", 0, "at least 1"),
    ("bus.name", "a b", "text"),
    ("bus.keys", 5, "a path"),
    ("bus.rate_limit", 0, "at least 1"),
    ("bus.key_overlap", -1, "at least 0"),
    ("bus.key_max_age", 0, "0"),
    ("store.path", 1, "a path or null"),
    ("store.synchronous", "off", "one of full, normal"),
    ("store.key_source", "somewhere", "environment"),
    ("store.maintenance_timeout", 0, "0.01"),
    ("store.history_days", 0, "0"),
    ("store.history_rows", 0, "1"),
    ("store.history_mb", 0, "1"),
    ("store.history_keep", -1, "0"),
    ("store.key_file", False, "a path or null"),
    ("web.host", "a b", "text"),
    ("web.port", 65536, "at most 65535"),
    ("web.hosts", "a b", "a list of text"),
    ("web.token_file", 7, "a path or null"),
    ("data.database", 7, "a path or null"),
    ("data.key_file", True, "a path or null"),
    ("paths.data_dir", 5, "a path"),
    ("tasks.maintenance.log_cleanup.timeout", -1, "a number or null, more than 0"),
    ("tasks.maintenance.log_cleanup.schedule", 4, "text or null"),
    ("tasks.maintenance.log_cleanup.schedule", "61 * * * *", "a schedule. minute: '61'"),
    ("tasks.maintenance.log_cleanup.max_duration", 0, "more than 0"),
    ("tasks.maintenance.log_cleanup.timezone", "Mars", "IANA time zone"),
    ("tasks.maintenance.log_cleanup.misfire", "never", "one of latest, all, skip"),
    ("tasks.maintenance.log_cleanup", 4, "a mapping"),
    ("tasks", [], "a mapping"),
]


@pytest.mark.parametrize(("path", "value", "allowed"), WRONG)
def test_a_wrong_value_is_refused_with_its_path_and_what_is_allowed(path: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(**{path.replace(".", "__"): value})
    error = caught.value
    assert path.startswith(error.path)
    assert error.source == "arguments"
    assert allowed in error.allowed
    assert str(error).startswith(error.path)
    assert allowed in str(error)


def test_every_ranged_key_stands_in_the_table_above() -> None:
    tried = {path for path, _, _ in WRONG}
    for section in ("scheduler", "bus", "store", "sandbox", "web", "data", "paths"):
        assert {f"{section}.{key}" for key in defaults()[section]} <= tried


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(scheduler={"batch_size": 0, "cache_size": 0}, bus={"host": "a b"})
    assert [error.path for error in (caught.value, *caught.value.others)] == [
        "scheduler.batch_size",
        "scheduler.cache_size",
        "bus.host",
    ]
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("scheduler__bach_size", "did you mean batch_size"),
        ("buss__name", "did you mean bus"),
        ("bus__xyzzy", "known keys: codec, connect, host"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(path: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        load(**{path: 5})


def test_the_error_names_the_variable_or_the_file_it_came_from(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(environ={"AICO_SCHED_BUS__HOST": "a b"})
    assert caught.value.source == "AICO_SCHED_BUS__HOST"
    file = tmp_path / "mine.yaml"
    file.write_text("bus: {host: a b}")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(file, environ={})
    assert caught.value.source == str(file)


def test_what_is_missing_is_called_missing() -> None:
    with pytest.raises(ValidationError) as caught:
        PathSettings.model_validate({})
    error = from_validation(caught.value, PathSettings, {"defaults": {}})
    assert str(error) == "data_dir is missing (defaults); allowed: a path"


def test_secrets_are_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(bus={"password": "hunter2"}, store={"x": {"api_key": "hunter2"}})
    assert "hunter2" not in str(caught.value)
    assert "<hidden>" in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        settings.scheduler.batch_size = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://bus:5565,5566", ("tcp://bus:5565", "tcp://bus:5566")),
        ("tcp://[::1]:1,65535", ("tcp://[::1]:1", "tcp://[::1]:65535")),
    ],
)
def test_a_bus_to_join_is_two_addresses(text: str, expected: tuple[str, str]) -> None:
    assert parse_connect(text) == expected
    assert load(bus__connect=text).bus.joined == expected


@pytest.mark.parametrize("text", ["", "bus:1,2", "tcp://bus:0,2", "tcp://bus:1,65536", "tcp://bus:1,2 ", "ipc://x"])
def test_anything_else_is_no_bus(text: str) -> None:
    with pytest.raises(ValueError, match="tcp://HOST"):
        parse_connect(text)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from([(s, k) for s, keys in defaults().items() for k in keys]), value=_values)
def test_any_value_is_taken_or_refused_never_anything_else(key: tuple[str, str], value: Any) -> None:
    try:
        load(**{key[0]: {key[1]: value}})
    except ConfigurationError as error:
        assert error.path.startswith(key[0])


@given(layer=st.dictionaries(st.text(), _values, max_size=4))
def test_any_file_is_taken_or_refused(layer: dict[str, Any]) -> None:
    sections = unnested(dict(layer))
    try:
        load(
            **{
                key: value
                for key, value in sections.items()
                if "__" not in key and key not in ("environ", "config_file")
            }
        )
    except ConfigurationError as error:
        assert str(error)
