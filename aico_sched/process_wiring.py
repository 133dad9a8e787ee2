"""Made of the settings: the environments whose runs have a process of their own."""

import asyncio

from aico_sched.clock import Clock
from aico_sched.cpus import usable_cpus
from aico_sched.execution.child.judge import ConfigJudge
from aico_sched.execution.child.runner import ProcessRunner, SandboxRules
from aico_sched.execution.environments import Environments, Runner
from aico_sched.execution.powers import Post, Replies, ServicePowers
from aico_sched.execution.queries import Queries
from aico_sched.execution.sandbox.policy import Limits
from aico_sched.security.database_key import database_key
from aico_sched.security.permissions import namespace
from aico_sched.settings import Settings
from aico_sched.tasks.powers import Powers
from aico_sched.tasks.user_code import CATEGORIES
from aico_sched.topics.internal import SANDBOX, AttemptStart


def process_runners(settings: Settings) -> dict[str, ProcessRunner]:
    """The runners by environment; together they run no more processes than the settings say."""
    slots = asyncio.Semaphore(settings.execution.processes or max(2, usable_cpus()))
    grace = settings.execution.cancel_grace
    sandbox = ProcessRunner(slots, sandbox_rules(settings), grace=grace)
    return {"process": ProcessRunner(slots, grace=grace), SANDBOX: sandbox}


def sandbox_rules(settings: Settings) -> SandboxRules:
    """What the settings say of the sandbox."""
    sandbox = settings.sandbox
    return SandboxRules(
        Limits(sandbox.memory_mb, sandbox.cpu_seconds),
        sandbox.disk_mb,
        sandbox.max_files,
        frozenset(sandbox.allow_network),
        sandbox.uid,
    )


def is_sandboxed(settings: Settings, task_class: str) -> bool:
    """Whether the code of a class runs only in the sandbox: nobody vouches for what lies in a user's namespace."""
    return settings.sandbox.enabled and namespace(task_class) in CATEGORIES


def config_judge(settings: Settings, environments: Environments) -> ConfigJudge:
    """Who asks a class in the sandbox what it thinks of a configuration."""
    sandbox = environments.runner(SANDBOX)
    assert isinstance(sandbox, ProcessRunner)
    return ConfigJudge(sandbox, settings.data_dir / "task_data")


class PowerSource:
    """Makes what runs may do. `own_database` is false where the database is somebody else's connection.
    `processes` is the runner that also works out functions."""

    def __init__(self, settings: Settings, clock: Clock, processes: Runner, *, own_database: bool) -> None:
        assert isinstance(processes, ProcessRunner)
        self._clock, self._calculator = clock, processes
        self._network = frozenset(settings.sandbox.allow_network)
        key_file = settings.store.key_file or settings.data_dir / "keys" / "database.key"
        self.queries = Queries(settings.database_path, lambda: database_key(key_file)) if own_database else None

    def make(self, start: AttemptStart, replies: Replies, post: Post) -> Powers:
        """The powers of one attempt."""
        network = bool(self._network & {start.task_id, "*"})
        return ServicePowers(start, replies, post, self._clock, self.queries, self._calculator, network=network)

    async def close(self) -> None:
        """End the readers of the database."""
        if self.queries is not None:
            await self.queries.close()
