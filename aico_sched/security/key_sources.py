"""Where the database's key may come from. Each source says the 32 characters that libSQL takes, or why it cannot."""

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from aico_sched.durable import write_new_private
from aico_sched.security.database_key import (
    ENVIRONMENT,
    KEY_LENGTH,
    InvalidDatabaseKey,
    KeyNotOurs,
    MissingDatabaseKey,
    checked,
    encoded,
    has_content,
    key_from_file,
    key_kept_in,
    new_key,
    retired_keys,
    stage_new_key,
)

PASSPHRASE = "AICO_SCHED_DATABASE_PASSPHRASE"  # noqa: S105 - the name of a variable
MASTER_KEY = "AICO_SCHED_AICO_MASTER_KEY"
KEYRING_SERVICE = "aico-sched"

SALT_BYTES = 16
_AICO_PURPOSE = b"aico-db-libsql"
_AICO_ROUNDS = 100_000

GivenKey = Callable[[], str | bytes]
"""What an embedding program hands in: returns the key, as 32 printable characters or as at least 32 bytes."""


class KeySource(Protocol):
    """One place a key may come from."""

    def current(self) -> str:
        """The key now, made if there was none. Raises `InvalidDatabaseKey`, which says what to do."""

    def kept(self) -> str | None:
        """The key now, None if it would have to be made. Changes nothing. Raises `InvalidDatabaseKey`."""

    def stage(self) -> dict[str, str]:
        """A new key beside the one in use (`database_key.stage_new_key`). Raises `KeyNotOurs`."""

    def former(self) -> list[str]:
        """Keys that were in use before."""


class _Fixed:
    """A source whose key is changed elsewhere."""

    name = ""

    def current(self) -> str:
        """See `KeySource`."""
        raise NotImplementedError

    def kept(self) -> str | None:
        """It is not made here."""
        return self.current()

    def stage(self) -> dict[str, str]:
        """Refuse."""
        raise KeyNotOurs(self.name)

    def former(self) -> list[str]:
        """None that are known."""
        return []


class FileKey:
    """A 0600 file; made at the first start."""

    def __init__(self, key_file: Path, database: Path) -> None:
        self._file, self._database = key_file, database

    def current(self) -> str:
        """See `KeySource`."""
        return key_from_file(self._file, self._database)

    def kept(self) -> str | None:
        """See `KeySource`."""
        return key_kept_in(self._file, self._database)

    def stage(self) -> dict[str, str]:
        """See `KeySource`."""
        return stage_new_key(self._file)

    def former(self) -> list[str]:
        """See `KeySource`."""
        return retired_keys(self._file)


class EnvironmentKey(_Fixed):
    """The variable `AICO_SCHED_DATABASE_KEY`."""

    name = ENVIRONMENT

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def current(self) -> str:
        """See `KeySource`."""
        if ENVIRONMENT not in self._environ:
            raise InvalidDatabaseKey(ENVIRONMENT, "the variable is not set")
        return checked(self._environ[ENVIRONMENT], ENVIRONMENT)


class GivenByProgram(_Fixed):
    """A function of the program that embeds the service, asked once."""

    name = "the embedding program"

    def __init__(self, give: GivenKey) -> None:
        self._give = give
        self._key: str | None = None

    def current(self) -> str:
        """See `KeySource`."""
        if self._key is None:
            given = self._give()
            if isinstance(given, bytes):
                if len(given) < KEY_LENGTH:
                    raise InvalidDatabaseKey(self.name, f"it must be at least {KEY_LENGTH} bytes, it has {len(given)}")
                given = encoded(given)
            self._key = checked(given, self.name)
        return self._key


class KeyringKey(_Fixed):
    """The operating system's keyring, by the `keyring` library (`pip install 'aico-sched[keyring]'`); made at the first
    start. The entry is named after the database's path, so that two databases have two."""

    name = "the OS keyring"

    def __init__(self, database: Path) -> None:
        self._database = database

    def current(self) -> str:
        """See `KeySource`."""
        found = self._ask(make=True)
        if found is None:
            raise InvalidDatabaseKey(self.name, "it does not keep what is put into it")
        return found

    def kept(self) -> str | None:
        """See `KeySource`."""
        return self._ask(make=False)

    def _ask(self, *, make: bool) -> str | None:
        try:
            import keyring  # noqa: PLC0415 - an optional extra
            from keyring.errors import KeyringError  # noqa: PLC0415
        except ImportError:
            hint = "the library `keyring` is not installed; run: pip install 'aico-sched[keyring]'"
            raise InvalidDatabaseKey(self.name, hint) from None
        entry = str(self._database)
        try:
            found = keyring.get_password(KEYRING_SERVICE, entry)
            if found is None and has_content(self._database):
                raise MissingDatabaseKey(self.name, self._database)
            if found is None and make:
                keyring.set_password(KEYRING_SERVICE, entry, new_key())
                found = keyring.get_password(KEYRING_SERVICE, entry)
        except KeyringError as error:
            hint = f"{error or 'it cannot be reached'}; unlock it, or choose another store.key_source"
            raise InvalidDatabaseKey(self.name, hint) from error
        return None if found is None else checked(found, self.name)


