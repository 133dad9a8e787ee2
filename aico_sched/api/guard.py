"""Who may ask: the token, the host that was asked, and the page that asks."""

import hmac
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from aico_sched.api.problems import Problem, problem
from aico_sched.topics import limits
from aico_sched.topics.errors import ErrorCode

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""What a browser on this machine calls this machine."""

ANY_ADDRESS: Final = "*"
"""Among the hosts: a number is as good as a name, for it cannot be made to point elsewhere."""

MAX_BODY_BYTES: Final = limits.MAX_FRAME_BYTES
_PATIENCE: Final = 16

CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Lets a request in, or says why not. The token is compared in constant time.

    `hosts` are the names under which this machine may be asked (no ports). A page somewhere else whose name is made to
    point here (DNS rebinding) asks under its own name and is refused; so is a page of another origin (CSRF). None
    leaves the host to the program around it.
    """

    def __init__(self, token: str, hosts: Collection[str] | None = LOOPBACK) -> None:
        if not token:
            raise ValueError("an API without a token would be open to every program on this machine")
        self._token = token.encode()
        self._any_address = hosts is not None and ANY_ADDRESS in hosts
        self._hosts = None if hosts is None else {host.lower().strip("[]") for host in hosts}

    def refusal(self, scope: Scope, *, with_token: bool = True) -> Problem | None:
        """Why this request is refused; None lets it in."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._answers_for(_name(host)):
            known = "add it to web.hosts if this machine is known by it"
            return problem(ErrorCode.PERMISSION_DENIED, f"this service does not answer for the host {host!r}; {known}")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return problem(ErrorCode.PERMISSION_DENIED, f"a page of {origin!r} may not ask this service")
        if with_token and not self._opens(headers.get("authorization", "")):
            return problem(
                ErrorCode.PERMISSION_DENIED,
                "send the token of this service as `Authorization: Bearer TOKEN`; "
                "`aico-sched web` says where its file is",
                status=401,
            )
        return None

    def _answers_for(self, name: str) -> bool:
        return self._hosts is None or name in self._hosts or (self._any_address and _is_address(name))

    def _opens(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        return hmac.compare_digest(given.strip().encode(), self._token) and scheme.lower() == "bearer"


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """The name in a Host header, without its port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def whole_body(receive: Receive, limit: int = MAX_BODY_BYTES) -> Receive | None:
    """A `receive` that gives the body which has been read, then what comes after it. None when it is too long; a
    sender that has only a little more is heard out, since it reads no answer before it has sent all."""
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return _replay(message, receive)
        size += len(message.get("body", b""))
        if size <= limit:
            chunks.append(message.get("body", b""))
        elif size > _PATIENCE * limit:
            return None
        more = message.get("more_body", False)
    if size > limit:
        return None
    return _replay({"type": "http.request", "body": b"".join(chunks), "more_body": False}, receive)


def _replay(first: Message, receive: Receive) -> Receive:
    waiting = [first]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def with_headers(send: Send, headers: dict[str, str]) -> Send:
    """A `send` that adds `headers` to the answer, where it does not have them."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", [])}
            extra = ((name.lower().encode(), value.encode()) for name, value in headers.items())
            message["headers"] = [*message.get("headers", []), *(pair for pair in extra if pair[0] not in present)]
        await send(message)

    return sending
