"""The key of the encrypted database: where it comes from, and how the first one is made."""

import os
import secrets
import string
from collections.abc import Mapping
from pathlib import Path

KEY_LENGTH = 32
ENVIRONMENT = "AICO_SCHED_DATABASE_KEY"

# 32 of these 84 characters carry 204 bits; quotes, backslash and white space would be trouble in a shell or YAML.
_ALPHABET = string.ascii_letters + string.digits + "!#%&()*+,-./:;<=>?@[]^_{|}"


class InvalidDatabaseKey(Exception):
    """A database key that cannot be used; says where it came from and never what it is."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"the database key from {source} cannot be used: {reason}")
        self.source, self.reason = source, reason


def new_key() -> str:
    """A random key of exactly the 32 characters that count."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(KEY_LENGTH))


def database_key(key_file: Path, environ: Mapping[str, str] | None = None) -> str:
    """The key: from `AICO_SCHED_DATABASE_KEY`, else from `key_file`, which is made (0600) if it is not there.

    Raises `InvalidDatabaseKey` for a key of the wrong length or a file others can read.
    """
    given = (os.environ if environ is None else environ).get(ENVIRONMENT)
    if given is not None:
        return _checked(given, ENVIRONMENT)
    try:
        return _read(key_file)
    except FileNotFoundError:
        _write_new(key_file)
        return _read(key_file)


def _read(key_file: Path) -> str:
    return _checked(secret_text(key_file), str(key_file))


def secret_text(key_file: Path) -> str:
    """What a key file holds. Raises `InvalidDatabaseKey` for a file others can read, OSError for one that is not
    there."""
    if key_file.stat().st_mode & 0o077:
        raise InvalidDatabaseKey(str(key_file), f"others may read it; run: chmod 600 {key_file}")
    return key_file.read_text(encoding="ascii").strip()


def _write_new(key_file: Path) -> None:
    """Make the file whole or not at all: a half-written key would lock the database away for good."""
    key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = key_file.with_name(f"{key_file.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, new_key().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        # A link fails where a rename would replace the key another process has just made.
        os.link(temporary, key_file)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    folder = os.open(key_file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _checked(key: str, source: str) -> str:
    if len(key) != KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise InvalidDatabaseKey(source, f"it must be {KEY_LENGTH} printable ASCII characters, it has {len(key)}")
    return key