class PassphraseKey(_Fixed):
    """A passphrase through Argon2id with the parameters RFC 9106 recommends where 2 GiB are too much (3 passes, 4
    lanes, 64 MiB), and a random salt in a file beside the keys. Derived once: it takes a tenth of a second."""

    name = PASSPHRASE

    def __init__(self, passphrase: Callable[[], str], salt_file: Path, database: Path) -> None:
        self._passphrase, self._salt_file, self._database = passphrase, salt_file, database
        self._key: str | None = None

    def current(self) -> str:
        """See `KeySource`."""
        if self._key is None:
            passphrase = self._passphrase()
            if not passphrase:
                raise InvalidDatabaseKey(self.name, "it is not set, or empty")
            salt = _salt(self._salt_file, self._database)
            self._key = encoded(argon2id(passphrase.encode(), salt, memory_kib=64 * 1024))
        return self._key

    def kept(self) -> str | None:
        """See `KeySource`."""
        return self.current() if _there(self._salt_file, self._database) else None


class AicoKey(_Fixed):
    """AICO's own derivation from its master key, so that both can open AICO's database: PBKDF2-HMAC-SHA256 with the
    salt AICO keeps in `<database>.salt`, as `x"<hex>"`, of which libSQL reads 32 characters."""

    name = MASTER_KEY

    def __init__(self, master_key: Callable[[], bytes], database: Path) -> None:
        self._master_key, self._database = master_key, database
        self._salt_file = database.with_name(f"{database.name}.salt")
        self._key: str | None = None

    def current(self) -> str:
        """See `KeySource`."""
        if self._key is None:
            self._key = aico_database_key(self._master_key(), _salt(self._salt_file, self._database))
        return self._key

    def kept(self) -> str | None:
        """See `KeySource`."""
        return self.current() if _there(self._salt_file, self._database) else None


def aico_database_key(master_key: bytes, salt: bytes) -> str:
    """What reaches libSQL of the key AICO opens its database with."""
    derived = hashlib.pbkdf2_hmac("sha256", master_key + _AICO_PURPOSE, salt, _AICO_ROUNDS, 32)
    return f'x"{derived.hex()}"'[:KEY_LENGTH]


def aico_master_key(password: str, salt: bytes) -> bytes:
    """AICO's master key from its password: Argon2id with 3 passes, 4 lanes and 1 GiB, which takes seconds."""
    return argon2id(password.encode(), salt, memory_kib=1024 * 1024)


def argon2id(secret: bytes, salt: bytes, *, memory_kib: int) -> bytes:
    """32 bytes by Argon2id with 3 passes and 4 lanes (RFC 9106)."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415 - loaded where it is used

    return Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=memory_kib).derive(secret)


def master_key_of(environ: Mapping[str, str]) -> bytes:
    """AICO's master key from `AICO_SCHED_AICO_MASTER_KEY`, 64 hex digits."""
    try:
        key = bytes.fromhex(environ.get(MASTER_KEY, ""))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise InvalidDatabaseKey(MASTER_KEY, "it must be set to 64 hex digits, AICO's master key")
    return key


def _salt(file: Path, database: Path) -> bytes:
    """The salt in `file`, made if neither it nor the database is there."""
    if not _there(file, database):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_new_private(file, secrets.token_bytes(SALT_BYTES))
    salt = file.read_bytes()
    if len(salt) != SALT_BYTES:
        raise InvalidDatabaseKey(str(file), f"a salt has {SALT_BYTES} bytes, this file {len(salt)}; put it back")
    return salt


def _there(salt_file: Path, database: Path) -> bool:
    """Whether there is a salt. Raises `MissingDatabaseKey` where a new one would lock the database away."""
    if salt_file.exists():
        return True
    if has_content(database):
        raise MissingDatabaseKey(str(salt_file), database)
    return False


def source_of(kind: str, key_file: Path, database: Path, environ: Mapping[str, str] | None = None) -> KeySource:
    """The source that `store.key_source` names. `auto` is the environment variable where it is set, else the file."""
    environ = os.environ if environ is None else environ
    if kind == "environment" or (kind == "auto" and ENVIRONMENT in environ):
        return EnvironmentKey(environ)
    if kind == "keyring":
        return KeyringKey(database)
    if kind == "passphrase":
        return PassphraseKey(lambda: environ.get(PASSPHRASE, ""), key_file.with_suffix(".salt"), database)
    if kind == "aico":
        return AicoKey(lambda: master_key_of(environ), database)
    return FileKey(key_file, database)
