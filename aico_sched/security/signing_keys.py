"""Ed25519 keys by name and role: who may command the scheduler on a bus where nobody is authenticated.

A folder holds `public/NAME.json` (name, role, key), `secrets/NAME.json`, and what was revoked. The service needs only
the public ones; a secret one belongs to where its owner runs. Files are 0600 in folders of 0700, as the bus keys are.
"""

import base64
import binascii
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aico_sched.security.certificates import check_private, make_folder, write_text
from aico_sched.security.key_names import (
    InsecureKeyFile,
    KeyExists,
    ProtectedKey,
    RevokedKey,
    UnknownKey,
    check_name,
    check_role,
)
from aico_sched.security.keys import ADMIN, SERVICE, KeyInfo
from aico_sched.security.signatures import Signer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class SigningRing:
    """The keys in `folder`; the index in memory is of the last change or `reload`. Errors as those of `KeyRing`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._public, self._secrets, self._revoked = (folder / name for name in ("public", "secrets", "revoked"))
        self._known: dict[str, tuple[KeyInfo, Ed25519PublicKey]] = {}

    def __repr__(self) -> str:
        return f"SigningRing({str(self.folder)!r}, {len(self._known)} keys)"

    def ensure(self, service: str = SERVICE) -> None:
        """Make what is missing of the service's and the admin's keys, then read all. A revoked admin stays revoked."""
        check_name(service)
        with self._locked():
            self._ensure_pair(service, "service")
            if not (self._revoked / f"{ADMIN}.json").exists():
                self._ensure_pair(ADMIN, "admin")
            self.reload()

    def reload(self) -> None:
        """Read the folder again. A broken file leaves the old index in force."""
        check_private(self.folder)
        known = {}
        for path in sorted(self._public.glob("*.json")):
            content = _read(path)
            public = _public_key(path, content.get("public"))
            info = KeyInfo(path.stem, str(content.get("role", "")), str(content["public"]), False)
            known[path.stem] = (info, public)
        self._known = known

    def create(self, name: str, role: str) -> Path:
        """A new key for `name`; the file of its secret half, to be moved to where its owner runs. Raises
        `InvalidKeyName` or `KeyExists`."""
        check_name(name)
        check_role(role)
        with self._locked():
            self.reload()
            if name in self._known:
                raise KeyExists(name)
            (self._secrets / f"{name}.json").unlink(missing_ok=True)
            self._ensure_pair(name, role)
            (self._revoked / f"{name}.json").unlink(missing_ok=True)
            self.reload()
        return self._secrets / f"{name}.json"

    def revoke(self, name: str) -> None:
        """Let no further signature of `name` count. Raises `UnknownKey`, `RevokedKey`, `ProtectedKey`."""
        with self._locked():
            self.reload()
            if self.role_of(name) == "service":
                raise ProtectedKey(name)
            (self._public / f"{name}.json").replace(self._revoked / f"{name}.json")
            (self._secrets / f"{name}.json").unlink(missing_ok=True)
            self.reload()

    def list(self) -> "list[KeyInfo]":
        """Every key by name, the revoked ones too."""
        live = [info for info, _ in self._known.values()]
        gone = []
        for path in self._revoked.glob("*.json"):
            if path.stem not in self._known:
                content = _read(path)
                gone.append(KeyInfo(path.stem, str(content.get("role", "")), str(content.get("public", "")), True))
        return sorted([*live, *gone], key=lambda info: info.name)

    def role_of(self, name: str) -> str:
        """The role of a live key. Raises `UnknownKey` or `RevokedKey`."""
        return self._require(name)[0].role

    def public(self, name: str) -> "Ed25519PublicKey":
        """The key that a live one's signatures are checked with. Raises `UnknownKey` or `RevokedKey`."""
        return self._require(name)[1]

    def signer(self, name: str) -> Signer:
        """What `name` signs with. Raises `UnknownKey` when its secret half is not here."""
        path = self._secrets / f"{name}.json"
        if not path.exists():
            raise UnknownKey(name, f"its secret half is not in {self._secrets}")
        return load_signer(path)

    def watched(self) -> tuple[Path, ...]:
        """The folders in which every change of the keys shows."""
        return self._public, self._revoked

    def _require(self, name: str) -> "tuple[KeyInfo, Ed25519PublicKey]":
        found = self._known.get(name)
        if found is None:
            raise RevokedKey(name) if (self._revoked / f"{name}.json").exists() else UnknownKey(name)
        return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        for folder in (self.folder, self._public, self._secrets, self._revoked):
            make_folder(folder)
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _ensure_pair(self, name: str, role: str) -> None:
        """The secret file comes first and holds both halves, so that a crash between the two heals here."""
        public_path, secret_path = self._public / f"{name}.json", self._secrets / f"{name}.json"
        if public_path.exists():
            return
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if not secret_path.exists():
            key = Ed25519PrivateKey.generate()
            halves = {"public": _text(key.public_key().public_bytes_raw()), "secret": _text(key.private_bytes_raw())}
            _write(secret_path, {"name": name, "role": role, **halves})
        content = _read(secret_path)
        _write(public_path, {"name": name, "role": role, "public": content["public"]})


def load_signer(path: Path) -> Signer:
    """What the secret half in `path` signs with. Raises `InsecureKeyFile`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = _read(path)
    key: Ed25519PrivateKey = _key(path, content.get("secret"), Ed25519PrivateKey.from_private_bytes)
    return Signer(path.stem, key)


def load_public(path: Path) -> "Ed25519PublicKey":
    """The public half in `path`. Raises `InsecureKeyFile`."""
    return _public_key(path, _read(path).get("public"))


def _public_key(path: Path, text: Any) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key: Ed25519PublicKey = _key(path, text, Ed25519PublicKey.from_public_bytes)
    return key


def _key(path: Path, text: Any, make: Any) -> Any:
    try:
        return make(base64.b64decode(text, validate=True))
    except (TypeError, ValueError, binascii.Error) as error:
        raise InsecureKeyFile(path, "it holds no Ed25519 key; restore it, or revoke and create the key") from error


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _write(path: Path, content: dict[str, str]) -> None:
    write_text(path, json.dumps({"algorithm": "ed25519", **content}, indent=2) + "\n")


def _read(path: Path) -> dict[str, Any]:
    check_private(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InsecureKeyFile(path, f"it cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("name") != path.stem:
        raise InsecureKeyFile(path, f"it does not hold the key of {path.stem!r}; was it renamed?")
    return content
