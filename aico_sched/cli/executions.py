"""Commands about executions: what ran, what failed for good, and the registry of what can run."""

import json
from typing import Annotated, Any

import typer

from aico_sched.cli.errors import Failure
from aico_sched.cli.followed_lines import FollowedLines
from aico_sched.cli.moments import moment
from aico_sched.cli.output import local_time, pairs, short
from aico_sched.cli.session import Session, online
from aico_sched.cli.tasks import show_executions
from aico_sched.cli.watching import logged, show_event
from aico_sched.topics import names

app = typer.Typer()
dead = typer.Typer(no_args_is_help=True, help="Executions that failed for good.")
registry = typer.Typer(no_args_is_help=True, help="The task classes the service knows.")

ExecutionId = Annotated[str, typer.Argument(metavar="EXECUTION_ID", help="As `logs` shows it.", show_default=False)]
SomeTask = Annotated[str | None, typer.Argument(metavar="[TASK_ID]", help="Only of this task.", show_default=False)]


@online(app)
async def cancel(
    on: Session, execution_id: ExecutionId, reason: Annotated[str | None, typer.Option(help="Why; it is kept.")] = None
) -> None:
    """End a running execution, or drop a waiting one."""
    result = await on.request(names.EXECUTION_CANCEL, execution_id=execution_id, reason=reason)
    if on.out.as_json:
        on.out.json(result)
    else:
        on.out.line(f"{result['status']} {result['execution_id']}")


@online(app)
async def logs(
    on: Session,
    task_id: SomeTask = None,
    status: Annotated[str | None, typer.Option(help="Only executions in this state.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only from this time on; in your zone unless it says so.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only up to this time.")] = None,
    attempts: Annotated[
        bool, typer.Option("--attempts", help="With every attempt, its error and what it logged.")
    ] = False,
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=1_000, help="So many, the newest.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what happens from now on.")] = False,
) -> None:
    """Show the history of executions, oldest first; with -f also what they log, as it comes."""
    # Subscribed before the history is asked for, so that nothing falls between the two.
    events = on.client.events(names.EXECUTION_EVENTS, resume=True) if follow else None
    page = await on.request(
        names.EXECUTION_LIST,
        task_id=task_id,
        status=status,
        since=since and moment(since, "since"),
        until=until and moment(until, "until"),
        attempts=attempts or None,
        limit=number,
    )
    _show_history(on, page, follow)
    if events is None:
        return
    lines = FollowedLines()
    under_way = await on.request(names.EXECUTION_LIST, task_id=task_id, status="running", attempts=True, limit=1_000)
    for run in under_way["executions"]:
        _show_so_far(on, run, lines)
    async for event in events:
        if task_id in (None, event.payload.get("task_id")) and (fresh := lines.fresh(event)):
            show_event(on, fresh)


def _show_so_far(on: Session, run: dict[str, Any], lines: FollowedLines) -> None:
    """What a run that is under way has logged until now."""
    if run.get("logs") is None:
        return
    lines.known(run["execution_id"], run["attempt"], run["logs"])
    if on.out.as_json:
        on.out.json_line(run)
    else:
        on.out.line(f"{run['execution_id']} attempt {run['attempt']} of {run['task_id']} so far")
        _show_lines(on, run["logs"])


def _show_history(on: Session, page: dict[str, Any], follow: bool) -> None:
    executions = page["executions"][::-1]
    if on.out.as_json and follow:
        for execution in executions:
            on.out.json_line(execution)
    elif on.out.as_json:
        on.out.json({"executions": executions, "next_cursor": page["next_cursor"]})
    else:
        show_executions(on, executions)
        for execution in executions:
            for attempt in execution.get("attempts") or []:
                _show_attempt(on, execution["execution_id"], attempt)


def _show_attempt(on: Session, execution_id: str, attempt: dict[str, Any]) -> None:
    error = ": ".join(filter(None, (attempt["error_type"], attempt["error_message"])))
    when = local_time(attempt["started_at"], "milliseconds")
    on.out.line(f"{execution_id} attempt {attempt['attempt']} {when} {attempt['outcome']} {error}".rstrip())
    if attempt.get("usage"):
        on.out.line(f"  {pairs(attempt['usage'])}")
    _show_lines(on, attempt.get("logs"))
    if attempt["traceback"]:
        on.out.line(attempt["traceback"].rstrip())


