"""The keys of the hosted bus: who may connect, under which name and role.

A folder holds one CURVE key pair per client and the server's own, as certificate files that `zmq.auth` reads.
Whoever can read a secret file *is* that client, so the folder is 0700, every file 0600 from its first byte, and no
secret is ever logged or shown by `repr`.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import zmq
import zmq.auth

from aico_sched.durable import sync_folder
from aico_sched.security.certificates import Certificate, check_private, make_folder, read, write_new
from aico_sched.security.key_names import (
    InsecureKeyFile,
    InvalidKeyName,
    KeyExists,
    KeyNameConflict,
    KeyRingError,
    ProtectedKey,
    RevokedKey,
    UnknownKey,
    check_name,
    check_role,
)
from aico_sched.security.superseded import Superseded

__all__ = [
    "ADMIN",
    "SERVICE",
    "CurveIdentity",
    "CurveKeys",
    "InsecureKeyFile",
    "InvalidKeyName",
    "KeyExists",
    "KeyInfo",
    "KeyNameConflict",
    "KeyRing",
    "KeyRingError",
    "ProtectedKey",
    "RevokedKey",
    "UnknownKey",
]

SERVICE: Final = "aico-sched"
"""The service's own key; the only one with the role `service`."""

ADMIN: Final = "admin"
"""The key that a person at this machine uses."""

_SERVER = "server"

