"""Helpers for the tests of people who write tasks: run one task alone, or a whole service in virtual time."""

from importlib import import_module
from typing import TYPE_CHECKING

from aico_sched.testing.assertions import assert_not_scheduled, assert_ran, assert_scheduled
from aico_sched.testing.bus import MemoryBus, MemoryEndpoint
from aico_sched.testing.clock import VirtualClock
from aico_sched.testing.run_task import TaskRun, run_task
from aico_sched.testing.source import MemorySource

if TYPE_CHECKING:
    from aico_sched.testing.simulation import Simulation

__all__ = [
    "MemoryBus",
    "MemoryEndpoint",
    "MemorySource",
    "Simulation",
    "TaskRun",
    "VirtualClock",
    "assert_not_scheduled",
    "assert_ran",
    "assert_scheduled",
    "run_task",
]


def __getattr__(name: str) -> object:
    """`Simulation` brings the whole service with it; who only tests a task need not wait for that."""
    if name == "Simulation":
        return import_module("aico_sched.testing.simulation").Simulation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
