"""What the agency's learning tasks need beyond the core: the extra `aico-sched[agency]`."""

from importlib.util import find_spec

from aico_sched.tasks.base import TaskResult

HINT = "pip install 'aico-sched[agency]'"


def missing(module: str = "sklearn") -> TaskResult | None:
    """The result of a run that cannot be, for lack of `module`; None if it is installed. Imports nothing."""
    if find_spec(module) is not None:
        return None
    return TaskResult.skip(f"scikit-learn is not installed; run: {HINT}", missing=module)
