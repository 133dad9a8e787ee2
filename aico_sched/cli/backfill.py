"""`backfill`: run what a task would have run in a stretch of the past."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from aico_sched.cli.errors import REFUSED
from aico_sched.cli.moments import moment, rfc3339
from aico_sched.cli.output import local_time
from aico_sched.cli.session import Session, online
from aico_sched.cli.tasks import TaskId, show_executions
from aico_sched.topics import names

app = typer.Typer()


@online(app)
async def backfill(
    on: Session,
    task_id: TaskId,
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="The first time of the range; in your zone unless it says so.")
    ],
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="The last time of the range; else now.")
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Let the runs overlap, instead of one after the other.")
    ] = False,
    max_runs: Annotated[
        int, typer.Option(min=1, max=1_000, help="Refuse a range that holds more times than this.")
    ] = 100,
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait for their ends; exit code 1 unless all succeed.")
    ] = False,
) -> None:
    """Run a task for each time of its schedule in a range of the past, the oldest first. Its next run stays as it is.

    For example: backfill user.backup --from 2026-03-01 --to '2026-03-07 12:00'

    A time that has run already runs again. Cancel what waits with `cancel EXECUTION_ID`, as `logs` shows it.
    """
    since, until = moment(start, "from"), rfc3339(datetime.now(UTC)) if end is None else moment(end, "to")
    overlap = "allow" if at_once else "queue"
    result = await on.request(
        names.TASK_BACKFILL, task_id=task_id, start=since, end=until, overlap=overlap, max_runs=max_runs
    )
    ids = result["execution_ids"]
    if not on.out.as_json:
        runs = f"{len(ids) or 'no'} run{'s' if len(ids) != 1 else ''} of {task_id} queued"
        told = runs if ids else f"{runs}: its schedule has no time there"
        on.out.line(f"{told}, {local_time(since)} to {local_time(until)}")
    elif not wait:
        on.out.json(result)
    if wait:
        await _wait(on, task_id, ids)


async def _wait(on: Session, task_id: str, ids: list[str]) -> None:
    """Until the last of the runs is over; shows those that did not succeed, or with --json all of them."""
    import asyncio

    over: list[dict[str, Any]] = []
    tell = _progress(on, len(ids))
    try:
        for execution_id in ids:
            over.append((await on.client.wait(execution_id)).model_dump(mode="json"))
            tell(len(over))
    except asyncio.CancelledError:
        # Ctrl-C: it ends the waiting only, which nobody would guess who ends a program so.
        on.out.note(
            f"stopped waiting at {len(over)} of {len(ids)}; the other runs go on. See them with "
            f"`{on.program} logs {task_id}`, and end one with `{on.program} cancel EXECUTION_ID`"
        )
        raise
    others = [run for run in over if run["status"] != "succeeded"]
    if on.out.as_json:
        on.out.json({"task_id": task_id, "executions": over})
    else:
        on.out.line(f"{len(over) - len(others)} of {len(over)} succeeded")
        if others:
            show_executions(on, others)
    if others:
        raise typer.Exit(REFUSED)


def _progress(on: Session, total: int) -> Callable[[int], None]:
    """Says on a terminal how many are over, on one line that is written anew."""
    shown = not on.out.as_json and sys.stderr.isatty()

    def tell(over: int) -> None:
        if shown:
            sys.stderr.write(f"\r{over} of {total}" if over < total else "\r\x1b[K")
            sys.stderr.flush()

    return tell
