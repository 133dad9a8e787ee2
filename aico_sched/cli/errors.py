"""How a command ends when it does not succeed: exit code, message, and what to do about it."""

from collections.abc import Mapping
from typing import Any, Final

REFUSED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130

HINTS: Final = {
    "invalid_schedule": "Try it out with: {program} next 'EXPRESSION'",
    "unknown_task_class": "See what there is: {program} registry list",
    "task_exists": "Change it with `{program} update`, or choose another id.",
    "task_not_found": "See what there is: {program} list",
    "execution_not_found": "See what there was: {program} logs",
    "permission_denied": "Use a key with a role that may do this; `{program} keys list` shows them.",
    "protected_task": "A system task can be switched off instead: {program} disable TASK_ID",
    "rate_limited": "Wait a moment and repeat it.",
    "conflict": "Look at the task as it is now (`{program} status TASK_ID`), then repeat the change.",
    "unreachable": "Start the service with `{program} run`; `{program} doctor` says what may be wrong.",
    "configuration": "`{program} doctor` checks everything that stands in the way of a start.",
}


class Failure(Exception):
    """Ends a command. `code` is what a program reads, `message` what a person reads, `hint` what to do next."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        exit_code: int = REFUSED,
        details: Mapping[str, Any] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.exit_code = exit_code
        self.details = dict(details or {})
        self.hint = HINTS.get(code) if hint is None else hint

    def as_json(self) -> dict[str, Any]:
        """`{"error": {"code", "message", "details"}}`."""
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


def usage(message: str, **details: Any) -> Failure:
    """The failure for arguments that cannot be right."""
    return Failure("usage", message, exit_code=USAGE, details=details)
