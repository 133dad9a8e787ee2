"""`aico-sched keys rotate`, and what `keys list` then shows."""

import json
from pathlib import Path
from typing import Any

import pytest

from aico_sched.security.keys import KeyRing


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aico: Any) -> KeyRing:
    monkeypatch.setenv("AICO_SCHED_DATA_DIR", str(tmp_path / "data"))
    aico("keys", "create", "robot", "--role", "operator")
    made = KeyRing(tmp_path / "data" / "keys")
    made.reload()
    return made


def listed(aico: Any) -> list[tuple[str, str]]:
    return [(key["name"], key["state"]) for key in json.loads(aico("keys", "list", "--json").stdout)["keys"]]


def test_all_clients_get_new_keys_and_keep_the_old_ones_for_as_long_as_the_settings_say(
    aico: Any, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICO_SCHED_BUS__KEY_OVERLAP", "3")
    before = {name: ring.client(name).public for name in ("admin", "aico-sched", "robot")}
    result = aico("keys", "rotate")
    assert result.stdout == "rotated admin, aico-sched, robot; the old keys are accepted for 3 more days\n"
    assert all(KeyRing(ring.folder).client(name).public != public for name, public in before.items())
    assert listed(aico) == [(name, state) for name in before for state in ("current", "expiring")]
    ring.reload()
    assert [key.expires - key.created for key in ring.list() if key.expires and key.created] == [
        pytest.approx(3 * 86_400, abs=60)
    ] * 3
    shown = aico("keys", "list").stdout
    assert ("old, until 20" in shown, " d " in shown) == (True, True)


def test_one_client_without_an_overlap(aico: Any, ring: KeyRing) -> None:
    old, other = ring.client("robot").public, ring.client("admin").public
    done = json.loads(aico("keys", "rotate", "robot", "--overlap", "0", "--json").stdout)
    assert done == {"rotated": ["robot"], "overlap_days": 0}
    ring.reload()
    assert (ring.lookup(old), ring.lookup(other)) == (None, ("admin", "admin"))
    assert listed(aico) == [("admin", "current"), ("aico-sched", "current"), ("robot", "current")]


def test_the_broker_s_key_is_for_the_asking_only(aico: Any, ring: KeyRing) -> None:
    old = ring.server().public
    aico("keys", "rotate")
    assert ring.server().public == old
    new = json.loads(aico("keys", "rotate", "--server", "--json").stdout)["server"]
    assert ring.server().public == new != old
    assert aico("keys", "rotate", "robot", "--server").exit_code == 2


@pytest.mark.parametrize("words", [("nobody",), ("robot", "--overlap", "-1"), ("robot", "--overlap", "366")])
def test_what_cannot_be_rotated_changes_nothing(aico: Any, ring: KeyRing, words: tuple[str, ...]) -> None:
    before = {path: path.read_bytes() for path in ring.folder.rglob("*.key*")}
    assert aico("keys", "rotate", *words).exit_code != 0
    assert before == {path: path.read_bytes() for path in ring.folder.rglob("*.key*")}
