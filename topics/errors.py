"""The error codes of the contract and the exception that carries one to the sender of a command."""

from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """Why a command was refused. A client may switch on the code; the message is for people."""

    INVALID_MESSAGE = "invalid_message"
    INVALID_SCHEDULE = "invalid_schedule"
    UNKNOWN_TASK_CLASS = "unknown_task_class"
    TASK_EXISTS = "task_exists"
    TASK_NOT_FOUND = "task_not_found"
    EXECUTION_NOT_FOUND = "execution_not_found"
    PERMISSION_DENIED = "permission_denied"
    PROTECTED_TASK = "protected_task"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    CONFLICT = "conflict"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


RETRYABLE: frozenset[ErrorCode] = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL})
"""Codes after which the same command may succeed later without being changed."""


class CommandError(Exception):
    """A command that is refused, with everything its sender needs to mend it.

    `details` names the offending `field` where there is one. Raising it changes nothing in the service.
    """

    def __init__(self, code: ErrorCode, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def as_reply(self) -> dict[str, Any]:
        """The body of the error reply: `{ok: false, error: {code, message, retryable, details}}`."""
        return {
            "ok": False,
            "error": {
                "code": self.code.value,
                "message": self.message,
                "retryable": self.code in RETRYABLE,
                "details": self.details,
            },
        }


def internal_error(error: BaseException) -> CommandError:
    """What the sender of a command is told when handling it failed for reasons of ours."""
    return CommandError(
        ErrorCode.INTERNAL,
        "the scheduler could not handle this command; its log says why. Nothing was changed; try again",
        error_type=type(error).__name__,
    )
