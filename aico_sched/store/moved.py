"""Tasks that were moved off the event loop because they blocked it, and where runs go otherwise."""

from collections.abc import Callable

from aico_sched.store.connection import Database
from aico_sched.topics.internal import SANDBOX


class MovedTasks:
    """Where they run now, by task; as the database has it. `declared` says where runs of a class go by themselves."""

    def __init__(self, database: Database, declared: Callable[[str], str] = lambda task_class: "auto") -> None:
        self._database, self._declared = database, declared
        self.environments: dict[str, str] = {}
        self.reset()

    def reset(self) -> None:
        """Read it again, also after a transaction that was rolled back."""
        self.environments = dict(self._database.run("moved_tasks"))

    def environment_of(self, task_id: str, asked: str | None) -> str:
        """Where a run goes whose task has `asked` for that place; `auto` leaves it to the task's class."""
        return self.environments.get(task_id, "auto") if asked in (None, "auto") else asked

    def expected(self, task_id: str, task_class: str, asked: str | None) -> str:
        """Where a run will go, as far as is known without importing its class."""
        declared = self._declared(task_class)
        place = self.environment_of(task_id, asked)
        return declared if declared == SANDBOX or place == "auto" else place

    def forget(self, task_id: str) -> None:
        """The task begins anew, without strikes and where its class says."""
        self._database.run("forget_strikes", (task_id,))
        self.environments.pop(task_id, None)
