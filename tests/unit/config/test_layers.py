"""File over defaults, environment over file, arguments over all."""

from pathlib import Path

import pytest
import yaml

from aico_sched.paths import default_config_dir, default_data_dir
from aico_sched.settings import ConfigurationError, Settings
from aico_sched.settings.layers import merge, sections


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of the machine's own configuration is seen."""
    return {"AICO_SCHED_DATA_DIR": str(tmp_path / "data"), "AICO_SCHED_CONFIG_DIR": str(tmp_path / "config")}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_each_layer_wins_over_the_one_below(tmp_path: Path, environ: dict[str, str]) -> None:
    file = write(tmp_path / "my.yaml", "scheduler: {batch_size: 1, cache_size: 1, mailbox_limit: 1}\n")
    environ |= {"AICO_SCHED_SCHEDULER__CACHE_SIZE": "2", "AICO_SCHED_SCHEDULER__MAILBOX_LIMIT": "2"}
    settings = Settings.load(file, environ, scheduler={"mailbox_limit": 3}).scheduler
    assert (settings.batch_size, settings.cache_size, settings.mailbox_limit) == (1, 2, 3)
    assert settings.max_concurrent_tasks == 10


def test_the_file_of_the_configuration_folder_is_read_unless_another_is_named(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    write(tmp_path / "config" / "core.yaml", "bus: {name: standard}\n")
    assert Settings.load(environ=environ).bus.name == "standard"
    assert Settings.load(write(tmp_path / "other.yaml", "bus: {name: other}\n"), environ).bus.name == "other"


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"--config.*No such file"):
        Settings.load(tmp_path / "absent.yaml", environ)


@pytest.mark.parametrize(
    "text",
    [
        "scheduler: {batch_size: 5}\ntasks: {maintenance: {log_cleanup: {retention_days: 9}}}",
        "core: {scheduler: {batch_size: 5}, tasks: {maintenance: {log_cleanup: {retention_days: 9}}}, api: {port: 1}}",
        "core: {scheduler: {batch_size: 5, tasks: {maintenance: {log_cleanup: {retention_days: 9}}}}}",
        "core: {scheduler: {scheduler: {batch_size: 5}, tasks: {maintenance: {log_cleanup: {retention_days: 9}}}}}",
        "core.scheduler: {batch_size: 5, tasks: {maintenance: {log_cleanup: {retention_days: 9}}}}",
    ],
)
def test_aicos_own_nestings_are_taken(text: str, tmp_path: Path, environ: dict[str, str]) -> None:
    settings = Settings.load(write(tmp_path / "core.yaml", text), environ)
    assert settings.scheduler.batch_size == 5
    cleanup = settings.tasks["maintenance"]["log_cleanup"]
    assert cleanup.config == {"retention_days": 9, "max_size_mb": 500}
    assert cleanup.schedule == "0 3 * * *"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "scheduler:\nbus:\n"])
