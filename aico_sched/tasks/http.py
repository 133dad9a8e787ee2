"""HTTP for tasks: httpx with the bounds a task needs: a deadline for the whole exchange, and a largest answer."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from aico_sched.json_text import decoded

TIMEOUT = 30.0
"""Seconds a whole exchange may take unless said otherwise."""

MAX_BYTES = 10 * 1024 * 1024
"""Of an answer's body, after decompression, unless said otherwise."""


class AnswerTooLong(Exception):
    """The server's answer is longer than allowed; what was read is dropped."""


class HttpAnswer(NamedTuple):
    """What a server answered. `headers` are lower-case."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return decoded(self.text)


class TaskHttp:
    """The requests of one run. `check` raises if the run may make none."""

    def __init__(self, check: Callable[[], object]) -> None:
        self._check = check

    async def get(self, url: str, **options: Any) -> HttpAnswer:
        """`request("GET", …)`."""
        return await self.request("GET", url, **options)

    async def post(self, url: str, **options: Any) -> HttpAnswer:
        """`request("POST", …)`."""
        return await self.request("POST", url, **options)

    async def request(
        self, method: str, url: str, *, timeout: float = TIMEOUT, max_bytes: int = MAX_BYTES, **options: Any
    ) -> HttpAnswer:
        """One exchange; `options` are httpx's `headers`, `params`, `json`, `content`, `data`, `follow_redirects`.

        Raises TimeoutError when it took longer than `timeout` seconds in all, `AnswerTooLong`, `httpx.HTTPError`,
        `NotPermitted`. An answer with an error status is an answer.
        """
        self._check()
        import httpx  # noqa: PLC0415

        async with asyncio.timeout(timeout), httpx.AsyncClient(verify=_certificates(), timeout=timeout) as client:
            follow = options.pop("follow_redirects", False)
            asked = client.build_request(method, url, **options)
            answer = await client.send(asked, stream=True, follow_redirects=follow)
            try:
                return HttpAnswer(answer.status_code, dict(answer.headers), await _body(answer, max_bytes))
            finally:
                await answer.aclose()


async def _body(answer: Any, max_bytes: int) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > max_bytes:
            raise AnswerTooLong(f"{answer.url} answers with more than {max_bytes} bytes")
    return bytes(body)


@cache
def _certificates() -> Any:
    """The trusted certificates: reading them takes some 20 ms."""
    import httpx  # noqa: PLC0415

    return httpx.create_ssl_context()
