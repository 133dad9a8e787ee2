"""Finds task classes in modules, entry points and the user-task folder without importing them."""

import hashlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from aico_sched.tasks import user_code
from aico_sched.tasks.base import BaseTask
from aico_sched.tasks.loading import LoadProblem, import_module
from aico_sched.tasks.source import ParsedClass, first_line, parse_classes
from aico_sched.topics.commands import TaskId

ENTRY_POINT_GROUP = "aico_sched.tasks"
BUILTIN_PACKAGE = "aico_sched.tasks"
_SEED_PACKAGE = "aico.scheduler.tasks"

Source = Literal["builtin", "module", "entry_point", "user_folder"]

_TASK_ID = TypeAdapter(TaskId)


@dataclass(frozen=True, slots=True)
class FoundClass:
    """Where a task class is, and what its source says of it. `digest` is that of the whole file, empty where there
    is no source; `path` is set for user tasks only. Without `schedule_known` only loading tells `default_schedule`.
    `plain`: its source says nothing of a configuration. `environment` is where its runs go by themselves, `auto` where
    the source does not say."""

    name: str
    module: str
    attribute: str
    source: Source
    description: str = ""
    default_schedule: str | None = None
    schedule_known: bool = False
    digest: str = ""
    path: Path | None = None
    default_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    plain: bool = False
    environment: str = "auto"

    @property
    def category(self) -> str:
        return self.name.partition(".")[0]


@dataclass(slots=True)
class Scan:
    """What one search found: classes by name, and per module, file or class what was wrong."""

    classes: dict[str, FoundClass] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def add(self, found: FoundClass) -> None:
        """Keep `found`, unless its name is not valid or is taken: who came first stays."""
        where = f"{found.module}.{found.attribute}"
        try:
            _TASK_ID.validate_python(found.name)
        except ValidationError:
            self.problems[where] = f"{found.name!r} is not a valid task name"
            return
        first = self.classes.setdefault(found.name, found)
        if (first.module, first.attribute) != (found.module, found.attribute):
            self.problems[where] = f"the name {found.name!r} is taken by {first.module}.{first.attribute}"


def canonical_module(name: str) -> str:
    """A configured module path, with the seeds' `aico.scheduler.tasks` as an alias of ours."""
    if name == _SEED_PACKAGE or name.startswith(f"{_SEED_PACKAGE}."):
        return BUILTIN_PACKAGE + name.removeprefix(_SEED_PACKAGE)
    return name


def scan_modules(names: Iterable[str], scan: Scan) -> None:
    """Add the classes of the named modules, and of every module below those that are packages."""
    for name in dict.fromkeys(map(canonical_module, names)):
        builtin = name == BUILTIN_PACKAGE or name.startswith(f"{BUILTIN_PACKAGE}.")
        _scan_tree(name, "builtin" if builtin else "module", scan)


def scan_entry_points(scan: Scan) -> None:
    """Add the classes that installed packages announce in the group `aico_sched.tasks`, as
    `task.name = module:Class`, or as `anything = module` for all the classes of a module."""
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: (entry.name, entry.value)):
        try:
            if entry.attr:
                scan.add(_announced(entry))
            else:
                _scan_tree(entry.module, "entry_point", scan)
        except AttributeError:
            # What importlib.metadata raises for a value that is no reference to an object.
            scan.problems[entry.name] = f"the entry point {entry.value!r} names no object"


def scan_user_folder(folder: Path, scan: Scan) -> None:
    """Add the classes of the code files in `folder`; a missing folder holds none."""
    if not folder.exists():
        return
    try:
        user_code.check_folder(folder)
        files = user_code.code_files(folder)
    except (user_code.RefusedCode, OSError) as error:
        scan.problems[str(folder)] = str(error)
        return
    for path in files:
        try:
            code = user_code.read_code(path)
            parsed = parse_classes(code.source, str(path))
        except (user_code.RefusedCode, OSError, SyntaxError, ValueError) as error:
            scan.problems[str(path)] = str(error)
            continue
        if not parsed:
            scan.problems[str(path)] = 'holds no class with a literal `name = "user.…"` that derives from BaseTask'
        for item in parsed:
            _add_user_class(item, code, scan)


