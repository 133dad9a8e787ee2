"""The command line put together: `aico-sched …`, and `aico scheduler …` where AICO mounts `app`."""

import sys
from typing import Annotated

import typer

from aico_sched import __version__
from aico_sched.cli import (
    apply,
    audit,
    backfill,
    classes,
    contract,
    database,
    executions,
    lint,
    live,
    offline,
    service,
    tasks,
)
from aico_sched.cli.errors import INTERRUPTED, USAGE, usage
from aico_sched.cli.output import Output
from aico_sched.cli.session import PROGRAM

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="AICO's task scheduler: run the service, and manage its tasks.",
)
PARTS = (
    service,
    live,
    tasks,
    backfill,
    apply,
    executions,
    database,
    audit,
    offline,
    lint,
    classes,
    contract,
)
for part in PARTS:
    app.registered_commands += part.app.registered_commands
app.add_typer(executions.dead, name="dead")
app.add_typer(executions.registry, name="registry")
app.add_typer(database.database, name="database")
app.add_typer(offline.keyring, name="keys")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aico-sched {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """AICO's task scheduler: run the service, and manage its tasks."""
    ctx.meta[PROGRAM] = ctx.command_path


def main() -> None:
    """What the command `aico-sched` runs. Ends the process with the command's exit code."""
    try:
        if "--json" in sys.argv[1:]:
            _main_with_json_errors()
        else:
            app(prog_name="aico-sched")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _main_with_json_errors() -> None:
    """A program that asks for JSON gets wrong usage told as JSON too."""
    try:
        sys.exit(app(prog_name="aico-sched", standalone_mode=False))
    except typer.Abort:
        sys.exit(1)
    except Exception as error:
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        Output(as_json=True).failure(usage(describe()), "aico-sched")
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
