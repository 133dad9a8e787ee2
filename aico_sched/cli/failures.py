"""Which exception of the library becomes which failure of a command."""

import sys
from typing import Any

from aico_sched.cli.errors import UNREACHABLE, USAGE, Failure


def as_failure(error: Exception) -> Failure | None:
    """The failure that `error` is, or None for one that nobody expected (a bug).

    Only modules that are loaded already can have raised the error, so none is loaded to ask.
    """
    if isinstance(error, Failure):
        return error
    # First, because the client's own errors of these kinds carry a code as well.
    if isinstance(error, TimeoutError | ConnectionError):
        message = str(error) or "the service does not answer"
        # Some of the client's messages say themselves how to start one.
        hint = "" if "aico-sched run" in message else None
        details = getattr(error, "details", None)
        return Failure("unreachable", message, exit_code=UNREACHABLE, details=details, hint=hint)
    for module, name, convert in _KNOWN:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return convert(error)
    return None


def _command_error(error: Any) -> Failure:
    return Failure(str(error.code), error.message, details=error.details)


def _address_error(error: Any) -> Failure:
    return Failure("usage", str(error), exit_code=USAGE)


def _configuration_error(error: Any) -> Failure:
    errors = [
        {"path": each.path, "value": each.value, "allowed": each.allowed, "source": each.source}
        for each in (error, *error.others)
    ]
    return Failure("configuration", str(error), exit_code=USAGE, details={"errors": errors})


def _schedule_error(error: Any) -> Failure:
    details = {"field": error.field, "text": error.text, "suggestion": error.suggestion}
    return Failure("invalid_schedule", str(error), details=details, hint="")


def _key_error(error: Any) -> Failure:
    return Failure("keys", str(error))


def _web_error(error: Any) -> Failure:
    return Failure("web", str(error), exit_code=USAGE)


def _store_error(error: Any) -> Failure:
    return Failure("database", str(error), hint="")


_KNOWN = (
    ("aico_sched.store.errors", "StoreError", _store_error),
    ("aico_sched.api.server", "AddressInUse", _web_error),
    ("aico_sched.api.tokens", "UnusableToken", _web_error),
    ("aico_sched.security.database_key", "InvalidDatabaseKey", _key_error),
    ("aico_sched.security.key_names", "KeyRingError", _key_error),
    ("aico_sched.topics.errors", "CommandError", _command_error),
    ("aico_sched.client.errors", "SchedulerError", _command_error),
    ("aico_sched.bus.address", "InvalidBusAddress", _address_error),
    ("aico_sched.settings.errors", "ConfigurationError", _configuration_error),
    ("aico_sched.schedule.errors", "ScheduleError", _schedule_error),
)
