"""Which role may publish and subscribe what: `config/access.yaml`, read and applied. No sockets, no state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

DEFAULT_FILE: Final = Path(__file__).parent.parent / "config" / "access.yaml"

VERSION: Final = 1
_NAME: Final = "{name}"


class InvalidAccessRules(ValueError):
    """An access file that cannot be used; nothing of it is in force."""

    def __init__(self, path: Path, where: str, problem: str) -> None:
        super().__init__(f"{path}: {where}: {problem}")
        self.path, self.where = path, where


class Rule(NamedTuple):
    """`pattern` as it stands in the file, and whether it allows."""

    pattern: str
    allow: bool

    def resolved(self, name: str) -> str:
        return self.pattern.replace(_NAME, name)


class AccessRules:
    """The rules of every role. The longest rule that covers a topic decides, of equal ones the denial; what none
    covers is refused, and so is everything for an unknown role."""

    def __init__(self, publish: Mapping[str, tuple[Rule, ...]], subscribe: Mapping[str, tuple[Rule, ...]]) -> None:
        self._publish, self._subscribe = publish, subscribe

    @classmethod
    def load(cls, path: Path | None = None) -> "AccessRules":
        """The rules in `path`, or the ones that come with the package. Raises `InvalidAccessRules` or `OSError`."""
        path = path or DEFAULT_FILE
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise InvalidAccessRules(path, "the file", f"not YAML: {error}") from error
        return cls(*_parse(path, raw))

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(self._publish)

    def may_publish(self, role: str, name: str, topic: str) -> bool:
        """Whether the key `name` with `role` may publish on exactly `topic`."""
        return _decide(self._publish.get(role, ()), name, topic)

    def may_subscribe(self, role: str, name: str, prefix: str) -> bool:
        """Whether every topic that a subscription to `prefix` could match is allowed: the rule that covers the
        prefix allows it, and no denial lies inside what it matches."""
        rules = self._subscribe.get(role, ())
        if not _decide(rules, name, prefix):
            return False
        return not any(not rule.allow and rule.resolved(name).startswith(prefix) for rule in rules)


def _covers(pattern: str, topic: str) -> bool:
    if not pattern or pattern.endswith("."):
        return topic.startswith(pattern)
    return topic == pattern or topic.startswith(pattern + ".")


def _decide(rules: tuple[Rule, ...], name: str, topic: str) -> bool:
    best, allowed = -1, False
    for rule in rules:
        pattern = rule.resolved(name)
        if len(pattern) >= best and _covers(pattern, topic):
            allowed = rule.allow and (allowed or len(pattern) > best)
            best = len(pattern)
    return allowed


def _parse(path: Path, raw: Any) -> tuple[dict[str, tuple[Rule, ...]], dict[str, tuple[Rule, ...]]]:
    top = _table(path, "the file", raw, {"version", "everyone", "roles"})
    if top.get("version") != VERSION:
        raise InvalidAccessRules(path, "version", f"this program reads version {VERSION}")
    if not isinstance(top.get("roles"), dict) or not top["roles"]:
        raise InvalidAccessRules(path, "roles", "must name at least one role")
    everyone = _role(path, "everyone", top.get("everyone") or {})
    publish: dict[str, tuple[Rule, ...]] = {}
    subscribe: dict[str, tuple[Rule, ...]] = {}
    for role, content in top["roles"].items():
        own = _role(path, f"roles.{role}", content or {})
        publish[role] = _override(everyone[0], own[0])
        subscribe[role] = _override(everyone[1], own[1])
    return publish, subscribe


def _override(everyone: tuple[Rule, ...], own: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """A role's own rule replaces everyone's about the same topics."""
    patterns = {rule.pattern for rule in own}
    return (*(rule for rule in everyone if rule.pattern not in patterns), *own)


def _role(path: Path, where: str, raw: Any) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    table = _table(path, where, raw, {"publish", "subscribe"})
    publish = _rules(path, f"{where}.publish", table.get("publish") or {})
    return publish, _rules(path, f"{where}.subscribe", table.get("subscribe") or {})


def _rules(path: Path, where: str, raw: Any) -> tuple[Rule, ...]:
    table = _table(path, where, raw, {"allow", "deny"})
    rules = []
    for word in ("allow", "deny"):
        patterns = table.get(word) or []
        if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
            raise InvalidAccessRules(path, f"{where}.{word}", "must be a list of strings")
        rules += [Rule(pattern, word == "allow") for pattern in patterns]
    return tuple(rules)


def _table(path: Path, where: str, raw: Any, allowed: set[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise InvalidAccessRules(path, where, "must be a map")
    unknown = sorted(str(key) for key in raw if key not in allowed)
    if unknown:
        raise InvalidAccessRules(path, where, f"unknown {', '.join(unknown)}; known are {', '.join(sorted(allowed))}")
    return raw
