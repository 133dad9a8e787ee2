"""The kind of route the API is made of: guarded, bounded, and refusing with problem documents."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from aico_sched.api.guard import MAX_BODY_BYTES, SECURITY_HEADERS, Guard, whole_body, with_headers
from aico_sched.api.problems import problem, problem_of
from aico_sched.topics.errors import ErrorCode

_HEADERS: Final = {**SECURITY_HEADERS, "Cache-Control": "no-store"}


def guarded(guard: Guard) -> type[APIRoute]:
    """A route class. It brings its guard with it, whatever application the router is included in."""

    class GuardedRoute(APIRoute):
        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            send = with_headers(send, _HEADERS)
            if (refused := guard.refusal(scope)) is not None:
                await refused.response()(scope, receive, send)
                return
            body = await whole_body(receive)
            if body is None:
                text = f"the body is longer than {MAX_BODY_BYTES} bytes"
                await problem(ErrorCode.TOO_LARGE, text).response({"Connection": "close"})(scope, receive, send)
                return
            await super().handle(scope, body, send)

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def or_problem(request: Request) -> Response:
                try:
                    return await answer(request)
                except Exception as error:
                    return problem_of(error).response()

            return or_problem

    return GuardedRoute
