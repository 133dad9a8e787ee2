"""What every command shares: its common options, the connection to a running service, and how it ends."""

import functools
import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from aico_sched.cli.errors import INTERRUPTED
from aico_sched.cli.failures import as_failure
from aico_sched.cli.output import Output

PROGRAM = "aico_sched.program"
"""Where the context keeps how the user called us: `aico-sched`, or `aico scheduler` when mounted there."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs to read.")]
DataDir = Annotated[Path | None, typer.Option(help="The service's data folder, if it is not the usual one.")]
Connect = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A bus to join: tcp://HOST:PUBLISH_PORT,SUBSCRIBE_PORT.")
]
KeyName = Annotated[str, typer.Option("--as", metavar="NAME", help="Whose key to use on the bus.")]
Deadline = Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long to wait for the service's answer.")]


class Client(Protocol):
    """What the commands need of `aico_sched.client.SchedulerClient`."""

    async def request(self, topic: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a command, or CommandError."""

    def events(self, prefix: str, *, resume: bool) -> AsyncIterator[Any]:
        """The service's events whose topic starts with `prefix`, from now on; with `resume` none is lost on the way."""

    async def wait(self, execution_id: str) -> Any:
        """The execution as `ExecutionView`, once it is over."""


class Session:
    """One run of one command."""

    def __init__(self, ctx: typer.Context, arguments: dict[str, Any]) -> None:
        self.out = Output(arguments.pop("as_json", False))
        self.program: str = ctx.meta.get(PROGRAM, "aico-sched")
        self.data_dir: Path | None = arguments.pop("data_dir", None)
        self.bus_connect: str | None = arguments.pop("bus_connect", None)
        self.deadline: float = arguments.pop("deadline", 10.0)
        self.key_name: str = arguments.pop("key_name", "admin")
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The connected client; only an online command has one."""
        if self._client is None:
            raise RuntimeError("this command works without a service")
        return self._client

    async def request(self, topic: str, **payload: Any) -> dict[str, Any]:
        """The result of a command, its arguments without those that are None."""
        return await self.client.request(topic, {key: value for key, value in payload.items() if value is not None})

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """`work` with a connected client."""
        import asyncio

        from aico_sched.cli.connection import connect

        async def connected() -> None:
            async with connect(self.data_dir, self.key_name, self.bus_connect, self.deadline) as client:
                self._client = client
                await work()

        asyncio.run(connected())


Groups = Mapping[str, Callable[..., Any]]


def online(app: typer.Typer, name: str | None = None, groups: Groups | None = None) -> Callable[..., Any]:
    """Registers `async fn(session, …)` as a command that talks to the service.

    `groups` maps a parameter of the function to a callable whose own parameters become options; the function
    receives what the callable makes of them.
    """

    def decorate(fn: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        def body(session: Session, arguments: dict[str, Any]) -> None:
            session.run(lambda: fn(session, **arguments))

        common = {
            "data_dir": (DataDir, None),
            "key_name": (KeyName, "admin"),
            "bus_connect": (Connect, None),
            "deadline": (Deadline, 10.0),
        }
        app.command(name)(_command(fn, body, common, groups or {}))
        return fn

    return decorate


def offline(app: typer.Typer, name: str | None = None, groups: Groups | None = None) -> Callable[..., Any]:
    """Registers `fn(session, …)` as a command that needs no service."""

    def decorate(fn: Callable[..., None]) -> Callable[..., None]:
        def body(session: Session, arguments: dict[str, Any]) -> None:
            fn(session, **arguments)

        app.command(name)(_command(fn, body, {}, groups or {}))
        return fn

    return decorate


def _command(
    fn: Callable[..., Any],
    body: Callable[[Session, dict[str, Any]], None],
    common: Mapping[str, tuple[Any, Any]],
    groups: Groups,
) -> Callable[..., None]:
    """The function that typer calls: it has the options of `fn`, of its groups, and the common ones."""
    parameters, grouped = _parameters(fn, common, groups)

    @functools.wraps(fn)
    def command(**arguments: Any) -> None:
        session = Session(arguments.pop("ctx"), arguments)

        def work() -> None:
            for name, names in grouped.items():
                arguments[name] = groups[name](**{each: arguments.pop(each) for each in names})
            body(session, arguments)

        _guarded(session, work)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del command.__wrapped__
    return command


def _parameters(
    fn: Callable[..., Any], common: Mapping[str, tuple[Any, Any]], groups: Groups
) -> tuple[list[inspect.Parameter], dict[str, list[str]]]:
    def keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)

    parameters = [keyword("ctx", typer.Context, inspect.Parameter.empty)]
    grouped: dict[str, list[str]] = {}
    _, *own = inspect.signature(fn, eval_str=True).parameters.values()
    for parameter in own:
        if parameter.name in groups:
            members = inspect.signature(groups[parameter.name], eval_str=True).parameters.values()
            grouped[parameter.name] = [member.name for member in members]
            parameters += members
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    taken = {parameter.name for parameter in parameters}
    for name, (annotation, default) in (*common.items(), ("as_json", (Json, False))):
        if name not in taken:
            parameters.append(keyword(name, annotation, default))
    return parameters, grouped


def _guarded(session: Session, work: Callable[[], None]) -> None:
    """Runs `work`; every expected end becomes an exit code and a message, anything else stays a traceback."""
    try:
        work()
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader (`… | head`) has seen enough; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except Exception as error:
        failure = as_failure(error)
        if failure is None:
            raise
        session.out.failure(failure, session.program)
        raise typer.Exit(failure.exit_code) from None
