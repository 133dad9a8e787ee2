"""The REST API as a router for any FastAPI application."""

from collections.abc import Callable, Collection, Coroutine
from typing import Any, get_args

from fastapi import APIRouter, Response

from aico_sched.api.guard import LOOPBACK, Guard
from aico_sched.api.operations import OPERATIONS, Operation
from aico_sched.api.parameters import message_id_of, payload_of, signature_of
from aico_sched.api.probes import add_probes
from aico_sched.api.problems import documented
from aico_sched.api.route import guarded
from aico_sched.api.stream import add_stream
from aico_sched.client import SchedulerClient
from aico_sched.client.errors import from_answer, refusal
from aico_sched.topics.commands import Payload
from aico_sched.topics.registry import COMMANDS

Source = SchedulerClient | Callable[[], SchedulerClient]
"""A connected client, or what gives it when a request comes; it may raise `ServiceUnreachable`."""

Endpoint = Callable[..., Coroutine[Any, Any, Response]]


def create_router(client: Source, token: str, *, hosts: Collection[str] | None = LOOPBACK) -> APIRouter:
    """Every operation of the contract below the prefix it is included with.

    >>> app.include_router(create_router(client, api_token(path)), prefix="/api/v1/scheduler")

    Each route refuses without `token`, when it is asked under a host name that is not in `hosts` (None: the program
    around it checks that), and when a page of another origin asks. Errors are problem documents.
    """
    get = client if callable(client) else lambda: client
    router = APIRouter(route_class=guarded(Guard(token, hosts)))
    for operation in OPERATIONS:
        _add(router, operation, _endpoint(operation, get))
    add_probes(router, get)
    add_stream(router, get)
    return router


def result_of(operation: Operation) -> type[Payload]:
    """The model of an operation's answer."""
    whole = COMMANDS[operation.topic].result
    if operation.one is None:
        return whole
    kind = whole.model_fields[operation.one].annotation
    inner = get_args(kind)
    model = inner[0] if inner else kind
    assert isinstance(model, type) and issubclass(model, Payload)
    return model


def _add(router: APIRouter, operation: Operation, endpoint: Endpoint) -> None:
    router.add_api_route(
        operation.path,
        endpoint,
        methods=[operation.method],
        status_code=operation.status,
        response_model=result_of(operation),
        responses=documented(*operation.refuses),
        summary=operation.summary,
        description=COMMANDS[operation.topic].payload.__doc__,
        tags=[operation.tag],
        operation_id=_name(operation),
    )


def _name(operation: Operation) -> str:
    words = operation.path.replace("{", "").replace("}", "").replace("-", "_").strip("/").split("/")
    return "_".join((operation.method.lower(), *words))


def _endpoint(operation: Operation, client: Callable[[], SchedulerClient]) -> Endpoint:
    command = COMMANDS[operation.topic]

    async def endpoint(**given: Any) -> Response:
        message_id = message_id_of(operation, given)
        found = await client().request(operation.topic, payload_of(operation, given), message_id=message_id)
        answer = from_answer(operation.topic, command.result, found)
        if operation.one is not None:
            answer = _picked(operation, answer, given)
        return Response(answer.model_dump_json(), operation.status, media_type="application/json")

    endpoint.__signature__ = signature_of(operation)  # type: ignore[attr-defined]
    endpoint.__name__ = _name(operation)
    return endpoint


def _picked(operation: Operation, answer: Payload, given: dict[str, Any]) -> Payload:
    found = getattr(answer, str(operation.one))
    if isinstance(found, Payload):
        return found
    if not found:
        asked = {name: value for name, value in given.items() if isinstance(value, str)}
        raise refusal(operation.missing, f"there is no {' '.join(asked.values())}", asked)
    first: Payload = found[0]
    return first
