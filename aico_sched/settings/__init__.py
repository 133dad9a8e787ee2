"""The service's settings: validated at start, so that a service with a wrong one never runs."""

from aico_sched.settings.errors import ConfigurationError
from aico_sched.settings.loading import Settings
from aico_sched.settings.sections import BusSettings, PathSettings, SchedulerSettings, StoreSettings, TaskSettings

__all__ = [
    "BusSettings",
    "ConfigurationError",
    "PathSettings",
    "SchedulerSettings",
    "Settings",
    "StoreSettings",
    "TaskSettings",
]