def _add_user_class(item: ParsedClass, code: user_code.UserCode, scan: Scan) -> None:
    if item.name.partition(".")[0] not in user_code.CATEGORIES:
        scan.problems[f"{code.module}.{item.attribute}"] = (
            f"the name {item.name!r} must start with one of: {', '.join(f'{name}.' for name in user_code.CATEGORIES)}"
        )
        return
    scan.add(_found(item, code.module, "user_folder", code.digest, code.path))


def find_spec(name: str) -> ModuleSpec | None:
    """The spec of module `name`, found without importing its parents; None where that is not possible."""
    head, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(head)
    except (ImportError, ValueError):
        return None
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = _child_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    return spec


def _child_spec(name: str, locations: list[str]) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, locations)
        except ImportError:
            continue
        except KeyError:
            # A namespace package looks its parent up among the imported modules.
            return _namespace(name, locations)
        if spec is not None:
            return spec
    return None


def _namespace(name: str, locations: list[str]) -> ModuleSpec | None:
    folders = [str(place) for each in locations if (place := Path(each, name.rpartition(".")[2])).is_dir()]
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = folders
    return spec if folders else None


def _scan_tree(name: str, source: Source, scan: Scan) -> None:
    spec = find_spec(name)
    if spec is None:
        scan.problems[name] = "there is no such module"
        return
    for child in _tree(spec):
        _scan_module(child, source, scan)


def _tree(spec: ModuleSpec) -> Iterator[ModuleSpec]:
    yield spec
    if spec.submodule_search_locations is None:
        return
    locations = list(spec.submodule_search_locations)
    for info in pkgutil.iter_modules(locations, f"{spec.name}."):
        # Importing a `__main__` would run a program.
        if not info.name.endswith(".__main__"):
            child = _child_spec(info.name, locations)
            if child is not None:
                yield from _tree(child)


def _scan_module(spec: ModuleSpec, source: Source, scan: Scan) -> None:
    try:
        text = _source_of(spec)
        if text is None:
            for found in _imported(spec.name, source):
                scan.add(found)
            return
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        for item in parse_classes(text, spec.origin or spec.name):
            scan.add(_found(item, spec.name, source, digest))
    except (LoadProblem, SyntaxError, ValueError, ImportError, OSError) as error:
        scan.problems[spec.name] = str(error)


def _source_of(spec: ModuleSpec) -> str | None:
    """The module's source; empty for a namespace package, None where there is only compiled code."""
    if spec.origin is None and spec.submodule_search_locations is not None:
        return ""
    read = getattr(spec.loader, "get_source", None)
    return read(spec.name) if read is not None else None


def _imported(name: str, source: Source) -> Iterator[FoundClass]:
    """The task classes of a module without source; importing it is the only way to look inside."""
    for attribute, value in sorted(vars(import_module(name)).items()):
        if isinstance(value, type) and issubclass(value, BaseTask) and value.__module__ == name:
            task_name = vars(value).get("name")
            if isinstance(task_name, str):
                description = value.description or first_line(value.__doc__)
                yield FoundClass(task_name, name, attribute, source, description, value.default_schedule, True)


def _announced(entry: EntryPoint) -> FoundClass:
    spec = find_spec(entry.module)
    try:
        text = _source_of(spec) if spec is not None else None
        parsed = parse_classes(text or "", entry.module)
    except (SyntaxError, ValueError, ImportError, OSError):
        # What is wrong with the module is said when it is loaded, under the name of the class.
        text, parsed = None, []
    for item in parsed:
        if item.attribute == entry.attr and item.name == entry.name:
            digest = hashlib.sha256((text or "").encode(errors="surrogatepass")).hexdigest()
            return _found(item, entry.module, "entry_point", digest)
    return FoundClass(entry.name, entry.module, entry.attr, "entry_point")


def _found(item: ParsedClass, module: str, source: Source, digest: str, path: Path | None = None) -> FoundClass:
    return FoundClass(
        item.name,
        module,
        item.attribute,
        source,
        item.description,
        item.default_schedule,
        item.schedule_known,
        digest,
        path,
        item.default_options,
        item.plain,
        item.environment,
    )
