"""Commands about tasks: what there is, and how to change it."""

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from aico_sched.cli.errors import REFUSED, usage
from aico_sched.cli.options import option_defaults, read_values, task_options
from aico_sched.cli.output import distance, local_time, seconds, short, told_by
from aico_sched.cli.session import Session, online
from aico_sched.topics import names

app = typer.Typer()

SHOWN_RESULTS = 5
WHY_HISTORY = 50
RESULTS = {
    "succeeded": "✓",
    "dead": "✗",
    "retrying": "↻",
    "running": "▶",
    "queued": "▶",
    "interrupted": "!",
    "cancelled": "–",
    "skipped": "–",
}

TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="The task's id.", show_default=False)]
Note = Annotated[str | None, typer.Option(help="Why; it is kept with the task.")]
Values = Annotated[
    list[str] | None,
    typer.Option("--config", "-c", metavar="KEY=VALUE|@FILE", help="The task's own settings; may be given often."),
]
TaskClass = Annotated[str | None, typer.Option(metavar="NAME", help="A registered task class.")]


@online(app, "list")
async def list_tasks(
    on: Session,
    prefix: Annotated[str, typer.Argument(help="Only tasks whose id starts with this.", show_default=False)] = "",
    state: Annotated[
        str | None,
        typer.Option(metavar="active|paused|disabled|unavailable|finished", help="Only tasks in this state."),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only tasks with this tag.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only this owner's tasks.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="At most so many.")] = 1_000,
) -> None:
    """Show the tasks there are, those that run next first. RESULTS has the newest run on the left: ✓ succeeded,
    ✗ failed for good, ↻ to be retried, ▶ running, ! interrupted, – cancelled."""
    tasks: list[dict[str, Any]] = []
    cursor = None
    while len(tasks) < limit:
        page = await on.request(
            names.TASK_LIST,
            prefix=prefix,
            state=state,
            tag=tag,
            owner=owner,
            history=SHOWN_RESULTS,
            limit=min(limit - len(tasks), 1_000),
            cursor=cursor,
        )
        tasks += page["tasks"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if on.out.as_json:
        on.out.json({"tasks": tasks, "next_cursor": cursor})
        return
    columns = ("NEXT", "LEFT", "LAST", "PASSED", "TASK", "STATE", "SCHEDULE", "RESULTS")
    now = datetime.now(UTC)
    rows = (
        (
            local_time(task["next_run"]),
            distance(now, task["next_run"]),
            local_time(task["last_run"]),
            distance(task["last_run"], now),
            task["task_id"],
            task["state"],
            task["schedule"],
            "".join(RESULTS.get(state, "?") for state in task.get("recent") or []) or None,
        )
        for task in sorted(tasks, key=lambda task: (task["next_run"] is None, task["next_run"] or "", task["task_id"]))
    )
    on.out.table(columns, rows, "No tasks.")


@online(app, groups={"options": task_options})
async def create(
    on: Session,
    task_id: TaskId,
    schedule: Annotated[
        str,
        typer.Argument(help="Cron, @daily and the like, interval:SECONDS or at:RFC3339.", show_default=False),
    ],
    options: dict[str, Any],
    task_class: TaskClass = None,
    config: Values = None,
    enabled: Annotated[bool, typer.Option("--enabled/--disabled", help="Whether it runs right away.")] = True,
) -> None:
    """Create a task.

    For example: create user.backup '0 3 * * *' --task-class demo.echo --config path=/home
    """
    values = read_values(config)
    fields = {"task_class": task_class, "config": values, "enabled": enabled, **options}
    task = await on.request(names.TASK_CREATE, task_id=task_id, schedule=schedule, **fields)
    _changed(on, task, "created")


@online(app, groups={"options": task_options})
async def update(
    on: Session,
    task_id: TaskId,
    options: dict[str, Any],
    schedule: Annotated[str | None, typer.Option(help="The new schedule.")] = None,
    task_class: TaskClass = None,
    config: Values = None,
    reset: Annotated[
        list[str] | None, typer.Option(metavar="OPTION", help="Put an option back to its default; may be given often.")
    ] = None,
    revision: Annotated[int | None, typer.Option(min=1, help="Refuse unless the task has this revision.")] = None,
) -> None:
    """Change a task: only what is given changes. --config replaces the whole of the task's own settings."""
    changes = {"schedule": schedule, "task_class": task_class, "config": read_values(config), **options}
    changes = {name: value for name, value in changes.items() if value is not None}
    defaults = option_defaults(reset or [])
    if both := sorted(changes.keys() & defaults.keys()):
        raise usage(f"{', '.join(both)}: both set and reset", option="reset")
    changes |= defaults
    if not changes:
        raise usage("nothing to change: give at least one option")
    if revision is not None:
        changes["revision"] = revision
    # Straight to the client: here null means something.
    task = await on.client.request(names.TASK_UPDATE, {"task_id": task_id, **changes})
    _changed(on, task, "updated")


@online(app)
async def delete(
    on: Session,
    task_id: TaskId,
    remove_code: Annotated[bool, typer.Option(help="Delete the user task's code file too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a task. Its history stays."""
    if not yes and not on.out.as_json and sys.stdin.isatty():
        typer.confirm(f"Delete {task_id}{' and its code file' if remove_code else ''}?", abort=True)
    task = await on.request(names.TASK_DELETE, task_id=task_id, remove_code=remove_code or None)
    _changed(on, task, "deleted")


@online(app)
async def enable(on: Session, task_id: TaskId) -> None:
    """Let a task run again that was disabled."""
    _changed(on, await on.request(names.TASK_ENABLE, task_id=task_id), "enabled")


@online(app)
async def disable(on: Session, task_id: TaskId) -> None:
    """Keep a task, but run it no more."""
    _changed(on, await on.request(names.TASK_DISABLE, task_id=task_id), "disabled")


@online(app)
async def pause(on: Session, task_id: TaskId, note: Note = None) -> None:
    """Hold a task for a while."""
    _changed(on, await on.request(names.TASK_PAUSE, task_id=task_id, note=note), "paused")


@online(app)
async def resume(on: Session, task_id: TaskId, note: Note = None) -> None:
    """Go on with a paused task."""
    _changed(on, await on.request(names.TASK_RESUME, task_id=task_id, note=note), "resumed")


@online(app)
async def trigger(
    on: Session,
    task_id: TaskId,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for its end; exit code 1 unless it succeeds.")
    ] = False,
) -> None:
    """Run a task now, beside its schedule."""
    started = await on.request(names.TASK_TRIGGER, task_id=task_id)
    if not wait:
        if on.out.as_json:
            on.out.json(started)
        else:
            on.out.line(f"{task_id} will run now as execution {started['execution_id']}")
        return
    execution = (await on.client.wait(started["execution_id"])).model_dump(mode="json")
    if on.out.as_json:
        on.out.json(execution)
    else:
        reason = short(execution["error_message"] or execution["reason"] or told_by(execution["result"]), 200)
        took = seconds(execution["duration_seconds"])
        on.out.line(f"{task_id} {execution['status']}" + (f" after {took}" if took else ""))
        if reason:
            on.out.line(f"  {reason}")
    if execution["status"] != "succeeded":
        raise typer.Exit(REFUSED)


@online(app)
async def status(
    on: Session,
    task_id: TaskId,
    history: Annotated[int, typer.Option("-n", "--history", min=0, max=1_000, help="So many executions.")] = 10,
) -> None:
    """Show one task and its latest executions."""
    found = await on.request(names.TASK_STATUS, task_id=task_id, history=history)
    if on.out.as_json:
        on.out.json(found)
        return
    show_task(on, found["task"])
    if found["executions"]:
        on.out.line("")
        show_executions(on, found["executions"], usage=True)


@online(app)
async def why(on: Session, task_id: TaskId) -> None:
    """Explain why a task does not run, or when it will, from what the service has recorded."""
    from aico_sched.client.why import Facts
    from aico_sched.client.why import why as explained

    found = await on.request(names.TASK_STATUS, task_id=task_id, history=WHY_HISTORY)
    newest = {"topic": names.EXECUTION_DEFERRED, "limit": 1_000, "newest": True}
    events = await on.client.request(names.EVENT_LIST, newest)
    deferrals = [row["payload"] for row in events["events"] if row["payload"]["task_id"] == task_id]
    health, stats = await on.request(names.HEALTH), await on.request(names.STATS)
    executor = stats["actors"].get("executor", {})
    facts = Facts(found["task"], found["executions"], deferrals, health, executor, datetime.now(UTC))
    findings = explained(facts)
    if on.out.as_json:
        on.out.json({"task_id": task_id, "findings": [finding._asdict() for finding in findings]})
        return
    for finding in findings:
        on.out.line("  ".join(filter(None, (local_time(finding.at), finding.sentence))))
        if finding.hint:
            on.out.line(f"    {on.program} {finding.hint}", "dim")


def show_task(on: Session, task: dict[str, Any]) -> None:
    """One task, a line for each thing worth knowing."""
    protected = "yes: it can be disabled, not deleted" if task["protected"] else None
    on.out.fields(
        [
            ("task", task["task_id"]),
            ("class", task["task_class"]),
            ("state", task["state"]),
            ("note", task["note"]),
            ("schedule", f"{task['schedule']} ({task['timezone']})"),
            ("next run", local_time(task["next_run"])),
            ("last run", local_time(task["last_run"])),
            ("runs", task["run_count"]),
            ("config", short(task["config"], 500)),
            ("options", short(task["options"], 500)),
            ("protected", protected),
            ("created", f"{local_time(task['created_at'])} by {task['created_by']}"),
            ("revision", task["revision"]),
            *(("warning", warning) for warning in task.get("warnings", [])),
        ]
    )


def show_executions(on: Session, executions: list[dict[str, Any]], *, usage: bool = False) -> None:
    """Executions as a table, the newest where the service put it; `usage` adds what their last attempts used."""
    used = ("USED",) if usage else ()
    columns = ("EXECUTION", "TASK", "STATUS", "SCHEDULED FOR", "STARTED", "TOOK", "TRY", *used, "DETAIL")
    rows = (
        (
            e["execution_id"],
            e["task_id"],
            e["status"],
            local_time(e["scheduled_for"]),
            local_time(e["started_at"]),
            seconds(e["duration_seconds"]),
            e["attempt"],
            *([_used(e.get("usage") or {})] if usage else []),
            _outcome(e),
        )
        for e in executions
    )
    on.out.table(columns, rows, "No executions.")


def _used(usage: dict[str, Any]) -> str | None:
    """What an attempt used, as far as its environment can tell."""
    steps = usage.get("steps")
    parts = (
        f"cpu {seconds(usage['cpu_seconds'])}" if "cpu_seconds" in usage else None,
        f"{steps} step{'s' if steps != 1 else ''}" if steps is not None else None,
        f"longest {seconds(usage['longest_step_seconds'])}" if "longest_step_seconds" in usage else None,
        f"{usage['memory_mb']:.0f} MB" if "memory_mb" in usage else None,
        "abandoned" if usage.get("abandoned") else None,
    )
    return ", ".join(filter(None, parts)) or None


def _outcome(execution: dict[str, Any]) -> str | None:
    """What there is to say of an execution, in a few words."""
    missed = execution.get("missed_count")
    told = short(execution["error_message"] or execution["reason"] or told_by(execution["result"]))
    return f"{missed} slots  {told or ''}".rstrip() if missed else told


def _changed(on: Session, task: dict[str, Any], what: str) -> None:
    if on.out.as_json:
        on.out.json(task)
        return
    following = local_time(task["next_run"]) if what != "deleted" else None
    on.out.line(f"{what} {task['task_id']}" + (f", next run {following}" if following else ""))
    for warning in task.get("warnings", []):
        on.out.note(f"warning: {warning}")
