"""The defaults are the seeds' own, each key is explained, and the models know exactly the keys of the file."""

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from aico_sched.settings import (
    BusSettings,
    ClusterSettings,
    DataSettings,
    ExecutionSettings,
    PathSettings,
    SandboxSettings,
    SchedulerSettings,
    Settings,
    StoreSettings,
    WebSettings,
)
from aico_sched.settings.layers import defaults

CORE = Path(__file__).parents[3] / "config" / "defaults" / "core.yaml"

SEEDS_SCHEDULER = {
    "enabled": True,
    "max_concurrent_tasks": 10,
    "max_cpu_percent": 80,
    "max_memory_percent": 80,
    "auto_discover": True,
    "task_modules": ["aico.scheduler.tasks.maintenance", "aico.scheduler.tasks.agency"],
    "scheduler_interval": 1.0,
    "batch_size": 100,
    "cache_size": 10000,
    "default_retry_count": 3,
    "default_retry_delay": 60,
    "max_retry_delay": 3600,
    "resource_check_interval": 30,
    "idle_threshold_cpu": 20,
    "idle_threshold_memory": 70,
}
SEEDS_TASKS = {
    "maintenance": {
        "log_cleanup": {"enabled": True, "schedule": "0 3 * * *", "retention_days": 30, "max_size_mb": 500},
        "key_rotation": {
            "enabled": True,
            "schedule": "0 1 1 * *",
            "rotate_session_keys": True,
            "rotate_database_keys": False,
        },
        "health_check": {
            "enabled": True,
            "schedule": "*/5 * * * *",
            "check_database": True,
            "check_message_bus": True,
            "check_disk_space": True,
        },
    },
    "agency": {
        "background_learning": {"enabled": True, "schedule": "*/30 * * * *", "max_duration": 600, "idle_only": True}
    },
}


def test_the_seeds_keys_stand_in_the_defaults_with_the_seeds_values() -> None:
    loaded = yaml.safe_load(CORE.read_text())
    assert {key: loaded["scheduler"][key] for key in SEEDS_SCHEDULER} == SEEDS_SCHEDULER
    for category, tasks in SEEDS_TASKS.items():
        for name, keys in tasks.items():
            assert {key: loaded["tasks"][category][name][key] for key in keys} == keys


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ("scheduler", SchedulerSettings),
        ("bus", BusSettings),
        ("execution", ExecutionSettings),
        ("cluster", ClusterSettings),
        ("store", StoreSettings),
        ("data", DataSettings),
        ("web", WebSettings),
        ("sandbox", SandboxSettings),
        ("paths", PathSettings),
    ],
)
def test_the_file_and_the_model_have_the_same_keys(section: str, model: type[BaseModel]) -> None:
    assert list(defaults()[section]) == list(model.model_fields)


def test_every_key_of_a_section_is_explained_beside_it() -> None:
    lines = CORE.read_text().partition("\ntasks:")[0].splitlines()
    keys = [line for line in lines if line.startswith("  ") and ":" in line and not line.strip().startswith(("#", "-"))]
    assert len(keys) == sum(len(known) for section, known in defaults().items() if section != "tasks")
    assert [line for line in keys if "  #" not in line] == []


def test_the_defaults_alone_are_valid_settings(tmp_path: Path) -> None:
    settings = Settings.load(environ={}, paths={"data_dir": str(tmp_path)})
    assert settings.scheduler.max_concurrent_tasks == 10
    assert settings.bus.joined is None
    assert settings.database_path == tmp_path / "scheduler.db"
    assert settings.user_task_folder == tmp_path / "tasks"


def test_a_task_section_is_split_into_schedule_options_and_own_keys(tmp_path: Path) -> None:
    tasks = Settings.load(environ={}, paths={"data_dir": str(tmp_path)}).tasks
    learning = tasks["agency"]["background_learning"]
    assert (learning.enabled, learning.schedule) == (True, "*/30 * * * *")
    assert learning.options == {"idle_only": True, "timeout": 600.0}
    assert learning.config == {"min_days": 14, "min_confidence": 0.9, "cpu_share": 0.2}
    assert tasks["maintenance"]["log_cleanup"].config == {"retention_days": 30, "max_size_mb": 500}
