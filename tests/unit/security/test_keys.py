"""The key folder: private from the first byte, atomic, honest about what is wrong."""

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
import zmq.auth

from aico_sched.security.keys import (
    ADMIN,
    SERVICE,
    InsecureKeyFile,
    InvalidKeyName,
    KeyExists,
    KeyNameConflict,
    KeyRing,
    KeyRingError,
    ProtectedKey,
    RevokedKey,
    UnknownKey,
)


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    made = KeyRing(tmp_path / "keys")
    made.ensure()
    return made


def test_first_use_makes_the_server_the_service_and_the_admin(ring: KeyRing) -> None:
    assert [(info.name, info.role, info.revoked) for info in ring.list()] == [
        (ADMIN, "admin", False),
        (SERVICE, "service", False),
    ]
    assert len(ring.server().public) == len(ring.server().secret) == 40
    assert ring.client(ADMIN).public != ring.client(SERVICE).public


def test_ensure_changes_nothing_the_second_time(ring: KeyRing) -> None:
    before = (ring.server(), ring.client(ADMIN), ring.client(SERVICE))
    again = KeyRing(ring.folder)
    again.ensure()
    assert (again.server(), again.client(ADMIN), again.client(SERVICE)) == before


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        ring = KeyRing(tmp_path / "keys")
        ring.ensure()
        ring.create("bob", "observer")
        ring.revoke("bob")
    finally:
        os.umask(old)
    for path in (ring.folder, *ring.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_file_is_private_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    real = os.fsync

    def spy(handle: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        real(handle)

    monkeypatch.setattr(os, "fsync", spy)
    KeyRing(tmp_path / "keys").ensure()
    assert modes
    assert set(modes) == {0o600, 0o700}


def test_a_failed_write_leaves_nothing(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = sorted(ring.folder.rglob("*"))
    with pytest.raises(OSError, match="No space"):
        ring.create("bob", "observer")
    assert sorted(ring.folder.rglob("*")) == before


def test_pyzmq_reads_the_files(ring: KeyRing) -> None:
    identity = ring.create("bob", "observer")
    public, nothing = zmq.auth.load_certificate(ring.folder / "clients" / "bob.key")
    assert (public.decode(), nothing) == (identity.public, None)
    _, secret = zmq.auth.load_certificate(ring.folder / "secrets" / "bob.key_secret")
    assert secret is not None
    assert secret.decode() == identity.secret
    assert set(zmq.auth.load_certificates(ring.folder / "clients")) == {info.public.encode() for info in ring.list()}


def test_lookup_knows_live_keys_only(ring: KeyRing) -> None:
    bob = ring.create("bob", "observer")
    assert ring.lookup(bob.public) == ("bob", "observer")
    assert ring.role_of("bob") == "observer"
    ring.revoke("bob")
    assert ring.lookup(bob.public) is None
    with pytest.raises(RevokedKey, match="revoked"):
        ring.role_of("bob")
    with pytest.raises(RevokedKey):
        ring.client("bob")
    with pytest.raises(RevokedKey):
        ring.revoke("bob")
    assert [info.revoked for info in ring.list() if info.name == "bob"] == [True]


def test_a_revoked_name_can_be_made_anew_with_another_key(ring: KeyRing) -> None:
    old = ring.create("bob", "observer")
    ring.revoke("bob")
    new = ring.create("bob", "operator")
    assert new.public != old.public
    assert ring.lookup(old.public) is None
    assert [(info.role, info.revoked) for info in ring.list() if info.name == "bob"] == [("operator", False)]


def test_a_revoked_admin_stays_revoked(ring: KeyRing) -> None:
    ring.revoke(ADMIN)
    again = KeyRing(ring.folder)
    again.ensure()
    with pytest.raises(RevokedKey):
        again.client(ADMIN)


def test_reload_sees_what_another_process_did(ring: KeyRing) -> None:
    other = KeyRing(ring.folder)
    bob = other.create("bob", "observer")
    assert ring.lookup(bob.public) is None
    ring.reload()
    assert ring.lookup(bob.public) == ("bob", "observer")
    other.revoke("bob")
    ring.reload()
    assert ring.lookup(bob.public) is None


def test_a_client_key_made_elsewhere_is_found_without_reload(ring: KeyRing) -> None:
    bob = KeyRing(ring.folder).create("bob", "observer")
    assert ring.client("bob") == bob


def test_names_that_are_prefixes_of_one_another_are_refused(ring: KeyRing) -> None:
    ring.create("bob", "observer")
    for name in ("bobby", "bo", "b", "bob-2", "admin-2", "aico"):
        with pytest.raises(KeyNameConflict, match="begin alike"):
            ring.create(name, "observer")
    ring.create("rob", "observer")


@pytest.mark.parametrize("name", ["", "Bob", "-bob", "_x", "bo.b", "../bob", "b" * 65, "bob\n", "böb", "server", "a b"])
def test_unfit_names_are_refused(ring: KeyRing, name: str) -> None:
    with pytest.raises(InvalidKeyName):
        ring.create(name, "observer")


@pytest.mark.parametrize("role", ["", "root", "service", "Admin"])
def test_unfit_roles_are_refused(ring: KeyRing, role: str) -> None:
    with pytest.raises(InvalidKeyName, match="role is one of admin, operator, observer, module"):
        ring.create("bob", role)


def test_an_existing_name_is_refused_and_keeps_its_key(ring: KeyRing) -> None:
    bob = ring.create("bob", "observer")
    with pytest.raises(KeyExists, match="revoke it first"):
        ring.create("bob", "observer")
    assert ring.client("bob") == bob


def test_the_service_key_cannot_be_revoked(ring: KeyRing) -> None:
    with pytest.raises(ProtectedKey):
        ring.revoke(SERVICE)
    with pytest.raises(UnknownKey, match="keys list"):
        ring.revoke("nobody")


def test_secrets_are_never_shown(ring: KeyRing) -> None:
    secrets = {ring.server().secret, ring.client(ADMIN).secret}
    shown = "".join(map(repr, (ring, ring.list(), ring.server(), ring.client(ADMIN)))) + str(ring.client(ADMIN))
    assert not any(secret in shown for secret in secrets)


@pytest.mark.parametrize("name", [".", "server.key_secret", "secrets/admin.key_secret", "clients", "clients/admin.key"])
def test_what_others_could_use_is_refused_with_what_to_do(ring: KeyRing, name: str) -> None:
    path = ring.folder / name
    path.chmod(path.stat().st_mode | 0o040)
    with pytest.raises(InsecureKeyFile, match=r"chmod [67]00"):
        again = KeyRing(ring.folder)
        again.ensure()
        again.server()
        again.client(ADMIN)


def test_a_damaged_file_is_named_and_the_index_stays(ring: KeyRing) -> None:
    bob = ring.create("bob", "observer")
    path = ring.folder / "clients" / "admin.key"
    for content in (b"", b"curve\n", b'curve\n    public-key = "short"\n', b'curve\n public-key = "\xff\xff"\n'):
        path.write_bytes(content)
        with pytest.raises(InsecureKeyFile, match=r"admin\.key"):
            ring.reload()
        assert ring.lookup(bob.public) == ("bob", "observer")


def test_a_renamed_file_is_not_somebody_else(ring: KeyRing) -> None:
    (ring.folder / "clients" / "admin.key").rename(ring.folder / "clients" / "rob.key")
    with pytest.raises(InsecureKeyFile, match="renamed"):
        ring.reload()


def test_a_crash_between_the_two_files_heals(ring: KeyRing) -> None:
    admin = ring.client(ADMIN)
    (ring.folder / "clients" / "admin.key").unlink()
    again = KeyRing(ring.folder)
    again.ensure()
    assert again.client(ADMIN) == admin


def test_a_folder_that_was_never_made(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys")
    with pytest.raises(KeyRingError, match="the service makes it on first start"):
        ring.reload()
    with pytest.raises(UnknownKey):
        ring.server()


def _race(folder: Path, number: int) -> None:
    ring = KeyRing(folder)
    ring.ensure()
    ring.create(f"{number}x", "observer")


def test_processes_that_start_together_agree_on_the_keys(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_race, args=(folder, number)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    ring = KeyRing(folder)
    ring.ensure()
    assert len(ring.list()) == 8
    for info in ring.list():
        assert ring.client(info.name).public == info.public