_TICK_NS: Final = 50_000_000
"""A folder that changed so shortly before it was read may change again with the same time stamp."""


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A CURVE key pair, both halves in Z85 (40 characters)."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CurveIdentity:
    """A client as the broker knows it: its name and its key pair, both halves in Z85."""

    name: str
    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a client key. A revoked one is refused by the broker; one that `expires` has a successor,
    and is accepted until then. Times are seconds since 1970."""

    name: str
    role: str
    public: str
    revoked: bool
    created: float | None = None
    expires: float | None = None

    @property
    def current(self) -> bool:
        """Whether it is the one its owner is given."""
        return not self.revoked and self.expires is None


class KeyRing:
    """The keys in `folder`. Changes are atomic and hold a lock file, so that the service and the command line
    can work on one folder at once; the in-memory index is of the last `ensure`, `reload` or change. `now` is the wall
    time, in seconds since 1970.

    Every method that touches the folder raises `InsecureKeyFile` when others could read a secret, and `OSError` when
    the folder cannot be used. They do short file I/O and may be called on an event loop.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self._folder, self._now = folder, now
        self._clients = folder / "clients"
        self._secrets = folder / "secrets"
        self._revoked = folder / "revoked"
        self._staged = folder / "staged"
        self._superseded = Superseded(folder / "superseded")
        self._by_name: dict[str, KeyInfo] = {}
        self._by_public: dict[str, KeyInfo] = {}
        self._read_at: tuple[tuple[int, ...], int] = ((), 0)

    def __repr__(self) -> str:
        return f"KeyRing({str(self._folder)!r}, {len(self._by_name)} clients)"

    @property
    def folder(self) -> Path:
        return self._folder

    def ensure(self, service: str = SERVICE) -> None:
        """Make what is missing of the server's, the service's (called `service`) and the admin's keys, then read all.
        A revoked admin stays revoked. Raises `InvalidKeyName`."""
        check_name(service)
        with self._locked():
            self._mend_server()
            self._ensure_pair(_SERVER, None, self._folder)
            self._ensure_pair(service, "service", self._clients)
            if not self._marker(ADMIN).exists():
                self._ensure_pair(ADMIN, "admin", self._clients)
            self._read_all()

    def reload(self) -> None:
        """Read the folder again; what another process created or revoked takes effect."""
        self._read_all()

    def create(self, name: str, role: str) -> CurveIdentity:
        """A new key pair for `name`. Raises `InvalidKeyName`, `KeyExists`, or `KeyNameConflict` when one name is a
        prefix of the other: SUB filters are prefixes, so `bob` could read the replies to `bobby`."""
        check_name(name)
        check_role(role)
        with self._locked():
            self._read_all()
            self._check_free(name)
            # Left by a crash between the two files of an earlier create, or by a revocation: nobody can use it.
            self._secret_path(name).unlink(missing_ok=True)
            self._superseded.forget(name)
            self._ensure_pair(name, role, self._clients)
            self._marker(name).unlink(missing_ok=True)
            self._read_all()
        return self.client(name)

    def revoke(self, name: str) -> None:
        """Refuse `name` from now on (a running broker after its `reload_keys`). The name stays in `list()` as revoked
        and may be created anew. Raises `UnknownKey`, `RevokedKey` when it is already, `ProtectedKey` for the
        service's."""
        with self._locked():
            self._read_all()
            if self._require(name).role == "service":
                raise ProtectedKey(name)
            self._public_path(name).replace(self._marker(name))
            self._secret_path(name).unlink(missing_ok=True)
            self._superseded.forget(name)
            self._read_all()

    def rotate(self, name: str, overlap: float) -> CurveIdentity:
        """A new key pair for `name`, whose role stays. The old key is accepted for another `overlap` seconds; with 0
        it is refused at once. Raises `UnknownKey` or `RevokedKey`.

        A kill between any two steps leaves a ring in which the owner can connect with the key it has and with
        what `client` gives it: before the new key counts, its secret is on the disk and the old key is noted.
        """
        with self._locked():
            self._read_all()
            old = self._require(name)
            now = self._now()
            public, secret = (half.decode() for half in zmq.curve_keypair())
            write_new(self._staged_path(name), Certificate(name, old.role, public, secret, created=now))
            if overlap > 0:
                expires = now + overlap
                self._superseded.keep(Certificate(name, old.role, old.public, created=old.created, expires=expires))
            write_new(self._public_path(name), Certificate(name, old.role, public, created=now))
            self._finish(name)
            self._superseded.clear(now)
            self._read_all()
        return self.client(name)

    def rotate_server(self) -> None:
        """A new key pair for the broker. It takes effect when the broker is started anew; then every client needs the
        new public half."""
        with self._locked():
            public, secret = (half.decode() for half in zmq.curve_keypair())
            write_new(self._server_path(), Certificate(_SERVER, "", public, secret, created=self._now()))
            self._mend_server()

    def list(self) -> "list[KeyInfo]":
        """Every client key by name, the superseded and the revoked ones too."""
        revoked = [
            KeyInfo(path.stem, certificate.role, certificate.public, True, certificate.created)
            for path, certificate in self._certificates(self._revoked)
            if path.stem not in self._by_name
        ]
        accepted = [info for info in self._by_public.values() if self._in_time(info)]
        return sorted([*accepted, *revoked], key=lambda info: (info.name, info.expires or 0.0))

    def made(self) -> dict[str, float]:
        """When the key that each client is given now was made, by name, from memory."""
        return {name: info.created for name, info in self._by_name.items() if info.created is not None}

    def client(self, name: str) -> CurveIdentity:
        """What `name` needs to connect: its newest key. Raises `UnknownKey` or `RevokedKey`."""
        if name not in self._by_name:
            self._read_all()
        self._require(name)
        path, staged = self._secret_path(name), self._staged_path(name)
        if staged.exists() and read(staged).public == read(self._public_path(name)).public:
            # A rotation was killed before its last step.
            path = staged
        if not path.exists():
            raise UnknownKey(name, f"its secret half is not in {self._secrets}")
        certificate = read(path)
        return CurveIdentity(name, certificate.public, certificate.require_secret(path))

    def server(self) -> CurveKeys:
        """The broker's own key pair; `ensure` makes it."""
        path = self._server_path()
        if not path.exists():
            raise UnknownKey(_SERVER, f"there is no {path}")
        certificate = read(path)
        return CurveKeys(certificate.public, certificate.require_secret(path))

    def role_of(self, name: str) -> str:
        """The role of the live key `name`; raises `UnknownKey` or `RevokedKey`."""
        return self._require(name).role

    def lookup(self, public_key_z85: str) -> tuple[str, str] | None:
        """(name, role) of the accepted key with this public half, from memory."""
        info = self._by_public.get(public_key_z85)
        return None if info is None or not self._in_time(info) else (info.name, info.role)

    def snapshot(self) -> dict[str, tuple[str, str]]:
        """Public half → (name, role) of every accepted key, from memory; two of them tell what a reload changed."""
        return {public: (info.name, info.role) for public, info in self._by_public.items()}

    def expired(self) -> bool:
        """Whether a key in memory has expired since the last reload."""
        return not all(map(self._in_time, self._by_public.values()))

    def changed(self) -> bool:
        """Whether the folder may have changed since it was last read."""
        seen, at = self._read_at
        state = self._state()
        return state != seen or max(state, default=0) > at - _TICK_NS

    def _in_time(self, info: KeyInfo) -> bool:
        return info.expires is None or info.expires > self._now()

    # Files.

    def _public_path(self, name: str) -> Path:
        return self._clients / f"{name}.key"

    def _secret_path(self, name: str) -> Path:
        return self._secrets / f"{name}.key_secret"

    def _marker(self, name: str) -> Path:
        return self._revoked / f"{name}.key"

    def _staged_path(self, name: str) -> Path:
        return self._staged / f"{name}.key_secret"

    def _server_path(self) -> Path:
        return self._folder / f"{_SERVER}.key_secret"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        kept = (self._clients, self._secrets, self._revoked, self._staged, self._superseded.folder)
        for folder in (self._folder, *kept):
            make_folder(folder)
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # What a killed process had begun.
            for unfinished in (path for folder in kept for path in folder.glob(".*")):
                unfinished.unlink()
            for path in self._staged.glob("*.key_secret"):
                self._finish(path.stem)
            yield
        finally:
            os.close(handle)

    def _ensure_pair(self, name: str, role: str | None, public_folder: Path) -> None:
        """The secret file comes first and holds both halves, so that a crash between the two heals here."""
        server = public_folder == self._folder
        secret_path = self._folder / f"{name}.key_secret" if server else self._secret_path(name)
        public_path = public_folder / f"{name}.key"
        if public_path.exists() and not server:
            return
        if not secret_path.exists():
            public, secret = (half.decode() for half in zmq.curve_keypair())
            write_new(secret_path, Certificate(name, role or "", public, secret, created=self._now()))
        if not public_path.exists():
            certificate = read(secret_path)
            write_new(public_path, Certificate(name, role or "", certificate.public, created=certificate.created))

    def _finish(self, name: str) -> None:
        """The last step of a rotation, or the end of one that was killed before its new key counted."""
        staged, public = self._staged_path(name), self._public_path(name)
        if public.exists() and read(public).public == read(staged).public:
            staged.replace(self._secret_path(name))
            sync_folder(self._secrets)
        else:
            staged.unlink()

    def _mend_server(self) -> None:
        """The public file follows the secret one, which holds both halves."""
        secret, public = self._server_path(), self._folder / f"{_SERVER}.key"
        if secret.exists() and public.exists() and (now := read(secret)).public != read(public).public:
            write_new(public, Certificate(_SERVER, "", now.public, created=now.created))

    def _read_all(self) -> None:
        """Build the new index first: a broken file leaves the old one in force."""
        check_private(self._folder)
        read_at = (self._state(), time.time_ns())
        by_name = {
            path.stem: KeyInfo(path.stem, key.role, key.public, False, key.created)
            for path, key in self._certificates(self._clients)
        }
        # Of a name that was revoked, or an old key that counts again, nothing here matters.
        by_public = {
            key.public: KeyInfo(key.name, by_name[key.name].role, key.public, False, key.created, key.expires or 0.0)
            for _, key in self._superseded
            if key.name in by_name
        }
        by_public |= {info.public: info for info in by_name.values()}
        self._by_name = by_name
        self._by_public = {public: info for public, info in by_public.items() if self._in_time(info)}
        self._read_at = read_at

    def _certificates(self, folder: Path) -> Iterator[tuple[Path, Certificate]]:
        for path in sorted(folder.glob("*.key")):
            yield path, read(path)

    def watched(self) -> tuple[Path, ...]:
        """The folders in which every change of the keys shows."""
        return self._clients, self._revoked, self._superseded.folder

    def _state(self) -> tuple[int, ...]:
        return tuple(folder.stat().st_mtime_ns if folder.exists() else 0 for folder in self.watched())

    def _require(self, name: str) -> KeyInfo:
        info = self._by_name.get(name)
        if info is None:
            raise RevokedKey(name) if self._marker(name).exists() else UnknownKey(name)
        return info

    def _check_free(self, name: str) -> None:
        for other in self._by_name:
            if other == name:
                raise KeyExists(name)
            if other.startswith(name) or name.startswith(other):
                raise KeyNameConflict(name, other)
