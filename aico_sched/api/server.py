"""The API and the dashboard served over HTTP, next to a running service or inside its process."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Final

import structlog
import uvicorn

from aico_sched.api.app import create_app
from aico_sched.api.connections import MAX_CONNECTIONS, REQUEST_SECONDS, Connection, Connections
from aico_sched.api.guard import ANY_ADDRESS, LOOPBACK
from aico_sched.api.tokens import api_token, token_file
from aico_sched.client import SchedulerClient
from aico_sched.logs import configure_logging
from aico_sched.settings import Settings

log = structlog.get_logger(__name__)

_ANY: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104
_GRACE_SECONDS: Final = 2


class AddressInUse(OSError):
    """Another program listens there."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(f"cannot listen on {host}, port {port}: {why}. Choose another port: --port or web.port")
        self.host, self.port = host, port


class _Server(uvicorn.Server):
    """Signals are for the program around it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(settings: Settings, client: SchedulerClient, *, listen: socket.socket) -> AsyncIterator[str]:
    """Serve on the socket `listen` while the context is entered; gives the address of the dashboard, without the token.

    Readers of events hold it up: end them first (`client.end_streams`), or it takes two seconds to end.
    """
    host, port = listen.getsockname()[:2]
    hosts = {*LOOPBACK, *settings.web.hosts, *((socket.gethostname(), ANY_ADDRESS) if host in _ANY else (host,))}
    # Making the models of all routes takes a tenth of a second, and with `run --web` the loop is the scheduler's.
    app = await asyncio.to_thread(create_app, client, api_token(token_file(settings)), hosts=hosts)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            # Of requests whose clients have gone; of connections there are never as many.
            limit_concurrency=MAX_CONNECTIONS + 1,
            http=partial(Connection, Connections(MAX_CONNECTIONS, REQUEST_SECONDS)),  # type: ignore[arg-type]
            ws="none",
            h11_max_incomplete_event_size=64 * 1024,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listen]))
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{port}/"
    finally:
        server.should_exit = True
        await serving


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises `AddressInUse`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listen = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressInUse(host, port, error.strerror or str(error)) from error
    try:
        listen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listen.bind(address)
        listen.listen(128)
    except OSError as error:
        listen.close()
        raise AddressInUse(host, port, error.strerror or str(error)) from error
    listen.setblocking(False)
    return listen


@asynccontextmanager
async def web(settings: Settings, name: str = "admin", bus: str | None = None) -> AsyncIterator[str]:
    """The API and the dashboard of the service in `settings.data_dir`, as the client `name`, where `web.host` and
    `web.port` say. Gives the dashboard's address. Raises `AddressInUse`, and what `SchedulerClient.discover` does."""
    listen = bound(settings.web.host, settings.web.port)
    try:
        async with (
            SchedulerClient.discover(settings.data_dir, name, bus=bus) as client,
            serving(settings, client, listen=listen) as address,
        ):
            if listen.getsockname()[0] not in LOOPBACK:
                log.warning("web_is_open", address=address, hint="the network can read what is sent, the token too")
            log.info("web_started", address=address, token_file=str(token_file(settings)))
            try:
                yield address
            finally:
                client.end_streams()
    finally:
        listen.close()


def secret_address(settings: Settings, address: str) -> str:
    """The dashboard's address with the token in its fragment, which a browser sends to nobody."""
    return f"{address}#token={api_token(token_file(settings))}"


def run(settings: Settings, name: str, bus: str | None, started: Callable[[str], None]) -> int:
    """Serve in a loop of its own until SIGTERM or SIGINT; `started` is called with the address. Returns the exit code
    0, or raises what `web` does."""
    configure_logging(settings.scheduler.log_level, settings.scheduler.log_format)
    return asyncio.run(_until_signalled(settings, name, bus, started))


async def _until_signalled(settings: Settings, name: str, bus: str | None, started: Callable[[str], None]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with web(settings, name, bus) as address:
        started(address)
        await stop.wait()
    return 0
