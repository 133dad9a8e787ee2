"""Commands about the database file: backup and restore, and maintenance while the service runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aico_sched.cli.errors import Failure
from aico_sched.cli.output import seconds
from aico_sched.cli.service import ConfigFile, load_settings
from aico_sched.cli.session import Connect, DataDir, Deadline, KeyName, Session, offline, online
from aico_sched.topics import names

app = typer.Typer()
database = typer.Typer(no_args_is_help=True, help="Maintenance of the database while the service runs.")

LONG = 900.0
MEGABYTE = 1024 * 1024


@offline(app)
def backup(
    on: Session,
    file: Annotated[Path, typer.Argument(help="A new file; it is encrypted like the database.", show_default=False)],
    config: ConfigFile = None,
    data_dir: DataDir = None,
    key_name: KeyName = "admin",
    bus_connect: Connect = None,
    deadline: Deadline = LONG,
) -> None:
    """Copy the database, and prove that the copy opens and is whole; while the service runs, or without it."""
    from aico_sched.store.errors import AlreadyInUse

    target = file.expanduser().absolute()
    try:
        found = _backup_offline(on, config, target)
    except AlreadyInUse:
        found = _through_service(on, target)
    if on.out.as_json:
        on.out.json(found)
        return
    size = f"{found['bytes'] / MEGABYTE:.1f} MiB"
    on.out.line(f"{found['file']}: {size}, {found['rows']} rows, verified in {seconds(found['seconds'])}")
    on.out.line("Restoring it needs the database key too; keep a copy of that in another place.")


def _backup_offline(on: Session, config: Path | None, target: Path) -> dict[str, Any]:
    from aico_sched.store.backup import backup_offline
    from aico_sched.wiring import database_keys

    settings = load_settings(config, on.data_dir)
    if on.bus_connect is None and not settings.database_path.exists():
        raise Failure("file", f"there is no database at {settings.database_path}", hint="Start the service once.")
    with _file_errors():
        return backup_offline(settings.database_path, database_keys(settings), target, lambda *_, **__: None)


def _through_service(on: Session, target: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def work() -> None:
        found.update(await on.request(names.STORE_BACKUP, file=str(target)))

    on.run(work)
    return found


@offline(app)
def restore(
    on: Session,
    file: Annotated[Path, typer.Argument(help="What `backup` made.", show_default=False)],
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Put a backup in the place of the database. Stop the service first; what was there is kept beside it."""
    from aico_sched.store.backup import restore as put_back
    from aico_sched.wiring import database_keys

    settings = load_settings(config, on.data_dir)
    with _file_errors():
        done = put_back(settings.database_path, database_keys(settings), file.expanduser().absolute())
    if on.out.as_json:
        on.out.json({**done._asdict(), "database": str(done.database), "aside": done.aside and str(done.aside)})
        return
    on.out.line(f"restored {done.database}: {done.rows} rows")
    if done.with_former_key:
        on.out.line("The backup had a former key; the database has the present one.")
    if done.aside is not None:
        on.out.line(f"What was there before is in {done.aside}")


class _file_errors:
    """Errors of files as failures of the command."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            said = f"{error.strerror}: {error.filename}" if error.errno else str(error)
            raise Failure("file", said, hint="Nothing was changed.") from error


@online(database)
async def vacuum(
    on: Session,
    full: Annotated[bool, typer.Option("--full", help="Rewrite the whole file, however little that frees.")] = False,
    deadline: Deadline = LONG,
) -> None:
    """Give free pages back to the disk. Commands wait while a full vacuum runs."""
    found = await on.request(names.STORE_VACUUM, mode="full" if full else "auto")
    if on.out.as_json:
        on.out.json(found)
        return
    before, after = found["bytes_before"] / MEGABYTE, found["bytes_after"] / MEGABYTE
    on.out.line(f"{found['mode']} vacuum: {before:.1f} MiB, now {after:.1f} MiB, in {seconds(found['seconds'])}")


@online(database)
async def check(on: Session, deadline: Deadline = LONG) -> None:
    """Read every page of the database. Exit code 1 if something is wrong with it; commands wait meanwhile."""
    found = await on.request(names.STORE_CHECK)
    if on.out.as_json:
        on.out.json(found)
    elif found["ok"]:
        on.out.line(f"sound: {found['bytes'] / MEGABYTE:.1f} MiB read in {seconds(found['seconds'])}")
    else:
        for finding in found["findings"]:
            on.out.line(finding, "red")
        on.out.line(f"The database is damaged. Stop the service and run: {on.program} restore FILE")
    if not found["ok"]:
        raise typer.Exit(1)


@online(database)
async def rekey(on: Session, deadline: Deadline = LONG) -> None:
    """Encrypt the database with a new key. Commands wait meanwhile."""
    found = await on.request(names.STORE_REKEY)
    if on.out.as_json:
        on.out.json(found)
    else:
        on.out.line(
            f"{found['rows']} rows have a new key; the old one, for older backups, is in {found['retired_key']}"
        )
