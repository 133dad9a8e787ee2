"""Helpers for the tests of people who write tasks: no service, no bus, no database needed."""

from aico_sched.testing.run_task import TaskRun, run_task

__all__ = ["TaskRun", "run_task"]
