"""The fields of a command's payload, divided among path, query and body of a request. Nothing is declared anew."""

import inspect
import uuid
from typing import Annotated, Any, Final, get_args, get_origin

from fastapi import Body, Header, Path, Query
from pydantic import BaseModel, ConfigDict, StringConstraints, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema

from aico_sched.api.operations import Operation
from aico_sched.topics import limits
from aico_sched.topics.commands import Payload
from aico_sched.topics.registry import COMMANDS

REST: Final = "rest"
"""The parameter that holds what is not in the path."""

KEY: Final = "idempotency_key"

_NAMESPACE: Final = uuid.UUID("6f0a1c0e-5d0b-4c43-9a39-6d3b1f1f3c55")

# It may be absent, but there is no header that means null.
IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(min_length=16, max_length=limits.MAX_ID_CHARS, pattern=r"^[!-~]+$")]
    | SkipJsonSchema[None],
    Header(
        alias="Idempotency-Key",
        description="the same key again, within scheduler.message_id_retention, does nothing twice",
    ),
]


class _Query(Payload):
    """What comes in an address is text, so it is read as what the field takes."""

    model_config = ConfigDict(strict=False)


def signature_of(operation: Operation) -> inspect.Signature:
    """The parameters of an operation as FastAPI reads them: one for each field in the path, `rest` for the others (a
    model made of the payload's own fields), and the idempotency key of what changes something."""
    command = COMMANDS[operation.topic]
    in_path = {name for name in command.payload.model_fields if f"{{{name}}}" in operation.path}
    rest = {
        name: field
        for name, field in command.payload.model_fields.items()
        if name not in in_path and name not in operation.fixed and operation.one is None
    }
    kinds: dict[str, tuple[Any, Any]] = {
        name: (Annotated[_annotation(command.payload.model_fields[name]), Path()], inspect.Parameter.empty)
        for name in sorted(in_path)
    }
    if rest and operation.method == "GET":
        kinds[REST] = (Annotated[_model(operation, _Query, rest), Query()], inspect.Parameter.empty)
    elif rest:
        model = _model(operation, Payload, rest)
        needed = any(field.is_required() for field in rest.values())
        kinds[REST] = (
            (Annotated[model, Body()], inspect.Parameter.empty) if needed else (Annotated[model | None, Body()], None)
        )
    if command.mutates:
        kinds[KEY] = (IdempotencyKey, None)
    return inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for name, (annotation, default) in kinds.items()
        ]
    )


def payload_of(operation: Operation, given: dict[str, Any]) -> dict[str, Any]:
    """The payload of the command for what a request has given."""
    rest = given.get(REST)
    named = {} if rest is None else rest.model_dump(mode="json", exclude_unset=True)
    in_path = {name: value for name, value in given.items() if name not in (REST, KEY)}
    return {**named, **in_path, **operation.fixed}


def message_id_of(operation: Operation, given: dict[str, Any]) -> str | None:
    """The id of the command for a request with an idempotency key. A key belongs to the method and address that it came
    with: somewhere else it is another one, since what was answered here is no answer there."""
    key = given.get(KEY)
    if key is None:
        return None
    in_path = sorted((name, value) for name, value in given.items() if name not in (REST, KEY))
    return str(uuid.uuid5(_NAMESPACE, repr((operation.method, operation.path, in_path, key))))


def _annotation(field: FieldInfo) -> Any:
    """The field's type with its constraints. Where it may be absent elsewhere, in a path it may not."""
    kind = field.annotation
    if type(None) in get_args(kind):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is not Annotated and field.metadata:
        return Annotated[(kind, *field.metadata)]
    return kind


def _model(operation: Operation, base: type[Payload], fields: dict[str, FieldInfo]) -> type[BaseModel]:
    payload = COMMANDS[operation.topic].payload
    if fields.keys() == payload.model_fields.keys() and base is Payload:
        return payload
    chosen: dict[str, Any] = {name: (field.annotation, field) for name, field in fields.items()}
    part = "Query" if base is _Query else "Body"
    return create_model(f"{payload.__name__}{part}", __base__=base, __doc__=payload.__doc__, **chosen)
