"""The task classes as commands see them: the registry and the permissions, speaking the contract's error codes."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from aico_sched.planning import WantedTask
from aico_sched.security import permissions
from aico_sched.tasks.errors import CodeNotRemovable, InvalidTaskConfig, TaskClassError
from aico_sched.tasks.registry import SystemTask, TaskRegistry
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.verdicts import Verdict, Verdicts

log = structlog.get_logger(__name__)


class Arranged(NamedTuple):
    """What the settings say of a system task. `schedule` is None where they leave it to the class."""

    enabled: bool
    schedule: str | None
    config: Mapping[str, Any]
    options: Mapping[str, Any]


class Catalogue:
    """Answers whether a task of some class, configuration and sender may be. `arranged` gives the settings of a
    system task by its id."""

    def __init__(self, registry: TaskRegistry, arranged: Callable[[str], Arranged]) -> None:
        self._registry, self._arranged = registry, arranged
        self._verdicts = Verdicts()
        registry.discover()

    def check(self, task_class: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration if the class takes it. Raises `unknown_task_class`, or `invalid_message` naming the
        field; `Unjudged` for a class that only a sandbox may load, until it is `judged`."""
        try:
            checked = self._registry.validate_config(task_class, config)
            question = self._registry.question(task_class, checked)
        except InvalidTaskConfig as error:
            field = f"config.{error.field}" if error.field else "config"
            raise CommandError(ErrorCode.INVALID_MESSAGE, str(error), field=field) from error
        except TaskClassError as error:
            suggestion = getattr(error, "suggestion", None)
            raise CommandError(
                ErrorCode.UNKNOWN_TASK_CLASS, str(error), field="task_class", suggestion=suggestion
            ) from error

        verdict = Verdict() if question is None else self._verdicts.take(question)
        if verdict.code:
            raise CommandError(ErrorCode(verdict.code), verdict.message, field=verdict.field)
        return checked

    def judged(self, key: str, verdict: Verdict) -> None:
        """What a class said of the configuration it was asked about."""
        self._verdicts.put(key, verdict)

    def options_of(self, task_class: str) -> Mapping[str, Any]:
        """The class's own defaults for `TaskOptions`; none for a class that cannot be loaded."""
        try:
            return self._registry.default_options(task_class)
        except TaskClassError:
            return {}

    def environment_of(self, task_class: str) -> str:
        """Where runs of the class go that ask for no place, as far as is known without importing it."""
        return self._registry.environment_of(task_class)

    def known(self, task_class: str) -> bool:
        """Whether the class can be run, as far as is known without importing it."""
        return task_class in self._registry.names()

    def may_register(self, role: str, task_id: str, task_class: str) -> None:
        """Raises `permission_denied` unless a sender of that role may have such a task."""
        decision = permissions.may_register(role, task_id, task_class)
        if not decision.allowed:
            raise CommandError(ErrorCode.PERMISSION_DENIED, decision.reason, field="task_id", task_id=task_id)

    def describe(self) -> list[dict[str, Any]]:
        """Every class, as `topics.views.TaskClassView`."""
        return self._registry.describe()

    def rescan(self) -> dict[str, Any]:
        """Look for classes anew; what changed, as `topics.views.RegistryReloadView`."""
        self._verdicts.clear()
        return self._registry.discover()._asdict()

    def code_file(self, task_class: str) -> Path | None:
        """The file of a user task's class; None for every other class."""
        try:
            return self._registry.code_file(task_class)
        except TaskClassError:
            return None

    def remove_code(self, task_class: str) -> None:
        """Delete a user task's code file; logged if that fails, for its task is deleted already."""
        try:
            removed = self._registry.remove_code(task_class)
            log.info("task_code_removed", task_class=task_class, file=str(removed))
        except (CodeNotRemovable, TaskClassError, OSError) as error:
            log.error("task_code_not_removed", task_class=task_class, error=str(error))

    def system_tasks(self) -> Iterable[WantedTask]:
        """The tasks that exist by themselves, as the settings arrange them."""
        return [self._wanted(task) for task in self._registry.defaults()]

    def _wanted(self, task: SystemTask) -> WantedTask:
        arranged = self._arranged(task.task_id)
        return WantedTask(
            task.task_id,
            task.task_class,
            arranged.schedule or task.schedule,
            arranged.enabled,
            arranged.config,
            {"description": task.description, **task.options, **arranged.options},
        )

    def cache_stats(self) -> dict[str, Any]:
        """Figures of the cache of loaded classes."""
        return {"task_classes": self._registry.cache_stats()}
