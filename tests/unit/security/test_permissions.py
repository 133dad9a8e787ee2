import pytest

from aico_sched.security.permissions import capabilities, execution_refusal, is_system, level, may_register

ROLES = ("admin", "operator", "module", "service", "observer", "", "root", "Admin")
MAY_CREATE = {
    "maintenance.x": {"admin", "service"},
    "security.x": {"admin", "service"},
    "agency.x": {"admin", "operator", "service"},
    "user.x": {"admin", "operator", "module", "service"},
    "custom.x": {"admin", "operator", "module", "service"},
    "demo.x": {"admin", "operator", "module", "service"},
    "anything": {"admin", "operator", "module", "service"},
    "maintenance": {"admin", "service"},
    "Maintenance.x": {"admin", "service"},
    "maintenancex.y": {"admin", "operator", "module", "service"},
    "user.maintenance.x": {"admin", "operator", "module", "service"},
}


@pytest.mark.parametrize("task_class", [*MAY_CREATE, "bus.publish"])
@pytest.mark.parametrize("task_id", MAY_CREATE)
def test_both_the_id_and_the_class_must_be_open_to_the_role(task_id: str, task_class: str) -> None:
    everybody = {"admin", "operator", "module", "service"}
    expected = MAY_CREATE[task_id] & MAY_CREATE.get(task_class, everybody)
    assert {role for role in ROLES if may_register(role, task_id, task_class).allowed} == expected
    assert {role for role in ROLES if execution_refusal(task_id, task_class, role) is None} == expected


def test_a_refusal_says_who_may() -> None:
    assert may_register("module", "user.x", "security.keys").reason == (
        "role module may not register tasks with classes of security.* (needs one of admin, service)"
    )
    assert execution_refusal("agency.x", "user.x", "module") == (
        "role module may not run tasks in agency.* (needs one of admin, operator, service)"
    )
    assert may_register("wizard", "user.x", "user.x").reason == "'wizard' is not a role"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("maintenance.a", "system"),
        ("security.a.b", "system"),
        ("agency.a", "learning"),
        ("user.a", "restricted"),
        ("x", "restricted"),
    ],
)
def test_the_namespace_decides_the_level(name: str, expected: str) -> None:
    assert level(name) == expected
    assert is_system(name) is (expected == "system")


def test_capabilities_by_level() -> None:
    own = {"files.own", "bus.publish", "bus.request"}
    assert capabilities("maintenance.x") == own | {
        "files.system",
        "database.system",
        "database.read",
        "database.write",
        "http",
    }
    assert capabilities("agency.x") == own | {"learning", "memory", "database.read", "database.write", "http"}
    assert capabilities("user.x") == capabilities("bus.x") == own


def test_a_class_never_gains_from_the_id_it_runs_under() -> None:
    restricted = capabilities("user.x")
    assert capabilities("maintenance.x", "user.y") == restricted
    assert capabilities("user.x", "maintenance.y") == restricted
    shared = {"database.read", "database.write", "http"}
    assert capabilities("maintenance.x", "agency.y") == restricted | shared
    assert capabilities("maintenance.x", "bus.publish") == capabilities("maintenance.x")
