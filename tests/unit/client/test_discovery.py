"""Finding a service by its data folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from aico_sched.bus.address import InvalidBusAddress
from aico_sched.client import ServiceUnreachable, locate
from aico_sched.security.keys import InsecureKeyFile, KeyRing, UnknownKey

BUS = "tcp://127.0.0.1:1001,1002"


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(tmp_path / "keys")
    made.ensure()
    return made


def announce(folder: Path, **changes: Any) -> None:
    content = {"version": 1, "pid": 1, "publish": "tcp://127.0.0.1:1001", "subscribe": "tcp://127.0.0.1:1002"}
    (folder / "service.json").write_text(json.dumps({**content, "server_public_key": "k" * 40, **changes}))


def test_a_hosted_bus_has_a_key(tmp_path: Path, ring: KeyRing) -> None:
    announce(tmp_path)
    found = locate(tmp_path)
    assert (str(found.address), found.identity, found.server_public_key) == (BUS, ring.client("admin"), "k" * 40)
    bob = ring.create("bob", "observer")
    assert locate(tmp_path, "bob").identity == bob
    assert locate(tmp_path, bus=BUS) == found
    with pytest.raises(UnknownKey):
        locate(tmp_path, "nobody")


def test_a_joined_bus_has_none(tmp_path: Path, ring: KeyRing) -> None:
    announce(tmp_path, server_public_key=None)
    assert locate(tmp_path)[1:3] == (None, None)
    announce(tmp_path)
    assert locate(tmp_path, bus="tcp://127.0.0.1:7,8")[1:4] == (None, None, "aico")
    (tmp_path / "service.json").unlink()
    assert str(locate(tmp_path, bus=BUS).address) == BUS
    with pytest.raises(InvalidBusAddress):
        locate(tmp_path, bus="nonsense")


def test_no_service_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnreachable, match=r"aico-sched run.*--data-dir"):
        locate(tmp_path)


def test_the_usual_folder(tmp_path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    announce(tmp_path)
    monkeypatch.setenv("AICO_SCHED_DATA_DIR", str(tmp_path))
    assert str(locate().address) == BUS


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"version": 2}',
        '{"version": 1}',
        '{"version": 1, "publish": "x", "subscribe": "y"}',
        '{"version": 1, "publish": 1, "subscribe": "y"}',
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "service.json").write_text(content)
    with pytest.raises(ServiceUnreachable, match=r"service\.json"):
        locate(tmp_path)


def test_an_open_key_is_refused(tmp_path: Path, ring: KeyRing) -> None:
    announce(tmp_path)
    (ring.folder / "secrets" / "admin.key_secret").chmod(0o644)
    with pytest.raises(InsecureKeyFile, match="chmod 600"):
        locate(tmp_path)
