"""What happens to the database before the first tick: an earlier boot's loose ends, system tasks, `@reboot`."""

import hashlib
from collections.abc import Iterable

from aico_sched.json_text import compact
from aico_sched.planning import WantedTask
from aico_sched.schedule import parse_rfc3339
from aico_sched.store.attempts import Attempts
from aico_sched.store.executions import Executions
from aico_sched.store.records import TaskRow
from aico_sched.store.tasks import SERVICE, Catalogue, TaskCommands
from aico_sched.store.unit import Unit
from aico_sched.topics.errors import CommandError
from aico_sched.topics.internal import AttemptEnd

REBOOT = "reboot_tasks_of_boot"


class Recovery:
    """Brings the database in step with this boot. Everything in it can be done twice without harm."""

    def __init__(
        self, unit: Unit, tasks: TaskCommands, executions: Executions, attempts: Attempts, catalogue: Catalogue
    ) -> None:
        self._unit, self._tasks, self._catalogue = unit, tasks, catalogue
        self._executions, self._attempts = executions, attempts

    def interrupt_unfinished(self) -> int:
        """Record what an earlier boot left running as interrupted; it runs again if that was promised. Returns how
        many there were."""
        rows = self._unit.database.run("unfinished", (self._unit.boot_id,))
        for execution_id, attempt, started_at in rows:
            started = parse_rfc3339(started_at)
            self._attempts.ended(
                AttemptEnd(
                    execution_id,
                    attempt,
                    "interrupted",
                    started,
                    max(started, self._unit.now_us),
                    None,
                    None,
                    None,
                    None,
                    0,
                    "the service ended while it ran",
                )
            )
        return len(rows)

    def fire_reboot_tasks(self) -> None:
        """Queue every `@reboot` task, once in a boot: the store may start anew within it."""
        done = self._unit.database.one("get_meta", (REBOOT,))
        if done is not None and done[0] == self._unit.boot_id:
            return
        self._unit.database.run("set_meta", (REBOOT, self._unit.boot_id))
        for row in self._unit.database.run("reboot_tasks"):
            task = TaskRow(*row)
            self._executions.enqueue(task.task_id, "schedule", self._unit.now, task.priority)

    def register(self, wanted: Iterable[WantedTask]) -> list[CommandError]:
        """Create the system tasks that are missing, and bring those in step whose settings changed since the last
        boot. What a user changed by command stays otherwise. Returns what could not be registered."""
        problems = []
        for task in wanted:
            try:
                self._register(task)
            except CommandError as error:
                problems.append(error)
        return problems

    def _register(self, task: WantedTask) -> None:
        key = f"system_task:{task.task_id}"
        fingerprint = hashlib.sha256(compact(task).encode()).hexdigest()
        known = self._unit.database.one("get_meta", (key,))
        payload = {
            "task_id": task.task_id,
            "task_class": task.task_class,
            "schedule": task.schedule,
            "config": dict(task.config),
            **task.options,
        }
        existing = self._unit.task(task.task_id)
        if existing is None:
            self._tasks.create({**payload, "enabled": task.enabled}, SERVICE, protected=True)
        elif known is None or known[0] != fingerprint:
            self._tasks.update(payload, SERVICE)
            switch = self._tasks.enable if task.enabled else self._tasks.disable
            switch({"task_id": task.task_id}, SERVICE)
        else:
            return
        self._unit.database.run("set_meta", (key, fingerprint))

    def park_and_return(self) -> None:
        """Park the tasks whose class is gone and take back those whose class has come."""
        for (task_class,) in self._unit.database.run("task_classes_in_use"):
            known = self._catalogue.known(task_class)
            problem = None if known else f"the task class {task_class} is not available"
            for row in self._unit.database.run("tasks_of_class", (task_class, int(not known))):
                self._tasks.park(TaskRow(*row), problem)
