"""Tasks that were moved off the event loop because they blocked it."""

from aico_sched.store.connection import Database


class MovedTasks:
    """Where they run now, by task; as the database has it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.environments: dict[str, str] = {}
        self.reset()

    def reset(self) -> None:
        """Read it again, also after a transaction that was rolled back."""
        self.environments = dict(self._database.run("moved_tasks"))

    def environment_of(self, task_id: str) -> str:
        """`auto` for a task that was not moved."""
        return self.environments.get(task_id, "auto")

    def forget(self, task_id: str) -> None:
        """The task begins anew, without strikes and where its class says."""
        self._database.run("forget_strikes", (task_id,))
        self.environments.pop(task_id, None)
