"""The kind of route the API is made of: guarded, bounded, and refusing with problem documents."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from aico_sched.api.guard import MAX_BODY_BYTES, SECURITY_HEADERS, Guard, whole_body, with_headers
from aico_sched.api.problems import problem, problem_of
from aico_sched.client.errors import refusal
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
            if scope["method"] not in (self.methods or ()):
                text = f"{scope['method']} is no method of this address"
                allow = {"Allow": ", ".join(sorted(self.methods or ()))}
                await problem(ErrorCode.INVALID_MESSAGE, text, status=405).response(allow)(scope, receive, send)
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
                    _check_query(request)
                    return await answer(request)
                except Exception as error:
                    return problem_of(error).response()

            return or_problem

    return GuardedRoute


def _check_query(request: Request) -> None:
    """What is given twice, or where nothing is read, would be dropped in silence."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if request.method != "GET":
            raise refusal(ErrorCode.INVALID_MESSAGE, f"{name}: give it in the body", {"field": name})
        if given.count(name) > 1:
            raise refusal(ErrorCode.INVALID_MESSAGE, f"{name}: given more than once", {"field": name})
