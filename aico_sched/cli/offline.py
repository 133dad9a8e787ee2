"""Commands that need no service: what a schedule does, the keys of the bus, the version."""

from typing import Annotated, Any

import typer

from aico_sched.cli.service import ConfigFile, load_settings
from aico_sched.cli.session import DataDir, Session, offline

app = typer.Typer()
NO_TIMES = {
    "reboot": "It runs when the service starts.",
    "after": "It runs when the other task has succeeded.",
    "failure": "It runs when such a task has failed for good.",
}
keyring = typer.Typer(no_args_is_help=True, help="Who may use the hosted bus.")


@offline(app, "next")
def next_runs(
    on: Session,
    expression: Annotated[str, typer.Argument(help="Any schedule `create` takes.", show_default=False)],
    tz: Annotated[str | None, typer.Option("--tz", "--timezone", metavar="ZONE", help="IANA name of the zone.")] = None,
    after: Annotated[str | None, typer.Option(metavar="RFC3339", help="Instead of from now on.")] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=1_000, help="So many times.")] = 5,
) -> None:
    """Show when a schedule runs next, and what it means in words."""
    from aico_sched.schedule import parse_rfc3339
    from aico_sched.schedule.explain import explain

    after_us = _now_us() if after is None else parse_rfc3339(after)
    found = explain(expression, tz or _usual_zone(), after_us, number)
    if on.out.as_json:
        on.out.json(
            {
                "expression": found.expression,
                "timezone": found.timezone,
                "next": list(found.next),
                "warnings": list(found.warnings),
            }
        )
        return
    on.out.line(f"{found.description} ({found.timezone})", "bold")
    for moment in found.next:
        on.out.line(moment)
    if not found.next:
        on.out.line(NO_TIMES.get(found.kind, "It does not run after that."))
    for note in found.notes:
        on.out.line(f"note: {note}")
    for warning in found.warnings:
        on.out.note(f"warning: {warning}")


def _now_us() -> int:
    import time

    return time.time_ns() // 1_000


def _usual_zone() -> str:
    """The zone the service would use. Settings cost a tenth of a second to load, so only where some are made."""
    import os

    from aico_sched.host_zone import host_zone
    from aico_sched.paths import default_config_dir

    if "AICO_SCHED_SCHEDULER__TIMEZONE" in os.environ or (default_config_dir() / "core.yaml").is_file():
        return str(load_settings(None, None).timezone)
    return host_zone()


@offline(app)
def version(on: Session) -> None:
    """Show the versions of everything that matters in a bug report."""
    import platform

    from aico_sched import __version__
    from aico_sched.cli.doctor import versions

    found = {"aico-sched": __version__, "python": platform.python_version(), **versions()}
    if on.out.as_json:
        on.out.json(found)
    else:
        on.out.fields(found.items())


