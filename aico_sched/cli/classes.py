"""Commands about task classes that need no service: what there is, and one run here and now."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aico_sched.cli.errors import Failure, usage
from aico_sched.cli.options import read_values
from aico_sched.cli.output import Output
from aico_sched.cli.service import load_settings
from aico_sched.cli.session import DataDir, Session, offline

if TYPE_CHECKING:
    from aico_sched.settings import Settings
    from aico_sched.tasks.base import BaseTask
    from aico_sched.tasks.local_run import LocalRun, Report

app = typer.Typer()

SettingsFile = Annotated[
    str | None, typer.Option("--settings", metavar="FILE", help="A settings file instead of the usual one.")
]


@offline(app, "tasks")
def list_classes(on: Session, settings_file: SettingsFile = None, data_dir: DataDir = None) -> None:
    """Show every task class: what it does, when it runs by itself, what it may do, and its configuration keys."""
    from aico_sched.tasks.overview import overview
    from aico_sched.wiring import Arrangements, make_registry

    settings = load_settings(_path(settings_file), on.data_dir)
    registry = make_registry(settings)
    registry.discover()
    found = overview(registry, Arrangements(settings).of)
    if on.out.as_json:
        on.out.json({"tasks": found})
        return
    for one in found:
        on.out.line(one["name"], "bold")
        keys = ", ".join(f"{key['name']}={_shown(key)}" for key in one["config"])
        on.out.fields(
            [
                ("  what", one["description"]),
                ("  when", one["schedule"] and one["schedule"] + ("" if one["enabled"] else " (disabled)")),
                ("  may", ", ".join(one["permissions"])),
                ("  config", keys),
                ("  problem", one["problem"]),
            ]
        )


def _shown(key: dict[str, Any]) -> str:
    return "REQUIRED" if key["required"] else repr(key["default"])


@offline(app, "run-task")
def run_task(
    on: Session,
    task: Annotated[str, typer.Argument(metavar="ID", help="A task class, as `tasks` shows it.", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, tell what would be done.")] = False,
    values: Annotated[
        list[str] | None, typer.Option("--config", metavar="K=V|@FILE", help="Configuration; may be given often.")
    ] = None,
    settings_file: SettingsFile = None,
    data_dir: DataDir = None,
) -> None:
    """Run one task here, without the service, with its settings, its database and in its own data folder. It is not
    recorded, has no bus, and no sandbox: run only code you trust. Do not run a task here while the service runs it."""

    from aico_sched.leftovers import interruptible
    from aico_sched.tasks.errors import InvalidTaskConfig, TaskClassError
    from aico_sched.wiring import Arrangements, make_registry

    settings = load_settings(_path(settings_file), on.data_dir)
    registry = make_registry(settings, sandbox=False)
    registry.discover()
    arranged = Arrangements(settings).of(task)
    try:
        task_class = registry.load(task)
        config = {**arranged.config, **(read_values(values) or {})}
        if dry_run:
            if "dry_run" not in task_class.Config.model_fields:
                raise usage(f"{task} has no dry run", option="dry-run")
            config["dry_run"] = True
        with _progress_bar(on.out) as report:
            run = interruptible(_run(settings, task_class, config, report))
    except InvalidTaskConfig as error:
        raise usage(str(error), field=error.field) from error
    except TaskClassError as error:
        raise Failure("unknown_task_class", str(error), hint="See what there is: {program} tasks") from error
    _tell(on.out, run)
    if not run.success:
        raise typer.Exit(1)


async def _run(
    settings: "Settings", task_class: "type[BaseTask]", config: dict[str, Any], report: "Report"
) -> "LocalRun":
    from aico_sched.by_hand import outside
    from aico_sched.tasks.local_run import run_here

    async with outside(settings, task_class.name, report) as found:
        return await run_here(task_class, config, settings.data_dir / "task_data" / task_class.name, found, report)


def _tell(out: Output, run: "LocalRun") -> None:
    if out.as_json:
        out.json(run.as_json())
        return
    for topic in run.published:
        out.note(f"not published, for there is no bus here: {topic}")
    state = "skipped" if run.skipped else "succeeded" if run.success else "failed"
    out.line(f"{state}: {run.message}" if run.message else state, "green" if run.success else "red")
    out.fields((name, value) for name, value in run.data.items())


def _progress_bar(out: Output) -> "AbstractContextManager[Report]":
    """Shows a run's progress on standard error while the block lasts; nothing with `--json`."""
    if out.as_json:
        return nullcontext(lambda report: None)
    return _Bar()


class _Bar:
    def __enter__(self) -> "Report":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._bar = self._progress.add_task("", total=None)
        self._progress.start()
        return self._show

    def _show(self, report: dict[str, Any]) -> None:
        from aico_sched.cli.output import clean

        fraction = report["fraction"]
        known: dict[str, Any] = {} if fraction is None else {"total": 1.0, "completed": fraction}
        self._progress.update(self._bar, description=clean(report["message"]), **known)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _path(text: str | None) -> Any:
    from pathlib import Path

    return None if text is None else Path(text)
