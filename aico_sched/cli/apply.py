"""`apply`: make the service's tasks those of a file, after showing what that changes."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aico_sched.cli.errors import REFUSED, Failure, usage
from aico_sched.cli.output import short
from aico_sched.cli.session import Session, online
from aico_sched.redaction import redacted
from aico_sched.topics import names
from aico_sched.topics.errors import CommandError, ErrorCode

if TYPE_CHECKING:
    from aico_sched.client.manifest import Manifest, Step
    from aico_sched.topics.views import TaskView

app = typer.Typer()

_SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
_TOPICS = {"create": names.TASK_CREATE, "update": names.TASK_UPDATE, "delete": names.TASK_DELETE}


@online(app)
async def apply(
    on: Session,
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="YAML or JSON; - reads standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the tasks that this file brought and no longer holds.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask. Without a terminal, and with --json, nobody is asked.")
    ] = False,
) -> None:
    """Make tasks what a file says they should be: creates and changes what differs, and shows the difference first.

    The file has a `name` and a list of `tasks`, each with the fields of `scheduler.task.create`. A field that does
    not stand there is left alone; null puts an option back to its default.
    """
    from aico_sched.client.manifest import plan

    manifest = _read(file)
    steps = plan(manifest, await _existing(on, manifest), prune=prune)
    wanted = [step for step in steps if step.action != "keep"]
    if not on.out.as_json:
        _show(on, steps)
        if wanted and not dry_run and not yes:
            _ask(file)
    refused = {} if dry_run else {step.task_id: error for step in wanted if (error := await _carry_out(on, step))}
    if on.out.as_json:
        rows = [_row(step, refused.get(step.task_id)) for step in steps]
        on.out.json({"name": manifest.name, "dry_run": dry_run, "steps": rows})
    for task_id, error in refused.items():
        on.out.note(f"{task_id} was refused: {error.message}")
    if refused:
        raise typer.Exit(REFUSED)


def _ask(file: Path) -> None:
    """Whoever sits at a terminal; a program has nobody to ask."""
    if sys.stdin.isatty():
        typer.confirm("Change this?", abort=True)
    elif str(file) == "-" and sys.stdout.isatty():
        # The file came where the answer would.
        raise usage("nobody can be asked while the file comes from standard input: add --yes, or --dry-run to look")


def _read(file: Path) -> "Manifest":
    import yaml

    from aico_sched.client.manifest import ManifestError, read_manifest

    try:
        text = sys.stdin.read() if str(file) == "-" else file.expanduser().read_text(encoding="utf-8")
        # JSON is YAML, so one reader serves both.
        return read_manifest(yaml.safe_load(text))
    except (OSError, UnicodeDecodeError) as error:
        raise usage(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}", option="file") from None
    except yaml.YAMLError as error:
        raise usage(f"{file} is not valid YAML: {' '.join(str(error).split())}", option="file") from None
    except ManifestError as error:
        raise Failure("invalid_manifest", f"{file}: {error}", details={"problems": error.problems}) from None


async def _existing(on: Session, manifest: "Manifest") -> "list[TaskView]":
    """The tasks of the manifest that there are, and those that it brought earlier."""
    from aico_sched.client.manifest import TAG
    from aico_sched.topics.views import TaskView

    found: dict[str, dict[str, Any]] = {}
    cursor = None
    while True:
        page = await on.request(names.TASK_LIST, tag=TAG + manifest.name, limit=1_000, cursor=cursor)
        found |= {task["task_id"]: task for task in page["tasks"]}
        cursor = page["next_cursor"]
        if cursor is None:
            break
    for task in manifest.tasks:
        if task.task_id not in found:
            try:
                status = await on.request(names.TASK_STATUS, task_id=task.task_id, history=0)
            except CommandError as error:
                if error.code != ErrorCode.TASK_NOT_FOUND:
                    raise
            else:
                found[task.task_id] = status["task"]
    return [TaskView.model_validate(task) for task in found.values()]


async def _carry_out(on: Session, step: "Step") -> CommandError | None:
    """Tell the service; its refusal of one task does not keep the others from being changed."""
    payload = {name: value for name, value in step.payload.items() if name != "enabled" or step.action == "create"}
    try:
        if len(payload) > 1 or step.action == "delete":
            # Straight to the client: in an update null means something.
            await on.client.request(_TOPICS[step.action], payload)
        if step.action == "update" and "enabled" in step.changes:
            topic = names.TASK_ENABLE if step.payload["enabled"] else names.TASK_DISABLE
            await on.client.request(topic, {"task_id": step.task_id})
    except CommandError as error:
        return error
    return None


def _show(on: Session, steps: "Sequence[Step]") -> None:
    kept = 0
    for step in steps:
        if step.action == "keep":
            kept += 1
            continue
        sign, style = _SIGNS[step.action]
        on.out.line(f"{sign} {step.task_id}", style)
        for name, (before, after) in step.changes.items():
            if step.action == "create":
                told = _told(after)
            elif redacted(after) == before:
                told = f"{_told(before)}, its secrets are sent again (whether they differ is not shown to anybody)"
            else:
                told = f"{_told(before)} → {_told(after)}"
            on.out.line(f"    {name}: {told}")
    on.out.line(f"{len(steps) - kept} to change, {kept} as they should be")


def _told(value: Any) -> str:
    return short(redacted(value), 100) or "–"


def _row(step: "Step", error: CommandError | None) -> dict[str, Any]:
    changes = {name: {"before": before, "after": redacted(after)} for name, (before, after) in step.changes.items()}
    refusal = None if error is None else error.as_reply()["error"]
    return {"action": step.action, "task_id": step.task_id, "changes": changes, "error": refusal}
