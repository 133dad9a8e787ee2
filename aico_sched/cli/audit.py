"""`aico-sched audit`: who did what, and whether the record of it is whole."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from aico_sched.cli.moments import moment
from aico_sched.cli.output import local_time, short
from aico_sched.cli.session import Session, online
from aico_sched.topics import limits, names

app = typer.Typer()


@online(app)
async def audit(
    on: Session,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only from this time on; in your zone unless it says so.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this sender.")] = None,
    action: Annotated[str | None, typer.Option(metavar="TOPIC", help="Only this command or decision.")] = None,
    target: Annotated[str | None, typer.Option(metavar="ID", help="Only about this task or execution.")] = None,
    outcome: Annotated[str | None, typer.Option(metavar="ok|CODE", help="Only with this outcome.")] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=1_000_000, help="So many, the newest.")] = 50,
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain of hashes over the whole trail.")] = False,
) -> None:
    """Show who did what and what came of it, oldest first; with --verify, check that nothing was changed since."""
    if verify:
        await _verify(on)
        return
    lines: list[dict[str, Any]] = []
    begin = since and moment(since, "since")
    filters = {"since": begin, "source": source, "action": action, "target": target, "outcome": outcome}
    async for page in _pages(on, order="newest", limit=min(number, limits.MAX_PAGE), **filters):
        lines += page["lines"]
        if len(lines) >= number:
            break
    lines = lines[:number][::-1]
    if on.out.as_json:
        on.out.json({"lines": lines})
        return
    columns = ("TIME", "SENDER", "ROLE", "ACTION", "TARGET", "OUTCOME", "DETAIL")
    fields = ("source", "role", "action", "target", "outcome")
    rows = ([local_time(each["at"]), *(each[name] for name in fields), short(each["detail"], 100)] for each in lines)
    on.out.table(columns, rows, "Nothing matches.")


async def _pages(on: Session, **asked: Any) -> AsyncIterator[dict[str, Any]]:
    cursor = None
    while True:
        page = await on.request(names.AUDIT_LIST, cursor=cursor, **asked)
        yield page
        cursor = page["next_cursor"]
        if cursor is None:
            return


async def _verify(on: Session) -> None:
    """Compute the chain anew from what the service hands out; exit code 1 where it does not hold."""
    from aico_sched.audit_chain import Line, Link, Verifier

    verifier: Verifier | None = None
    broken, head = None, Link(0, "")
    async for page in _pages(on, order="oldest", limit=limits.MAX_PAGE):
        if verifier is not None and page["anchor"] != verifier.anchor._asdict():
            # The trail was shortened meanwhile; what was read so far is gone.
            await _verify(on)
            return
        verifier, head = verifier or Verifier(Link(**page["anchor"])), Link(**page["head"])
        rows = [(each["id"], Line(*(each[name] for name in Line._fields)), each["hash"]) for each in page["lines"]]
        broken = verifier.check(rows)
        if broken is not None:
            break
    assert verifier is not None
    broken = broken or verifier.finish(head)
    count = verifier.last.id - verifier.anchor.id
    if on.out.as_json:
        found = None if broken is None else broken._asdict()
        on.out.json({"whole": broken is None, "lines": count, "broken": found, "head": head._asdict()})
    elif broken is None:
        on.out.line(f"{count} lines, the chain is whole; the newest is {head.id} with hash {head.hash}")
    else:
        on.out.line(f"the chain is broken at line {broken.id}: {broken.why}; {count} lines before it hold", "bold red")
    if broken is not None:
        raise typer.Exit(1)
