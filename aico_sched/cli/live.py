"""The command `top`. Its screen is loaded only when it is called."""

import sys
from typing import Annotated

import typer

from aico_sched.cli.errors import UNREACHABLE, Failure, usage
from aico_sched.cli.session import Session, online

app = typer.Typer()


@online(app)
async def top(
    on: Session,
    interval: Annotated[
        float, typer.Option("-i", "--interval", min=0.2, max=60, metavar="SECONDS", help="Between two looks.")
    ] = 1.0,
) -> None:
    """Show the service live on the whole screen; keys pause, run, cancel and requeue. q ends it."""
    if on.out.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise usage("top needs a terminal; programs read `stats --json` and `watch --json`")
    from aico_sched.cli.top.screen import TopApp

    ended = await TopApp(on.client, interval).run_async()
    if ended is not None:
        raise Failure("unreachable", ended, exit_code=UNREACHABLE)
