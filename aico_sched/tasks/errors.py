"""What can be wrong with a task class or its configuration, one type each, with the facts as attributes."""

from collections.abc import Sequence


class TaskClassError(Exception):
    """Base of the errors about a task class; `name` is the class asked for."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class UnknownTaskClass(TaskClassError):
    """No class of this name was found. `known` are those that were, `suggestion` the one that looks most like it."""

    def __init__(self, name: str, known: Sequence[str], suggestion: str | None) -> None:
        hint = f"; did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(name, f"there is no task class {name!r}{hint}")
        self.known = tuple(known)
        self.suggestion = suggestion


class TaskClassUnavailable(TaskClassError):
    """The class is known but cannot be used now; `problem` says why."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, f"task class {name!r} is not available: {problem}")
        self.problem = problem


class InvalidTaskConfig(TaskClassError):
    """The class refuses a configuration. `field` is the first offending key, nested ones joined by dots; `message`
    says what is allowed and never repeats the value, which may be a secret."""

    def __init__(self, name: str, field: str, message: str) -> None:
        super().__init__(name, f"the configuration of {name!r} is not valid: {message}")
        self.field = field
        self.message = message


class CodeNotRemovable(TaskClassError):
    """The code file of a class cannot be deleted; `problem` says why. Nothing was removed."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, f"the code of {name!r} cannot be removed: {problem}")
        self.problem = problem
