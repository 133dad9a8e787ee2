"""The service's settings: validated at start, so that a service with a wrong one never runs."""

from aico_sched.settings.errors import ConfigurationError
from aico_sched.settings.execution import ClusterSettings, ExecutionSettings
from aico_sched.settings.loading import Settings
from aico_sched.settings.sections import (
    BusSettings,
    DataSettings,
    PathSettings,
    SandboxSettings,
    SchedulerSettings,
    StoreSettings,
    TaskSettings,
    WebSettings,
)

__all__ = [
    "BusSettings",
    "ClusterSettings",
    "ConfigurationError",
    "DataSettings",
    "ExecutionSettings",
    "PathSettings",
    "SandboxSettings",
    "SchedulerSettings",
    "Settings",
    "StoreSettings",
    "TaskSettings",
    "WebSettings",
]
