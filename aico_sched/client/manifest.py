"""Tasks as a file says they should be, and what must change for that. Pure: it compares, the caller asks and tells."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from aico_sched.redaction import redacted
from aico_sched.topics.commands import Payload, TaskCreate, TaskOptions
from aico_sched.topics.views import TaskView

TAG: str = "applied."
"""Begins the tag that tells which manifest a task belongs to, so that one taken out of it can be found."""

_DEFAULTS = {
    name: field.get_default(call_default_factory=True)
    for name, field in TaskOptions.model_fields.items()
    if name != "timezone"
}

Action = Literal["create", "update", "delete", "keep"]


class Manifest(Payload):
    """A file of tasks. Each is what `scheduler.task.create` takes. A field that stands there is enforced, null puts
    it back to its default, and what does not stand there is left alone."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=48, description="whose tasks these are")
    tasks: list[TaskCreate]


class ManifestError(ValueError):
    """A manifest that cannot be right. `problems` has a line for each thing wrong, with its place."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class Step(NamedTuple):
    """What becomes of one task. `changes` maps each field that differs to (as it is, as it shall be); `payload` is
    what the command of that action takes."""

    action: Action
    task_id: str
    changes: dict[str, tuple[Any, Any]]
    payload: dict[str, Any]


def read_manifest(content: object) -> Manifest:
    """The manifest in what a YAML or JSON file holds. Raises `ManifestError`."""
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        raise ManifestError([_problem(item) for item in error.errors(include_url=False)]) from error
    ids = [task.task_id for task in manifest.tasks]
    if twice := sorted({task_id for task_id in ids if ids.count(task_id) > 1}):
        raise ManifestError([f"{task_id} stands in it twice" for task_id in twice])
    return manifest


def _problem(item: Any) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
    return f"{place or 'the file'}: {item['msg']}"


def plan(manifest: Manifest, existing: Iterable[TaskView], *, prune: bool) -> list[Step]:
    """The step for each task of the manifest, in its order, then (with `prune`) the deletion of those that belong to
    it and do not stand in it any more. `existing` holds at least all tasks of either kind."""
    known = {task.task_id: task for task in existing}
    tag = TAG + manifest.name
    steps = [_step(task, known.get(task.task_id), tag) for task in manifest.tasks]
    if prune:
        wanted = {task.task_id for task in manifest.tasks}
        gone = sorted(
            task.task_id
            for task in known.values()
            if tag in _tags(task) and task.task_id not in wanted and not task.protected
        )
        steps += [Step("delete", task_id, {}, {"task_id": task_id}) for task_id in gone]
    return steps


def _step(task: TaskCreate, there: TaskView | None, tag: str) -> Step:
    wanted = task.model_dump(mode="json", exclude_unset=True)
    if there is None or not there.protected:
        # System tasks belong to the service, also when a manifest arranges them.
        wanted["tags"] = sorted({*(wanted["tags"] if "tags" in wanted else _tags(there)), tag})
    if there is None:
        shown = {name: (None, value) for name, value in wanted.items() if name != "task_id"}
        return Step("create", task.task_id, shown, wanted)
    changes = dict(_differences(wanted, there))
    payload = {"task_id": task.task_id, **{name: after for name, (_, after) in changes.items()}}
    return Step("update" if changes else "keep", task.task_id, changes, payload)


def _differences(wanted: Mapping[str, Any], there: TaskView) -> Iterable[tuple[str, tuple[Any, Any]]]:
    for name, after in wanted.items():
        if name == "task_id":
            continue
        if name in _DEFAULTS:
            before = there.options.get(name, _DEFAULTS[name])
            same = before == (_DEFAULTS[name] if after is None else after)
        else:
            before = getattr(there, name)
            if name == "config" and after is not None and redacted(after) == before != after:
                # A secret is not told, so nobody can say whether it is the same: it is sent, and shown as little.
                yield name, (before, after)
                continue
            # Null changes neither: a task has a class and a zone.
            same = after is None or (name == "schedule" and _same_schedule(before, after)) or before == after
        if not same:
            yield name, (before, after)


def _same_schedule(one: str, other: str) -> bool:
    return one.split() == other.split()


def _tags(task: TaskView | None) -> list[str]:
    tags = None if task is None else task.options.get("tags")
    return [str(tag) for tag in tags] if isinstance(tags, list) else []