def _show_lines(on: Session, logs: dict[str, Any] | None) -> None:
    """What the attempt has logged."""
    if logs is None:
        return
    if logs["dropped"]:
        on.out.line(f"  … {logs['dropped']} earlier lines are not kept")
    for line in logs["lines"]:
        on.out.line(f"  {local_time(line['at'], 'milliseconds')} {line['level']:<8} {logged(line)}")


@online(dead, "list")
async def list_dead(
    on: Session,
    task_id: SomeTask = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=1_000, help="So many, the newest.")] = 100,
) -> None:
    """Show what failed for good, the newest first."""
    page = await on.request(names.DEAD_LIST, task_id=task_id, limit=number)
    if on.out.as_json:
        on.out.json(page)
        return
    columns = ("EXECUTION", "TASK", "DIED", "TRIES", "REASON")
    rows = (
        (d["execution_id"], d["task_id"], local_time(d["died_at"]), len(d["attempts"]), short(d["reason"], 100))
        for d in page["dead"]
    )
    on.out.table(columns, rows, "No dead letters.")


@online(dead)
async def show(on: Session, execution_id: ExecutionId) -> None:
    """Show one: what it ran with, and every attempt's error, traceback and what it logged."""
    found = (await on.request(names.DEAD_LIST, execution_id=execution_id, limit=1))["dead"]
    if not found:
        raise Failure("execution_not_found", f"there is no dead letter {execution_id}")
    letter = found[0]
    if on.out.as_json:
        on.out.json(letter)
        return
    on.out.fields(
        (
            ("execution", letter["execution_id"]),
            ("task", letter["task_id"]),
            ("class", letter["task_class"]),
            ("trigger", letter["trigger"]),
            ("scheduled for", local_time(letter["scheduled_for"])),
            ("died", local_time(letter["died_at"])),
            ("reason", letter["reason"]),
            ("config", json.dumps(letter["config"], ensure_ascii=False)),
        )
    )
    for attempt in letter["attempts"]:
        on.out.line("")
        _show_attempt(on, execution_id, attempt)


@online(dead)
async def requeue(on: Session, execution_id: ExecutionId) -> None:
    """Run one again, with the configuration its task has now."""
    result = await on.request(names.DEAD_REQUEUE, execution_id=execution_id)
    if on.out.as_json:
        on.out.json(result)
    else:
        on.out.line(f"{result['task_id']} will run again as execution {result['execution_id']}")


@online(dead)
async def discard(on: Session, execution_id: ExecutionId) -> None:
    """Drop one: nobody needs to look at it any more."""
    result = await on.request(names.DEAD_DISCARD, execution_id=execution_id)
    if on.out.as_json:
        on.out.json(result)
    else:
        on.out.line(f"discarded {result['execution_id']} of {result['task_id']}")


@online(registry, "list")
async def list_classes(on: Session) -> None:
    """Show the task classes there are."""
    found = await on.request(names.REGISTRY_LIST)
    if on.out.as_json:
        on.out.json(found)
        return
    rows = (
        (
            c["name"],
            "ok" if c["available"] else "unavailable",
            c["source"],
            short(c["problem"] or c["description"], 100),
        )
        for c in found["classes"]
    )
    on.out.table(("CLASS", "STATE", "SOURCE", "DESCRIPTION"), rows, "No task classes.")


@online(registry)
async def reload(on: Session) -> None:
    """Look for task classes again: new files, changed files, gone files."""
    result = await on.request(names.REGISTRY_RELOAD)
    if on.out.as_json:
        on.out.json(result)
        return
    for what in ("added", "removed", "changed"):
        for name in result[what]:
            on.out.line(f"{what} {name}")
    for name, problem in result["problems"].items():
        on.out.note(f"problem in {name}: {problem}")
    if not any(result.values()):
        on.out.line("Nothing has changed.")
