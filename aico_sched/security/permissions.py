"""Who may register which task, and what a task may do. Pure: the answer depends on the arguments only.

A task's namespace, the first part of its id, decides its level. The same rule is asked when a task is registered
and again before each run, with the role its creator had.
"""

from functools import lru_cache
from typing import Final, NamedTuple

SYSTEM: Final = "system"
LEARNING: Final = "learning"
RESTRICTED: Final = "restricted"

OUTGOING: Final = "outgoing"

_LEVELS: Final = {"maintenance": SYSTEM, "security": SYSTEM, "agency": LEARNING, "notify": OUTGOING}

_CREATORS: Final = {
    SYSTEM: frozenset({"admin", "service"}),
    LEARNING: frozenset({"admin", "operator", "service"}),
    OUTGOING: frozenset({"admin", "operator", "service"}),
    RESTRICTED: frozenset({"admin", "operator", "module", "service"}),
}
_ROLES: Final = frozenset({"admin", "operator", "module", "service", "observer"})

_OWN: Final = frozenset({"files.own", "bus.publish", "bus.request"})
_CAPABILITIES: Final = {
    SYSTEM: _OWN | {"files.system", "database.system", "database.read", "database.write", "http"},
    LEARNING: _OWN | {"learning", "memory", "database.read", "database.write", "http"},
    OUTGOING: _OWN | {"http"},
    RESTRICTED: _OWN,
}


class Decision(NamedTuple):
    """Whether something is allowed; `reason` says why, for the audit trail and for who was refused."""

    allowed: bool
    reason: str


def namespace(name: str) -> str:
    """The first part of a dot-separated name, in lower case: `Maintenance.x` is no way around the rules."""
    return name.partition(".")[0].lower()


def level(name: str) -> str:
    """The permission level of a task id or class name: `system`, `learning`, `outgoing` or `restricted`."""
    return _LEVELS.get(namespace(name), RESTRICTED)


def is_system(name: str) -> bool:
    """Whether `name` lies in a system namespace (`maintenance`, `security`)."""
    return level(name) == SYSTEM


def may_register(role: str, task_id: str, task_class: str) -> Decision:
    """Whether `role` may create or change a task `task_id` that runs `task_class`.

    Both names must be open to the role. Classes in `bus.*` are generic and need only the right to the id.
    """
    refusal = _refusal(role, namespace(task_id), namespace(task_class), "register")
    return Decision(refusal is None, refusal or f"role {role} may register {task_id} with {task_class}")


def execution_refusal(task_id: str, task_class: str, role: str) -> str | None:
    """Why the task may not run, `role` being the one its creator had; None if it may. The rule of `may_register`, asked
    again: neither an edited database nor a rule that became stricter lets a task through."""
    return _refusal(role, namespace(task_id), namespace(task_class), "run")


@lru_cache(maxsize=1_024)
def _refusal(role: str, task_namespace: str, class_namespace: str, verb: str) -> str | None:
    """Why not, or None: the same for all tasks of a namespace."""
    if role not in _ROLES:
        return f"{role!r} is not a role"
    names = [("tasks in", task_namespace)]
    if class_namespace != "bus":
        names.append(("tasks with classes of", class_namespace))
    for what, name in names:
        allowed = _CREATORS[level(name)]
        if role not in allowed:
            return f"role {role} may not {verb} {what} {name}.* (needs one of {', '.join(sorted(allowed))})"
    return None


def capabilities(task_id: str, task_class: str | None = None) -> frozenset[str]:
    """What a task may use: some of `files.own`, `files.system`, `bus.publish`, `bus.request`, `database.system`,
    `database.read`, `database.write`, `http`, `learning`, `memory`. Of the database, system tasks may use
    all, the others what is not the scheduler's own.

    With `task_class`, only what both names allow: a user's class gains nothing from a system task's id. Generic
    classes (`bus.*`) are what their task's id makes them.
    """
    granted = _CAPABILITIES[level(task_id)]
    if task_class is not None and namespace(task_class) != "bus":
        granted &= _CAPABILITIES[level(task_class)]
    return granted
