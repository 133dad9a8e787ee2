"""Errors as RFC 9457 problem documents that carry the contract's codes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aico_sched.client.errors import SchedulerError
from aico_sched.topics.errors import RETRYABLE, ErrorCode

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 1

STATUS: Final[Mapping[ErrorCode, int]] = {
    ErrorCode.INVALID_MESSAGE: 422,
    ErrorCode.INVALID_SCHEDULE: 422,
    ErrorCode.UNKNOWN_TASK_CLASS: 422,
    ErrorCode.TASK_EXISTS: 409,
    ErrorCode.TASK_NOT_FOUND: 404,
    ErrorCode.EXECUTION_NOT_FOUND: 404,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.PROTECTED_TASK: 403,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.CONFLICT: 409,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}
"""The HTTP status of every code. A request without a valid token is `permission_denied` with status 401."""

TITLES: Final[Mapping[int, str]] = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "Not allowed",
    404: "There is no such thing",
    405: "Not a method of this resource",
    409: "In conflict with the present state",
    413: "Too large",
    422: "The request is not valid",
    429: "Too many requests",
    500: "The service failed",
    503: "Not available now",
}


class FieldProblem(BaseModel):
    """What is wrong with one field; `field` is its path, parts joined by dots."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457). A program switches on `code`, which is the bus's; a person reads `detail`."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="urn:aico-sched:error: and the code")
    title: str
    status: int
    detail: str
    code: ErrorCode
    retryable: bool = Field(description="whether the same request may succeed later, unchanged")
    details: dict[str, JsonValue] = Field(default_factory=dict)
    errors: list[FieldProblem] = Field(default_factory=list, description="each field that is wrong")

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """The problem as an answer."""
        own = dict(headers or {})
        if self.status in (429, 503):
            own["Retry-After"] = str(RETRY_AFTER_SECONDS)
        if self.status == 401:
            own["WWW-Authenticate"] = "Bearer"
        return Response(self.model_dump_json(), self.status, own, media_type=MEDIA_TYPE)


def problem(
    code: ErrorCode,
    detail: str,
    *,
    status: int | None = None,
    details: Mapping[str, Any] | None = None,
    errors: Sequence[FieldProblem] = (),
    retryable: bool | None = None,
) -> Problem:
    """The problem document of a code; `status` only where it is not the code's own."""
    number = STATUS[code] if status is None else status
    return Problem(
        type=f"urn:aico-sched:error:{code.value}",
        title=TITLES.get(number, "The request failed"),
        status=number,
        detail=_printable(detail),
        code=code,
        retryable=code in RETRYABLE if retryable is None else retryable,
        details=dict(details or {}),
        errors=list(errors),
    )


def problem_of(error: Exception) -> Problem:
    """The problem that an exception is. One that nobody expected is logged whole and told as `internal`."""
    match error:
        case SchedulerError():
            code = ErrorCode(error.code) if error.code in set(ErrorCode) else ErrorCode.INTERNAL
            field = error.details.get("field")
            errors = [FieldProblem(field=field, message=error.message)] if isinstance(field, str) else []
            return problem(code, error.message, details=error.details, errors=errors, retryable=error.retryable)
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _http(error)
    log.error("api.request_failed", exc_info=error)
    return problem(ErrorCode.INTERNAL, "the request failed; the log of the API says more")


def _invalid(error: RequestValidationError) -> Problem:
    errors = [FieldProblem(field=_field(each), message=_printable(each["msg"])) for each in error.errors()[:20]]
    first = errors[0]
    return problem(
        ErrorCode.INVALID_MESSAGE, f"{first.field}: {first.message}", details={"field": first.field}, errors=errors
    )


def _field(error: Mapping[str, Any]) -> str:
    """The path of a field without where it stood; of what is wrong as a whole, where that stood."""
    where, *path = error["loc"]
    return str(where) if not path or error["type"] == "json_invalid" else ".".join(map(str, path))


def _http(error: HTTPException) -> Problem:
    codes = {404: ErrorCode.INVALID_MESSAGE, 413: ErrorCode.TOO_LARGE, 401: ErrorCode.PERMISSION_DENIED}
    code = codes.get(error.status_code, ErrorCode.INTERNAL if error.status_code >= 500 else ErrorCode.INVALID_MESSAGE)
    return problem(code, error.detail, status=error.status_code)


def _printable(text: str) -> str:
    """A lone surrogate in what somebody sent cannot be told in UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def documented(*codes: ErrorCode) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the answers of a route that refuses with these codes, besides those any route may give."""
    always = (ErrorCode.INVALID_MESSAGE, ErrorCode.PERMISSION_DENIED, ErrorCode.TOO_LARGE, ErrorCode.RATE_LIMITED,
              ErrorCode.CONFLICT, ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL)  # fmt: skip
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"]["errors"]["items"] = schema.pop("$defs")["FieldProblem"] if "$defs" in schema else {}
    schema["properties"]["code"] = {"type": "string", "enum": [code.value for code in ErrorCode]}
    schema["properties"]["details"] = {"type": "object"}
    statuses = {400, 401, *(STATUS[code] for code in (*always, *codes))}
    return {
        status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted(statuses)
    }
