"""The task classes the service knows: found without running them, imported when first needed, checked, cached."""

import difflib
import importlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from aico_sched.security import permissions
from aico_sched.tasks import discovery, loading, user_code
from aico_sched.tasks.base import BaseTask
from aico_sched.tasks.configuration import bind_config, copy_config
from aico_sched.tasks.discovery import FoundClass, Scan
from aico_sched.tasks.errors import CodeNotRemovable, TaskClassUnavailable, UnknownTaskClass
from aico_sched.tasks.source import first_line
from aico_sched.topics.internal import SANDBOX
from aico_sched.verdicts import Unjudged

BUILTIN_MODULES = (discovery.BUILTIN_PACKAGE,)


class RegistryChanges(NamedTuple):
    """What a search changed, names sorted; the fields of `topics.views.RegistryReloadView`. `problems` maps a
    module, file or class to what is wrong with it now."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    problems: dict[str, str]


class SystemTask(NamedTuple):
    """A task that exists without anybody creating it; `options` are `TaskOptions` fields, JSON-able."""

    task_id: str
    task_class: str
    schedule: str
    description: str
    options: dict[str, Any]


class TaskRegistry:
    """Task classes by name. Empty until `discover()`. For one thread; every method may read files.

    `modules` are searched first (packages with all below them), then entry points, then the files of `user_folder`;
    of two classes with one name the first stays. `categories` maps the first part of a name to whether its classes
    may be used; those it does not mention may. At most `cache_size` loaded classes are held. A class whose name is
    `foreign`, which must not change, is never imported here: it runs in a sandbox, and checks its configuration there.
    """

    def __init__(
        self,
        modules: Iterable[str] = BUILTIN_MODULES,
        use_entry_points: bool = True,
        user_folder: Path | None = None,
        categories: Mapping[str, bool] = MappingProxyType({}),
        cache_size: int = 256,
        foreign: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._modules = tuple(modules)
        self._use_entry_points = use_entry_points
        # Resolved once: a link put in the folder's place later is refused instead of followed.
        self._user_folder = user_folder.resolve() if user_folder is not None else None
        self._categories = dict(categories)
        self._cache_size = max(1, cache_size)
        # Asked several times for each task that is created.
        self._foreign = lru_cache(maxsize=1_024)(foreign)
        self._found: dict[str, FoundClass] = {}
        self._loaded: OrderedDict[str, type[BaseTask]] = OrderedDict()
        self._failed: dict[str, str] = {}
        self._hits = 0
        self._misses = 0

    def discover(self) -> RegistryChanges:
        """Search again and take over what is there now. Nothing is imported, except modules without source.

        A changed user file is imported afresh at its next load; what runs keeps the class it has. Classes that
        failed to load get another chance.
        """
        scan = self._scan()
        before, after = self._found, scan.classes
        self._keep_imported(before, scan)
        changed = [name for name in before.keys() & after.keys() if before[name] != after[name]]
        removed = before.keys() - after.keys()
        for name in (*changed, *removed):
            self._loaded.pop(name, None)
        self._failed.clear()
        self._found = after
        return RegistryChanges(
            self._usable(after.keys() - before.keys()), self._usable(removed), self._usable(changed), scan.problems
        )

    def _scan(self) -> Scan:
        importlib.invalidate_caches()
        scan = Scan()
        discovery.scan_modules(self._modules, scan)
        if self._use_entry_points:
            discovery.scan_entry_points(scan)
        if self._user_folder is not None:
            discovery.scan_user_folder(self._user_folder, scan)
        return scan

    @staticmethod
    def _keep_imported(before: Mapping[str, FoundClass], scan: Scan) -> None:
        """Installed code that changed under a running service is not imported again: say so instead."""
        for name, old in before.items():
            new = scan.classes.get(name)
            stale = new is not None and new.module == old.module and new.digest != old.digest
            if stale and old.path is None and old.module in sys.modules:
                scan.classes[name] = old
                scan.problems[old.module] = "changed on disk since it was imported; a restart loads it"

    def _usable(self, names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if self._categories.get(name.partition(".")[0], True))

    def names(self) -> list[str]:
        """The names of the classes that may be used, sorted."""
        return self._usable(self._found)

    def find(self, name: str) -> FoundClass:
        """Where the class `name` is, nothing being imported. Raises `UnknownTaskClass`, or `TaskClassUnavailable` if
        its category is switched off or loading it has failed."""
        found = self._get(name)
        problem = self._problem(found)
        if problem is not None:
            raise TaskClassUnavailable(name, problem)
        return found

    def load(self, name: str) -> type[BaseTask]:
        """The class `name`, imported and checked at its first use.

        Raises `UnknownTaskClass`, or `TaskClassUnavailable` if its category is switched off or its code cannot be
        used; that stays so until the next `discover()`. Nothing else, whatever the code does on import.
        """
        cached = self._loaded.get(name)
        if cached is not None:
            self._hits += 1
            self._loaded.move_to_end(name)
            return cached
        self._misses += 1
        found = self.find(name)
        if self._foreign(name):
            raise TaskClassUnavailable(name, "its code may only be imported in a sandbox")
        try:
            task_class = loading.checked_class(self._import(found), found.attribute, name)
        except loading.LoadProblem as error:
            self._failed[name] = str(error)
            raise TaskClassUnavailable(name, str(error)) from error
        self._loaded[name] = task_class
        if len(self._loaded) > self._cache_size:
            self._loaded.popitem(last=False)
        return task_class

    def _import(self, found: FoundClass) -> ModuleType:
        if found.path is not None and self._user_folder is not None:
            return loading.import_user_module(self._user_folder, found.path)
        return loading.import_module(found.module)

    def _get(self, name: str) -> FoundClass:
        found = self._found.get(name)
        if found is None:
            known = self.names()
            close = difflib.get_close_matches(name, known, 1)
            raise UnknownTaskClass(name, known, close[0] if close else None)
        return found

    def _problem(self, found: FoundClass) -> str | None:
        if not self._categories.get(found.category, True):
            return f"the category {found.category!r} is switched off"
        return self._failed.get(found.name)

    def cache_stats(self) -> dict[str, int]:
        """Figures of the cache of loaded classes since the registry was made."""
        return {"hits": self._hits, "misses": self._misses, "size": len(self._loaded), "maxsize": self._cache_size}

    def describe(self) -> list[dict[str, Any]]:
        """Every class found, as the fields of `topics.views.TaskClassView`, by name. Imports nothing: a class that
        was not loaded yet counts as available and has no schema."""
        return [self._view(self._found[name]) for name in sorted(self._found)]

    def _view(self, found: FoundClass) -> dict[str, Any]:
        problem = self._problem(found)
        loaded = self._loaded.get(found.name)
        description = found.description
        if loaded is not None:
            description = loaded.description or first_line(loaded.__doc__)
        return {
            "name": found.name,
            "description": description,
            "module": found.module,
            "category": found.category,
            "source": found.source,
            "available": problem is None,
            "problem": problem,
            "config_schema": loading.config_schema(loaded) if loaded is not None else None,
        }

    def validate_config(self, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of `config` if the class accepts it, defaults not filled in: they stay the class's to change.

        Raises `InvalidTaskConfig` with the offending field, or what `load` raises. Of a foreign class only what no
        task's configuration can hold is refused; the rest is its `question`.
        """
        if self._foreign(name):
            self.find(name)
        else:
            bind_config(self.load(name), config)
        return copy_config(name, config)

    def question(self, name: str, config: Mapping[str, Any]) -> Unjudged | None:
        """What a foreign class has to be asked in a sandbox before a task gets `config`; None if there is nothing to
        ask. Raises what `find` raises."""
        if not self._foreign(name):
            return None
        found = self.find(name)
        return None if found.plain and not config else Unjudged(found, config)

    def default_options(self, name: str) -> dict[str, Any]:
        """The class's defaults for its tasks' options, JSON-able `TaskOptions` fields. Raises what `load` raises."""
        if not self._foreign(name):
            return dict(loading.class_options(self.load(name)))
        try:
            return loading.checked_options(self.find(name).default_options)
        except ValueError as error:
            raise TaskClassUnavailable(name, f"default_options are not task options: {error}") from error

    def environment_of(self, name: str) -> str:
        """Where runs of the class go that ask for no place: `sandbox`, which has to be, or what the class declares;
        `auto` where that cannot be told without importing it."""
        if self._foreign(name):
            return SANDBOX
        loaded, found = self._loaded.get(name), self._found.get(name)
        if loaded is not None:
            return loading.place_of(loaded)
        return "auto" if found is None else found.environment

    def is_system(self, name: str) -> bool:
        """Whether the class makes a protected system task of its own: it has a default schedule and is built in or
        lies in a system category. Unknown, switched-off and broken classes make none."""
        found = self._found.get(name)
        return found is not None and self._system_task(found) is not None

    def defaults(self) -> list[SystemTask]:
        """The tasks that exist by themselves, by id. Loads their classes; one that cannot be loaded is left out
        (`describe()` then says why)."""
        tasks = (self._system_task(self._found[name]) for name in sorted(self._found))
        return [task for task in tasks if task is not None]

    def _system_task(self, found: FoundClass) -> SystemTask | None:
        if found.source != "builtin" and not permissions.is_system(found.name):
            return None
        if found.schedule_known and found.default_schedule is None:
            return None
        try:
            task_class = self.load(found.name)
        except TaskClassUnavailable:
            return None
        schedule = task_class.default_schedule
        if schedule is None:
            return None
        description = task_class.description or first_line(task_class.__doc__)
        return SystemTask(found.name, found.name, schedule, description, dict(loading.class_options(task_class)))

    def code_file(self, name: str) -> Path | None:
        """The file of a user task's class; None for every other class. Raises `UnknownTaskClass`."""
        return self._get(name).path

    def remove_code(self, name: str) -> Path:
        """Delete the code file of a user task's class, forget the class, and return what was deleted.

        Raises `CodeNotRemovable` if it is no user task, if the file holds other classes too, or if it is not a
        regular file directly in the user-task folder; `UnknownTaskClass`. What runs keeps running.
        """
        path = self.code_file(name)
        if path is None or self._user_folder is None:
            raise CodeNotRemovable(name, "only the code of user tasks can be removed")
        others = sorted(item.name for item in self._found.values() if item.path == path and item.name != name)
        if others:
            raise CodeNotRemovable(name, f"{path.name} also holds {', '.join(others)}")
        try:
            user_code.remove_file(self._user_folder, path.name)
        except user_code.RefusedCode as error:
            raise CodeNotRemovable(name, f"{path}: {error}") from error
        sys.modules.pop(self._found.pop(name).module, None)
        self._loaded.pop(name, None)
        self._failed.pop(name, None)
        return path