def test_an_empty_file_or_section_changes_nothing(text: str, tmp_path: Path, environ: dict[str, str]) -> None:
    assert Settings.load(write(tmp_path / "core.yaml", text), environ) == Settings.load(environ=environ)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("scheduler: [", "a YAML file; this one is not"),
        ("a: 1\na: 2", "stands twice"),
        ("- 1", "a mapping of the sections"),
        ("3: 4", "settings.3|only known sections|strings"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(
    text: str, problem: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Settings.load(write(tmp_path / "core.yaml", text), environ)


def test_the_environments_texts_become_what_their_keys_take(environ: dict[str, str]) -> None:
    environ |= {
        "AICO_SCHED_SCHEDULER__ENABLED": "no",
        "AICO_SCHED_SCHEDULER__AUTO_DISCOVER": "0",
        "AICO_SCHED_SCHEDULER__TURN_BUDGET": "0.5",
        "AICO_SCHED_SCHEDULER__TASK_MODULES": '["a.b"]',
        "AICO_SCHED_SCHEDULER__TIMEZONE": "Europe/Berlin",
        "AICO_SCHED_BUS__NAME": "123",
        "AICO_SCHED_BUS__CONNECT": "",
        "AICO_SCHED_STORE__PATH": "/db/x",
        "AICO_SCHED_TASKS__MAINTENANCE__LOG_CLEANUP__RETENTION_DAYS": "7",
        "AICO_SCHED_TASKS__MAINTENANCE__LOG_CLEANUP__SCHEDULE": "*/5 * * * *",
        "AICO_SCHED_TASKS__MAINTENANCE__KEY_ROTATION__ROTATE_SESSION_KEYS": "false",
        "AICO_SCHED_PORT": "tcp://10.0.0.1:80",
    }
    settings = Settings.load(environ=environ)
    scheduler = settings.scheduler
    assert (scheduler.enabled, scheduler.auto_discover, scheduler.turn_budget) == (False, False, 0.5)
    assert (scheduler.task_modules, scheduler.timezone) == (["a.b"], "Europe/Berlin")
    assert (settings.bus.name, settings.bus.connect, settings.store.path) == ("123", None, Path("/db/x"))
    maintenance = settings.tasks["maintenance"]
    assert maintenance["log_cleanup"].config["retention_days"] == 7
    assert maintenance["log_cleanup"].schedule == "*/5 * * * *"
    assert maintenance["key_rotation"].config["rotate_session_keys"] is False


def test_one_underscore_too_few_is_told(environ: dict[str, str]) -> None:
    environ["AICO_SCHED_SCHEDULER_BATCH_SIZE"] = "5"
    with pytest.raises(ConfigurationError, match="AICO_SCHED_SCHEDULER__BATCH_SIZE, with two underscores"):
        Settings.load(environ=environ)


def test_arguments_may_be_nested_or_joined() -> None:
    nested = Settings.load(environ={}, bus={"name": "a"}, paths={"data_dir": "/d"})
    assert nested == Settings.load(environ={}, bus__name="a", paths__data_dir=Path("/d"))


def test_merging_replaces_lists_and_leaves_its_arguments_alone() -> None:
    below = {"a": {"b": [1, 2], "c": 1}, "d": None}
    assert merge(below, {"a": {"b": [3]}, "d": {"e": 1}}) == {"a": {"b": [3], "c": 1}, "d": {"e": 1}}
    assert below == {"a": {"b": [1, 2], "c": 1}, "d": None}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"AICO_SCHED_DATA_DIR": "/own", "AICO_DATA_DIR": "/shared"}, "/own"),
        ({"AICO_DATA_DIR": "/shared"}, "/shared/scheduler"),
    ],
)
def test_the_data_folder_is_ours_then_aicos(environ: dict[str, str], expected: str) -> None:
    assert default_data_dir(environ) == Path(expected)
    assert Settings.load(environ=environ).data_dir == Path(expected)
    assert Settings.load(environ=environ, paths={"data_dir": "/explicit"}).data_dir == Path("/explicit")


def test_the_folders_of_the_user_are_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    assert default_data_dir({}) == Path("/data/aico/scheduler")
    assert default_config_dir({}) == Path("/config/aico/scheduler")
    assert default_config_dir({"AICO_CONFIG_DIR": "/shared"}) == Path("/shared/scheduler")


def test_paths_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(environ={}, paths={"data_dir": "~/x"}, store={"path": "y.db"})
    assert (settings.data_dir, settings.database_path) == (tmp_path / "x", tmp_path / "y.db")


@pytest.mark.parametrize("section", Settings.model_fields)
def test_every_section_is_found_under_aicos_core(section: str, tmp_path: Path, environ: dict[str, str]) -> None:
    assert section in sections()
    file = tmp_path / "core.yaml"
    file.write_text(yaml.safe_dump({"core": {section: {"no_such_key": 1}}}))
    with pytest.raises(ConfigurationError, match=rf"{section}\.no_such_key"):
        Settings.load(file, environ)
