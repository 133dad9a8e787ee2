"""What goes wrong with a schedule, typed, so that a caller can show the field, the text and the way out."""

from __future__ import annotations

_SHOWN = 80


def _shorten(text: str) -> str:
    """Keep a message readable when somebody sends a very long expression."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


class ScheduleError(Exception):
    """A schedule that cannot be used; `str()` says what to change.

    Attributes:
        expression: the whole text as it was given.
        field: the part at fault: `minute`, `hour`, `day-of-month`, `month`, `day-of-week`, `expression`,
            `interval`, `at`, `instant` or `timezone`.
        text: the offending piece of the expression.
        reason: what is wrong with it, as a predicate ("is out of range 0-59").
        suggestion: what to write instead, a sentence; never empty.
    """

    def __init__(self, expression: str, field: str, text: str, reason: str, suggestion: str) -> None:
        # All fields go to Exception so that the error survives pickling on its way out of a child process.
        super().__init__(expression, field, text, reason, suggestion)
        self.expression = expression
        self.field = field
        self.text = text
        self.reason = reason
        self.suggestion = suggestion

    def __str__(self) -> str:
        message = f"{self.field}: {_shorten(self.text)!r} {self.reason}."
        if self.expression != self.text:
            message += f" In {_shorten(self.expression)!r}."
        return f"{message} {self.suggestion}"


class TimezoneError(ScheduleError):
    """A time zone name that is not in the IANA database; `field` is always `timezone`."""

    def __init__(self, timezone: str, reason: str, suggestion: str) -> None:
        super().__init__(timezone, "timezone", timezone, reason, suggestion)
        self.args = (timezone, reason, suggestion)
