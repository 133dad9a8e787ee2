"""The key of the encrypted database: what it must look like, and the file that keeps it by default."""

import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from aico_sched.durable import write_new_private, write_private

KEY_LENGTH = 32
ENVIRONMENT = "AICO_SCHED_DATABASE_KEY"

ALPHABET = "".join(chr(code) for code in range(33, 127))
"""Every printable ASCII character but the space: 32 of these 94 carry 209 bits, the most that a line of text holds."""


class InvalidDatabaseKey(Exception):
    """A database key that cannot be used; says where it came from and never what it is."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"the database key from {source} cannot be used: {reason}")
        self.source, self.reason = source, reason


class MissingDatabaseKey(InvalidDatabaseKey):
    """There is a database, and the place where its key should be has none. A new one would lock it away."""

    def __init__(self, source: str, database: Path) -> None:
        super().__init__(
            source, f"it is not there, but the database {database} is. Put the key back, or restore a backup of both"
        )
        self.database = database


class KeyNotOurs(InvalidDatabaseKey):
    """The key is somebody else's to change."""

    def __init__(self, source: str) -> None:
        super().__init__(
            source, "it is not the service's to change; only a key in a file (store.key_source: file) can be rotated"
        )


def new_key() -> str:
    """A random key of exactly the 32 characters that count."""
    return "".join(secrets.choice(ALPHABET) for _ in range(KEY_LENGTH))


def encoded(secret: bytes) -> str:
    """A derived secret of at least 32 bytes as the 32 characters that reach libSQL, as evenly as fits: it is read as
    one number and written with the 94 digits of `ALPHABET` (the bias is below 2**-46 for 32 bytes)."""
    number, digits = int.from_bytes(secret, "big"), []
    for _ in range(KEY_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)


def checked(key: str, source: str) -> str:
    """`key` itself; raises `InvalidDatabaseKey` unless all of it would count."""
    if len(key) != KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise InvalidDatabaseKey(source, f"it must be {KEY_LENGTH} printable ASCII characters, it has {len(key)}")
    return key


def database_key(key_file: Path, environ: Mapping[str, str] | None = None, database: Path | None = None) -> str:
    """The key: from `AICO_SCHED_DATABASE_KEY`, else from `key_file`, which is made (0600) if neither it nor the
    `database` is there.

    Raises `InvalidDatabaseKey` for a key of the wrong length or a file others can read.
    """
    given = (os.environ if environ is None else environ).get(ENVIRONMENT)
    if given is not None:
        return checked(given, ENVIRONMENT)
    return key_from_file(key_file, database)


def key_from_file(key_file: Path, database: Path | None = None) -> str:
    """The key in `key_file`, made if neither it nor the `database` is there."""
    found = key_kept_in(key_file, database)
    if found is not None:
        return found
    key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_new_private(key_file, new_key().encode() + b"\n")
    return _read(key_file)


def key_kept_in(key_file: Path, database: Path | None = None) -> str | None:
    """The key in `key_file`, None if neither it nor the `database` is there."""
    try:
        return _read(key_file)
    except FileNotFoundError:
        if database is not None and has_content(database):
            raise MissingDatabaseKey(str(key_file), database) from None
        return None


def has_content(database: Path) -> bool:
    """Whether there is a database that a new key would lock away."""
    try:
        return database.stat().st_size > 0
    except FileNotFoundError:
        return False


def stage_new_key(key_file: Path) -> dict[str, str]:
    """A new key beside the one in use, for a rekey: `new_key`, `staged_key` (its file), `key_file`, and `retired_key`,
    where the old one is to be kept, for backups that need it."""
    retired = key_file.parent / "retired"
    retired.mkdir(mode=0o700, exist_ok=True)
    staged = key_file.with_name(f"{key_file.name}.staged")
    key = new_key()
    write_private(staged, key.encode() + b"\n")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    return {
        "new_key": key,
        "staged_key": str(staged),
        "key_file": str(key_file),
        "retired_key": str(retired / f"{key_file.stem}-until-{stamp}.key"),
    }


def retired_keys(key_file: Path) -> list[str]:
    """The keys that were in use before, newest first; a backup may need one of them."""
    files = sorted((key_file.parent / "retired").glob(f"{key_file.stem}-until-*.key"), reverse=True)
    return [_read(file) for file in files]


def _read(key_file: Path) -> str:
    return checked(secret_text(key_file), str(key_file))


def secret_text(key_file: Path) -> str:
    """What a key file holds. Raises `InvalidDatabaseKey` for a file others can read or nobody, FileNotFoundError for
    one that is not there."""
    try:
        if key_file.stat().st_mode & 0o077:
            raise InvalidDatabaseKey(str(key_file), f"others may read it; run: chmod 600 {key_file}")
        return key_file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InvalidDatabaseKey(str(key_file), f"{error.strerror}; it must be a file that is yours to read") from error
    except UnicodeDecodeError:
        # Whose error holds what the file does.
        raise InvalidDatabaseKey(str(key_file), "it holds no text; put the key back from your copy of it") from None
