"""Commands about the service itself: run it, see how it is, watch what it says."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aico_sched.cli.errors import Failure
from aico_sched.cli.output import local_time, pairs, seconds, short
from aico_sched.cli.session import Connect, DataDir, KeyName, Session, offline, online
from aico_sched.cli.watching import show_event
from aico_sched.topics import names

app = typer.Typer()

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A settings file instead of the usual one.")
]


def load_settings(config: Path | None, data_dir: Path | None, bus_connect: str | None = None, **others: Any) -> Any:
    """The settings with what the command line says on top; what is None it does not say."""
    from aico_sched.settings import Settings

    overrides: dict[str, Any] = {key: value for key, value in others.items() if value is not None}
    if data_dir is not None:
        overrides["paths__data_dir"] = data_dir
    if bus_connect is not None:
        overrides["bus__connect"] = bus_connect
    return Settings.load(config, **overrides)


@offline(app)
def run(
    on: Session,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    bus_connect: Connect = None,
    with_web: Annotated[bool, typer.Option("--web", help="With the REST API and the dashboard; see `web`.")] = False,
    standby: Annotated[bool, typer.Option("--standby", help="Wait for the end of the service that runs now.")] = False,
) -> None:
    """Run the service until SIGTERM or Ctrl-C. It needs no configuration."""
    settings = load_settings(config, on.data_dir, on.bus_connect, scheduler__standby=standby or None)
    from aico_sched.process import run as run_service

    if with_web:
        part = web_part()
        raise typer.Exit(run_service(settings, lambda: part.web(settings)))
    raise typer.Exit(run_service(settings))


@offline(app)
def web(
    on: Session,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    bus_connect: Connect = None,
    key_name: KeyName = "admin",
    host: Annotated[str | None, typer.Option(help="Address to listen on; web.host if absent.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port; 0 for any free one.")] = None,
) -> None:
    """Serve the REST API and the dashboard of a running service until Ctrl-C. Whoever has its token is `--as`."""
    settings = load_settings(config, on.data_dir, on.bus_connect, web__host=host, web__port=port)
    part = web_part()

    def started(address: str) -> None:
        if on.out.as_json:
            on.out.json({"address": address, "token_file": str(part.token_file(settings))})
        elif sys.stdout.isatty():
            on.out.line(f"Dashboard: {part.secret_address(settings, address)}")
        else:
            on.out.line(f"Dashboard: {address} (its token is in {part.token_file(settings)})")
        sys.stdout.flush()

    raise typer.Exit(part.run(settings, on.key_name, on.bus_connect, started))


def web_part() -> Any:
    """The module that serves the API; what it needs is an extra."""
    try:
        from aico_sched.api import server
    except ModuleNotFoundError as error:
        raise Failure(
            "missing_extra",
            f"the REST API and the dashboard need a package that is not installed: {error.name}",
            hint="Install it with: pip install 'aico-sched[api]'",
        ) from error
    return server


@offline(app)
def bus(on: Session, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Run only the bus, for a service in another process or container to join."""
    settings = load_settings(config, on.data_dir)
    from aico_sched.process import run_broker

    raise typer.Exit(run_broker(settings))


@online(app)
async def health(on: Session) -> None:
    """Show how the service is. Exit code 1 unless it is healthy or degraded."""
    found = await on.request(names.HEALTH)
    if on.out.as_json:
        on.out.json(found)
    else:
        ready = "ready" if found["ready"] else "not ready"
        on.out.line(f"{found['status']}, {ready}, version {found['version']}")
        for reason in found["reasons"]:
            on.out.line(f"  {reason}")
        rows = (
            (name, "ok" if check.get("ok", True) else "failed", pairs({k: v for k, v in check.items() if k != "ok"}))
            for name, check in found["checks"].items()
        )
        on.out.table(("CHECK", "STATE", "DETAIL"), rows, "No checks.")
    if found["status"] == "critical" or not found["live"]:
        raise typer.Exit(1)


@online(app)
async def stats(
    on: Session,
    history: Annotated[bool, typer.Option("--history", help="The load of the last hour instead.")] = False,
) -> None:
    """Show counters and gauges of the service."""
    if history:
        await _show_history(on)
        return
    found = await on.request(names.STATS)
    if on.out.as_json:
        on.out.json(found)
        return
    on.out.line(f"up {seconds(found['uptime_seconds'])}")
    groups = {"executions": found["executions"], "host": found["host"]}
    groups |= {f"actor {name}": values for name, values in found["actors"].items()}
    for name, values in groups.items():
        on.out.line("")
        on.out.line(name, "bold")
        on.out.fields((f"  {key}", value) for key, value in _flat(values))
    on.out.line("")
    rows = ((name, *(cache.get(key) for key in ("size", "hits", "misses"))) for name, cache in found["caches"].items())
    on.out.table(("CACHE", "ENTRIES", "HITS", "MISSES"), rows, "No caches.")


async def _show_history(on: Session) -> None:
    found = await on.request(names.STATS_HISTORY)
    if on.out.as_json:
        on.out.json(found)
        return
    columns = ("AT", "CPU", "MEMORY", "LAG", "RUNNING", "DUE", "ENDED")
    rows = (
        (
            local_time(each["at"]),
            f"{each['cpu_percent']:.0f} %",
            f"{each['memory_percent']:.0f} %",
            f"{each['loop_lag_ms']:.1f} ms",
            each["running"],
            each["due"],
            f"{each['ended_per_second']:.2f}/s",
        )
        for each in found["samples"]
    )
    on.out.table(columns, rows, "No samples yet.")


def _flat(values: dict[str, Any], above: str = "") -> list[tuple[str, str | None]]:
    """Nested numbers as `outer.inner`; zero is a value, nothing is not."""
    flat: list[tuple[str, str | None]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{above}{key}.")
        elif isinstance(value, float):
            flat.append((above + key, f"{value:.4g}"))
        else:
            flat.append((above + key, str(value) if isinstance(value, int) else short(value, 200)))
    return flat


@online(app)
async def watch(
    on: Session,
    prefix: Annotated[
        str, typer.Argument(help="Only topics that start with this; `scheduler.event.` may be left out.")
    ] = names.EVENTS,
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="Stop after so many.")] = None,
) -> None:
    """Show events as they happen, until Ctrl-C."""
    topic = prefix if prefix.startswith(names.EVENTS) else names.EVENTS + prefix
    seen = 0
    async for event in on.client.events(topic, resume=True):
        show_event(on, event)
        seen += 1
        if seen == count:
            break
