"""Made of the settings: the environments whose runs have a process of their own."""

import asyncio

from aico_sched.cpus import usable_cpus
from aico_sched.execution.child.runner import ProcessRunner, SandboxRules
from aico_sched.execution.environments import Runner
from aico_sched.execution.sandbox.policy import Limits
from aico_sched.security.permissions import namespace
from aico_sched.settings import Settings
from aico_sched.tasks.user_code import CATEGORIES

SANDBOX = "sandbox"
"""The environment nobody chooses: what runs in it has to."""


def process_runners(settings: Settings) -> dict[str, Runner]:
    """The runners by environment; together they run no more processes than the settings say."""
    slots = asyncio.Semaphore(settings.execution.processes or max(2, usable_cpus()))
    grace = settings.execution.cancel_grace
    sandbox = settings.sandbox
    rules = SandboxRules(
        Limits(sandbox.memory_mb, sandbox.cpu_seconds),
        sandbox.disk_mb,
        sandbox.max_files,
        frozenset(sandbox.allow_network),
        sandbox.uid,
    )
    return {"process": ProcessRunner(slots, grace=grace), SANDBOX: ProcessRunner(slots, rules, grace=grace)}


def is_sandboxed(settings: Settings, task_class: str) -> bool:
    """Whether the code of a class runs only in the sandbox: nobody vouches for what lies in a user's namespace."""
    return settings.sandbox.enabled and namespace(task_class) in CATEGORIES
