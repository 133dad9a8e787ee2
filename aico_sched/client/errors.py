"""What a client raises: one class per error code of the contract, and what can go wrong on the way."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from aico_sched.topics.commands import Payload
from aico_sched.topics.errors import RETRYABLE, CommandError, ErrorCode

Result = TypeVar("Result", bound=Payload)


class SchedulerError(Exception):
    """Base of everything the client raises on purpose. `message` is for people, `details` names the `field` where
    there is one, and `retryable` says whether the same command may succeed later, unchanged."""

    def __init__(
        self, code: ErrorCode | str, message: str, details: Mapping[str, Any] | None = None, *, retryable: bool = False
    ) -> None:
        # Not `super()`: in a `Refused` that is `CommandError`, which takes other arguments.
        Exception.__init__(self, message)
        self.code, self.message = code, message
        self.details: dict[str, Any] = dict(details or {})
        self.retryable = retryable

    def __str__(self) -> str:
        return self.message


class Refused(SchedulerError, CommandError):
    """The service refused the command (or the client did, in the same words, before sending it). Nothing changed."""

    code: ErrorCode


class InvalidMessage(Refused):
    """`invalid_message`: an argument is missing, unknown or out of range."""


class InvalidSchedule(Refused):
    """`invalid_schedule`: the expression cannot be read, or can never fire."""


class UnknownTaskClass(Refused):
    """`unknown_task_class`: no task class of that name is registered."""


class TaskExists(Refused):
    """`task_exists`: there is a task of that id already."""


class TaskNotFound(Refused):
    """`task_not_found`: there is no task of that id."""


class ExecutionNotFound(Refused):
    """`execution_not_found`: there is no execution of that id."""


class PermissionDenied(Refused):
    """`permission_denied`: the role of this client's key does not allow it."""


class ProtectedTask(Refused):
    """`protected_task`: a system task can be disabled, never deleted."""


class TooLarge(Refused):
    """`too_large`: the message, or its answer, is beyond the contract's limits."""


class RateLimited(Refused):
    """`rate_limited`: too many commands; try again later."""


class Conflict(Refused):
    """`conflict`: somebody else changed it first, or its state does not allow the command."""


class Unavailable(Refused):
    """`unavailable`: the service cannot do it now; try again later."""


class InternalError(Refused):
    """`internal`: the service failed; its log says more."""


class RequestTimeout(SchedulerError, TimeoutError):
    """No answer in time. Whether the command was carried out is unknown; `message_id` repeats it safely."""

    def __init__(self, topic: str, seconds: float, message_id: str) -> None:
        message = (
            f"no answer to {topic} within {seconds:g} s; it may have been carried out. Is the service running, and may "
            f"the role of this key send {topic}?"
        )
        super().__init__(ErrorCode.UNAVAILABLE, message, {"topic": topic}, retryable=True)
        self.topic, self.message_id = topic, message_id


class WaitTimeout(SchedulerError, TimeoutError):
    """The execution was not over in time. It goes on."""

    def __init__(self, execution_id: str, seconds: float) -> None:
        message = f"the execution {execution_id} was not over within {seconds:g} s"
        super().__init__(ErrorCode.UNAVAILABLE, message, {"execution_id": execution_id}, retryable=True)


class ServiceUnreachable(SchedulerError, ConnectionError):
    """There is no service to talk to, or no connection to its bus."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.UNAVAILABLE, message, retryable=True)


class EventsLost(SchedulerError):
    """Events were not delivered to an iterator. `last_seq` is the number of the last one delivered, by topic;
    `client.events(resume=True, after=error.last_seq)` fetches the rest from the service's history."""

    def __init__(self, why: str, last_seq: Mapping[str, int]) -> None:
        super().__init__("events_lost", f"events were lost: {why}", {"last_seq": dict(last_seq)})
        self.last_seq = dict(last_seq)


_BY_CODE: dict[str, type[Refused]] = {
    ErrorCode.INVALID_MESSAGE: InvalidMessage,
    ErrorCode.INVALID_SCHEDULE: InvalidSchedule,
    ErrorCode.UNKNOWN_TASK_CLASS: UnknownTaskClass,
    ErrorCode.TASK_EXISTS: TaskExists,
    ErrorCode.TASK_NOT_FOUND: TaskNotFound,
    ErrorCode.EXECUTION_NOT_FOUND: ExecutionNotFound,
    ErrorCode.PERMISSION_DENIED: PermissionDenied,
    ErrorCode.PROTECTED_TASK: ProtectedTask,
    ErrorCode.TOO_LARGE: TooLarge,
    ErrorCode.RATE_LIMITED: RateLimited,
    ErrorCode.CONFLICT: Conflict,
    ErrorCode.UNAVAILABLE: Unavailable,
    ErrorCode.INTERNAL: InternalError,
}


def refusal(
    code: str, message: str, details: Mapping[str, Any] | None = None, *, retryable: bool | None = None
) -> Refused:
    """The exception for an error code; for one that this version does not know an `InternalError` that names it."""
    if code not in _BY_CODE:
        code, details = ErrorCode.INTERNAL, {**(details or {}), "code": code}
    known = ErrorCode(code)
    return _BY_CODE[known](known, message, details, retryable=known in RETRYABLE if retryable is None else retryable)


def from_reply(error: Any) -> Refused:
    """The exception for the `error` of a reply, whatever its shape."""
    if not isinstance(error, dict):
        return refusal(ErrorCode.INTERNAL, f"the service answered with an error that says nothing: {error!r}"[:500])
    details, retryable = error.get("details"), error.get("retryable")
    return refusal(
        str(error.get("code", ErrorCode.INTERNAL)),
        str(error.get("message", "")),
        details if isinstance(details, dict) else None,
        retryable=retryable if isinstance(retryable, bool) else None,
    )


def from_validation(error: ValidationError) -> Refused:
    """What the service would answer to a payload that pydantic refuses."""
    problems = error.errors(include_url=False, include_context=False)
    fields = [".".join(str(part) for part in problem["loc"]) or "payload" for problem in problems]
    message = f"{fields[0]}: {problems[0]['msg']}"
    if others := sorted(set(fields[1:])):
        message += f" (also wrong: {', '.join(others[:10])})"
    return refusal(ErrorCode.INVALID_MESSAGE, message, {"field": fields[0]})


def from_answer(topic: str, model: type[Result], result: Mapping[str, Any]) -> Result:
    """The result of a command as its model. Raises `InternalError` for one of another version."""
    try:
        return model.model_validate(result)
    except ValidationError as error:
        message = f"the answer to {topic} is not as this version of the client knows it: {error}"
        raise refusal(ErrorCode.INTERNAL, message) from error
