"""The role table, and that a subscription can never reach around a denial."""

from pathlib import Path

import pytest

from aico_sched.bus.access import AccessRules, InvalidAccessRules
from aico_sched.topics import names
from aico_sched.topics.registry import COMMANDS, EVENTS

RULES = AccessRules.load()
ROLES = ("admin", "operator", "observer", "module", "service")
READS = {
    names.TASK_LIST,
    names.TASK_STATUS,
    names.EXECUTION_LIST,
    names.DEAD_LIST,
    names.SCHEDULE_EXPLAIN,
    names.REGISTRY_LIST,
    names.EVENT_LIST,
    names.STATS,
    names.STATS_HISTORY,
    names.HEALTH,
}
MAY_COMMAND = {
    "admin": set(COMMANDS),
    "operator": {
        topic
        for topic in COMMANDS
        if topic not in (names.REGISTRY_RELOAD, names.AUDIT_LIST) and not topic.startswith("scheduler.store.")
    },
    "observer": READS,
    "module": {
        names.TASK_CREATE,
        names.TASK_UPDATE,
        names.TASK_DELETE,
        names.TASK_TRIGGER,
        names.TASK_STATUS,
        names.TASK_LIST,
        names.EXECUTION_LIST,
        names.SCHEDULE_EXPLAIN,
        names.EVENT_LIST,
        names.HEALTH,
    },
    "service": set(),
}


@pytest.mark.parametrize("role", ROLES)
def test_every_command_for_every_role(role: str) -> None:
    assert {topic for topic in COMMANDS if RULES.may_publish(role, "me", topic)} == MAY_COMMAND[role]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("topic", sorted(EVENTS))
def test_events_are_said_by_the_service_and_heard_by_all(role: str, topic: str) -> None:
    assert RULES.may_publish(role, "me", topic) == (role == "service")
    assert RULES.may_subscribe(role, "me", topic)
    assert RULES.may_subscribe(role, "me", names.EVENTS)


@pytest.mark.parametrize("role", ROLES)
def test_replies_are_private(role: str) -> None:
    for prefix in ("scheduler.reply.me", "scheduler.reply.me.", "scheduler.reply.me.0123"):
        assert RULES.may_subscribe(role, "me", prefix)
    for prefix in (
        "scheduler.reply.",
        "scheduler.reply.m",
        "scheduler.reply.mean",
        "scheduler.reply.you",
        "scheduler.r",
    ):
        assert not RULES.may_subscribe(role, "me", prefix)
    assert RULES.may_publish(role, "me", "scheduler.reply.me.probe.1")
    assert RULES.may_publish(role, "me", "scheduler.reply.you.1") == (role == "service")
    assert RULES.may_publish(role, "me", "scheduler.reply.me") == (role == "service")
    assert RULES.may_publish(role, "me", "scheduler.reply.you.probe.1") == (role == "service")


@pytest.mark.parametrize("role", [*ROLES, "unknown"])
@pytest.mark.parametrize(
    "prefix",
    ["", "s", "sched", "scheduler", "scheduler.", "scheduler.i", "scheduler.internal.", "scheduler.internal.stop"],
)
def test_nobody_reaches_the_inside(role: str, prefix: str) -> None:
    assert not RULES.may_subscribe(role, "me", prefix)
    assert not RULES.may_publish(role, "me", f"{names.INTERNAL}stop")


@pytest.mark.parametrize("role", ["admin", "operator", "observer", "module"])
def test_commands_are_heard_by_the_service_only(role: str) -> None:
    for topic in set(COMMANDS) - {names.EVENT_LIST}:
        assert not RULES.may_subscribe(role, "me", topic)
        assert RULES.may_subscribe("service", names.ROOT, topic)


def test_a_module_has_its_own_topics() -> None:
    for topic in ("conversation.user.input", "a", "schedulers.x"):
        assert RULES.may_publish("module", "me", topic)
        assert RULES.may_subscribe("module", "me", topic)
    for role in ("admin", "operator"):
        # What they schedule with `bus.publish` goes by their own right to publish it.
        assert RULES.may_publish(role, "me", "conversation.user.input")
        assert RULES.may_subscribe(role, "me", "conversation.")
    assert not RULES.may_publish("observer", "me", "conversation.user.input")
    assert not RULES.may_subscribe("observer", "me", "conversation.")


def test_an_unknown_role_may_nothing() -> None:
    assert not RULES.may_publish("", "me", names.HEALTH)
    assert not RULES.may_subscribe("root", "me", names.EVENTS)


def test_a_rule_without_a_dot_is_a_whole_word() -> None:
    assert RULES.may_publish("observer", "me", "scheduler.stats")
    assert RULES.may_publish("observer", "me", "scheduler.stats.x")
    assert not RULES.may_publish("observer", "me", "scheduler.statsx")


def rules(tmp_path: Path, text: str) -> AccessRules:
    path = tmp_path / "access.yaml"
    path.write_text(text, encoding="utf-8")
    return AccessRules.load(path)


def test_the_longest_rule_decides_then_the_denial(tmp_path: Path) -> None:
    made = rules(
        tmp_path,
        'version: 1\nroles: {r: {publish: {allow: ["", "a.b.", "c"], deny: ["a.", "c"]}, '
        'subscribe: {allow: ["", "a.b."], deny: ["a.", "a.b.c."]}}}',
    )
    allowed = {topic: made.may_publish("r", "n", topic) for topic in ("x", "a.x", "a.b.x", "c", "c.d", "cd")}
    assert allowed == {"x": True, "a.x": False, "a.b.x": True, "c": False, "c.d": False, "cd": True}
    prefixes = ("", "a", "a.", "a.b", "a.b.", "a.b.c", "a.b.c.x", "a.b.d", "b", "ab")
    heard = {prefix for prefix in prefixes if made.may_subscribe("r", "n", prefix)}
    assert heard == {"a.b.d", "b", "ab"}


def test_containment_against_a_brute_force_oracle(tmp_path: Path) -> None:
    """A subscription is allowed only if each topic it can match, of all short ones, is."""
    made = rules(
        tmp_path,
        'version: 1\nroles: {r: {subscribe: {allow: ["", "a.a."], deny: ["a.", "b", "a.a.b"]}, '
        'publish: {allow: ["", "a.a."], deny: ["a.", "b", "a.a.b"]}}}',
    )
    topics = [""]
    for _ in range(6):
        topics += [topic + letter for topic in topics[-(3**5) :] for letter in "ab."]
    topics = sorted(set(topics))
    for prefix in topics:
        if len(prefix) <= 4 and made.may_subscribe("r", "n", prefix):
            matched = [topic for topic in topics if topic.startswith(prefix)]
            assert all(made.may_publish("r", "n", topic) for topic in matched), prefix


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("- 1", "the file"),
        ("version: 2\nroles: {a: {}}", "version"),
        ("version: 1", "roles"),
        ("version: 1\nroles: {a: {publsih: {}}}", "roles.a"),
        ("version: 1\nroles: {a: {publish: {alow: []}}}", "roles.a.publish"),
        ("version: 1\nroles: {a: {publish: {allow: x}}}", "roles.a.publish.allow"),
        ("version: 1\nroles: {a: {publish: {allow: [1]}}}", "roles.a.publish.allow"),
        ("version: 1\nroles: {a: [", "the file"),
        ("version: 1\neveryone: 3\nroles: {a: {}}", "everyone"),
    ],
)
def test_a_bad_file_says_where(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(InvalidAccessRules) as caught:
        rules(tmp_path, text)
    assert caught.value.where == where
