"""The options a task may carry, as the command line takes them, and the values given to a task."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aico_sched.cli.errors import usage

PANEL = "Task options"


def _option(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=PANEL, **more)


def task_options(
    *,
    description: Annotated[str | None, _option(help="What the task is for.")] = None,
    timezone: Annotated[str | None, _option("--timezone", "--tz", help="IANA zone its times are in.")] = None,
    catchup_window: Annotated[
        float | None, _option(min=0, metavar="SECONDS", help="How late a slot may still run.")
    ] = None,
    fixed_delay: Annotated[
        bool | None, _option(help="An interval counts from the end of the run before, not from slot to slot.")
    ] = None,
    misfire: Annotated[
        str | None, _option(metavar="latest|all|skip", help="Which missed slots run after an outage.")
    ] = None,
    overlap: Annotated[
        str | None,
        _option(metavar="skip|queue|cancel_previous|allow", help="What a due slot does while the task still runs."),
    ] = None,
    jitter: Annotated[float | None, _option(min=0, metavar="SECONDS", help="Starts are spread over this time.")] = None,
    timeout: Annotated[float | None, _option(min=0, metavar="SECONDS", help="How long one attempt may take.")] = None,
    retry_attempts: Annotated[int | None, _option(min=1, help="Attempts in all, the first included.")] = None,
    retry_delay: Annotated[
        float | None, _option(min=0, metavar="SECONDS", help="Before the first retry; it grows from there.")
    ] = None,
    retry_max_delay: Annotated[
        float | None, _option(min=0, metavar="SECONDS", help="Longest time between two attempts.")
    ] = None,
    retry_multiplier: Annotated[float | None, _option(min=1, help="Growth of the delay from retry to retry.")] = None,
    retry_jitter: Annotated[
        str | None, _option(metavar="none|full", help="Whether delays are drawn at random.")
    ] = None,
    environment: Annotated[
        str | None, _option(metavar="auto|loop|thread|process|cluster", help="Where its code runs.")
    ] = None,
    limit_cpu_seconds: Annotated[
        float | None, _option(min=0, metavar="SECONDS", help="Processor time one attempt may use.")
    ] = None,
    limit_memory_mb: Annotated[
        int | None, _option(min=16, metavar="MB", help="Memory one attempt may use; in a process of its own only.")
    ] = None,
    limit_query_seconds: Annotated[
        float | None, _option(min=0, metavar="SECONDS", help="How long a query of the database may take.")
    ] = None,
    resources: Annotated[
        list[str] | None, _option("--resource", metavar="NAME=AMOUNT", help="What a cluster's worker must have free.")
    ] = None,
    priority: Annotated[int | None, _option(min=0, max=100, help="Higher runs first.")] = None,
    group: Annotated[str | None, _option(help="A name of scheduler.groups, whose limit it shares.")] = None,
    max_instances: Annotated[int | None, _option(min=1, help="Runs of it at one time, with --overlap allow.")] = None,
    idle_only: Annotated[bool | None, _option(help="Start only while the machine is idle.")] = None,
    low_activity: Annotated[bool | None, _option(help="Start only in hours in which the user is usually away.")] = None,
    max_defer: Annotated[
        float | None, _option(min=0, metavar="SECONDS", help="Longest a start is put off for lack of resources …")
    ] = None,
    on_max_defer: Annotated[str | None, _option(metavar="run|skip|fail", help="… and what happens then.")] = None,
    blackout: Annotated[
        list[str] | None,
        _option(metavar="WINDOW", help="No start in it: '22:00-06:00', 'SAT,SUN 00:00-24:00'; may be given often."),
    ] = None,
    on_blackout: Annotated[
        str | None, _option(metavar="defer|skip", help="Whether a slot in a blackout runs when that ends, or never.")
    ] = None,
    delivery: Annotated[
        str | None, _option(metavar="at_least_once|at_most_once", help="Whether a run cut short by a crash runs again.")
    ] = None,
    start_at: Annotated[str | None, _option(metavar="RFC3339", help="No run before this time.")] = None,
    end_at: Annotated[str | None, _option(metavar="RFC3339", help="No run after this time.")] = None,
    max_runs: Annotated[int | None, _option(min=1, help="Finished after so many scheduled runs.")] = None,
    owner: Annotated[str | None, _option(help="Whose task it is.")] = None,
    tags: Annotated[list[str] | None, _option("--tag", metavar="TEXT", help="A tag; may be given often.")] = None,
) -> dict[str, Any]:
    """The options that were given, as `scheduler.task.create` takes them."""
    return _nested(locals())


def _nested(given: dict[str, Any]) -> dict[str, Any]:
    """What was given of it, with `retry_…` and `limit_…` in maps of their own."""
    retry = {name.removeprefix("retry_"): given.pop(name) for name in list(given) if name.startswith("retry_")}
    retry["max_attempts"] = retry.pop("attempts")
    limits = {name.removeprefix("limit_"): given.pop(name) for name in list(given) if name.startswith("limit_")}
    if given["resources"]:
        given["resources"] = dict(map(_resource, given["resources"]))
    options = {name: value for name, value in given.items() if value not in (None, [])}
    for name, part in (("retry", retry), ("limits", limits)):
        if chosen := {key: value for key, value in part.items() if value is not None}:
            options[name] = chosen
    return options


def _resource(text: str) -> tuple[str, float]:
    name, _, amount = text.partition("=")
    try:
        return name, float(amount)
    except ValueError:
        raise usage(f"--resource takes NAME=AMOUNT such as GPU=1, not {text!r}", option="resource") from None


def option_defaults(given: list[str]) -> dict[str, Any]:
    """The default of each named option, for putting it back; raises a usage failure for a name that is none."""
    if not given:
        return {}
    from aico_sched.topics.commands import TaskOptions

    fields = TaskOptions.model_fields
    defaults = {}
    for name in given:
        plain = name.lstrip("-").replace("-", "_")
        field = {"tag": "tags", "tz": "timezone", "resource": "resources"}.get(plain, plain)
        if field not in fields:
            raise usage(f"--reset takes one of {', '.join(fields)}, not {name!r}", option="reset")
        defaults[field] = fields[field].get_default(call_default_factory=True)
    return defaults


def read_values(given: list[str] | None) -> dict[str, Any] | None:
    """A task's configuration from `K=V` and `@file.json` or `@file.yaml`, the later one winning; None if none was
    given. V is JSON where it can be read as such, else text."""
    if not given:
        return None
    values: dict[str, Any] = {}
    for item in given:
        if item.startswith("@"):
            values |= _read_file(Path(item[1:]))
            continue
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise usage(f"--config takes KEY=VALUE or @FILE, not {item!r}", option="config")
        values[key] = _value(text)
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
        if path.suffix in (".yaml", ".yml"):
            import yaml

            loaded = yaml.safe_load(text)
        else:
            loaded = json.loads(text)
    except OSError as error:
        raise usage(f"--config: {path} cannot be read: {error.strerror}", option="config") from None
    # yaml's errors share no base class with json's, and yaml may not be loaded.
    except Exception as error:
        raise usage(f"--config: {path} is not valid: {' '.join(str(error).split())}", option="config") from None
    if not isinstance(loaded, dict):
        raise usage(f"--config: {path} must hold a mapping of keys to values", option="config")
    return loaded