@offline(app)
def doctor(on: Session, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Check configuration, keys, ports, folders, clock and versions, without a running service."""
    from aico_sched.cli.doctor import examine

    checks = list(examine(lambda: load_settings(config, on.data_dir)))
    if on.out.as_json:
        on.out.json({"checks": [check._asdict() for check in checks]})
    else:
        on.out.table(("CHECK", "STATE", "FOUND"), ((c.name, c.status, c.detail) for c in checks), "")
        for check in checks:
            if check.mend:
                on.out.line(f"{check.name}: {check.mend}")
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)


Signing = Annotated[
    bool, typer.Option("--signing", help="A key that signs messages, for a joined bus without keys of its own.")
]


def _ring(on: Session, config: Any, signing: bool) -> Any:
    """Both rings have the methods that are used here."""
    settings = load_settings(config, on.data_dir)
    ring: Any
    if signing:
        from aico_sched.security.signing_keys import SigningRing

        ring = SigningRing(settings.bus.signing_keys or settings.data_dir / "keys" / "signing")
    else:
        from aico_sched.security.keys import KeyRing

        ring = KeyRing(settings.data_dir / "keys")
    ring.ensure(settings.bus.name)
    return ring


@offline(keyring, "create")
def create_key(
    on: Session,
    name: Annotated[str, typer.Argument(help="The client's name on the bus.", show_default=False)],
    role: Annotated[str, typer.Option(metavar="admin|operator|observer|module", help="What it may do.")] = "module",
    signing: Signing = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key for a client of the bus."""
    ring = _ring(on, config, signing)
    made = ring.create(name, role)
    secret = made if signing else ring.folder / "secrets" / f"{name}.key_secret"
    if on.out.as_json:
        (public,) = [key.public for key in ring.list() if key.name == name and key.current]
        on.out.json({"name": name, "role": role, "public": public, "secret_file": str(secret)})
    else:
        on.out.line(f"created {name} ({role}); its secret key is in {secret}")


@offline(keyring, "list")
def list_keys(on: Session, signing: Signing = False, config: ConfigFile = None, data_dir: DataDir = None) -> None:
    """Show who may use the bus, and as what."""
    found, now = _ring(on, config, signing).list(), _now_us() / 1_000_000
    if on.out.as_json:
        keys = [
            {
                "name": key.name,
                "role": key.role,
                "public": key.public,
                "state": _state_of(key),
                "revoked": key.revoked,
                "created": _moment(key.created),
                "expires": _moment(key.expires),
            }
            for key in found
        ]
        on.out.json({"keys": keys})
        return
    rows = (
        (
            key.name,
            key.role,
            f"old, until {_moment(key.expires)}" if _state_of(key) == "expiring" else _state_of(key),
            "" if key.created is None else f"{(now - key.created) / 86_400:.0f} d",
            key.public,
        )
        for key in found
    )
    on.out.table(("NAME", "ROLE", "STATE", "AGE", "PUBLIC KEY"), rows, "No keys.")


def _state_of(key: Any) -> str:
    return "current" if key.current else "revoked" if key.revoked else "expiring"


def _moment(seconds: float | None) -> str | None:
    from aico_sched.schedule import format_rfc3339

    return None if seconds is None else format_rfc3339(int(seconds * 1_000_000))


@offline(keyring, "rotate")
def rotate_keys(
    on: Session,
    name: Annotated[str | None, typer.Argument(help="As `keys list` shows it; all clients if left out.")] = None,
    overlap: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, max=365, help="The old keys are accepted for so long; bus.key_overlap."),
    ] = None,
    server: Annotated[
        bool, typer.Option("--server", help="The broker's own key instead; it counts when the broker starts anew.")
    ] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Give clients new keys. The old ones are accepted for a while yet."""
    ring = _ring(on, config, False)
    if server:
        if name is not None:
            raise typer.BadParameter("--server rotates the broker's key; name no client")
        ring.rotate_server()
        public = ring.server().public
        if on.out.as_json:
            on.out.json({"server": public})
        else:
            on.out.line(f"the broker's new public key is {public}; start the broker anew, and give it to its clients")
        return
    days = load_settings(config, on.data_dir).bus.key_overlap if overlap is None else overlap
    names = [key.name for key in ring.list() if key.current] if name is None else [name]
    for each in names:
        ring.rotate(each, days * 86_400)
    if on.out.as_json:
        on.out.json({"rotated": names, "overlap_days": days})
    else:
        until = f"accepted for {days:g} more days" if days else "refused from now on"
        on.out.line(f"rotated {', '.join(names)}; the old keys are {until}")


@offline(keyring, "revoke")
def revoke_key(
    on: Session,
    name: Annotated[str, typer.Argument(help="As `keys list` shows it.", show_default=False)],
    signing: Signing = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
) -> None:
    """Take a client's key away."""
    _ring(on, config, signing).revoke(name)
    if on.out.as_json:
        on.out.json({"name": name, "revoked": True})
    else:
        on.out.line(f"revoked {name}")
