"""Certificate files in the format of `zmq.auth`, private from the moment they exist.

`zmq.auth.create_certificates` itself opens its files with the process's umask and writes them in place; here a file
appears complete and 0600, or not at all.
"""

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq.auth

from aico_sched.security.key_names import InsecureKeyFile

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BANNER = "# A CURVE {} certificate of the aico-sched bus.{}\n\n"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One file's content; `secret` is None in a public certificate. `created` and `expires` are seconds since 1970;
    a key without `expires` is valid until it is taken away."""

    name: str
    role: str
    public: str
    secret: str | None = field(default=None, repr=False)
    created: float | None = None
    expires: float | None = None

    def require_secret(self, path: Path) -> str:
        """The secret half, or `InsecureKeyFile` when `path` turned out not to hold one."""
        if self.secret is None:
            raise InsecureKeyFile(
                path, "it holds no secret key; restore it from a backup, or revoke and create the key"
            )
        return self.secret


def make_folder(folder: Path) -> None:
    """`folder`, 0700 from the start; an existing one must be as private already."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700, exist_ok=True)
    check_private(folder)


def check_private(path: Path) -> None:
    """Raises `InsecureKeyFile` when anyone but the owner may use `path`, or somebody else owns it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InsecureKeyFile(path, "it does not exist; the service makes it on first start") from None
    if status.st_uid not in (os.geteuid(), 0):
        raise InsecureKeyFile(path, f"it belongs to user {status.st_uid}; take it over with chown")
    if status.st_mode & _OTHERS:
        mode = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise InsecureKeyFile(path, f"other users may use it; run `chmod {mode} {path}` and consider its keys known")


def read(path: Path) -> Certificate:
    """The certificate in `path`, whose name begins with the key's; raises `InsecureKeyFile` for a damaged or
    readable-by-others file. Without a note of when the key was made that is the file's age."""
    check_private(path)
    try:
        public, secret = zmq.auth.load_certificate(path)
        halves = (public.decode("ascii"), None if secret is None else secret.decode("ascii"))
        metadata = _metadata(path.read_text(encoding="utf-8"))
        created = float(metadata.get("created", path.stat().st_mtime))
        expires = float(metadata["expires"]) if "expires" in metadata else None
    except (ValueError, OSError) as error:
        raise InsecureKeyFile(path, f"it cannot be read: {error}") from error
    if any(half is not None and len(half) != 40 for half in halves):
        raise InsecureKeyFile(path, "its key is not 40 characters of Z85; restore it, or revoke and create the key")
    name = path.stem.partition(".")[0]
    if metadata.get("name", name) != name:
        raise InsecureKeyFile(path, f"it holds the key of {metadata['name']!r}; was it renamed?")
    return Certificate(name, metadata.get("role", ""), *halves, created, expires)


def _metadata(text: str) -> dict[str, str]:
    section = text.partition("\nmetadata\n")[2].partition("\ncurve\n")[0]
    pairs = (line.partition("=") for line in section.splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def write_new(path: Path, certificate: Certificate) -> None:
    """Write `certificate` to `path`, durably and all at once."""
    write_text(path, _text(certificate))


def write_text(path: Path, text: str) -> None:
    """Write a file that only its owner may read, durably and all at once."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _text(certificate: Certificate) -> str:
    secret = certificate.secret is not None
    lines = [
        _BANNER.format(
            "secret" if secret else "public", " Whoever can read it can act as its owner." if secret else ""
        ),
        "metadata\n",
        f"    name = {certificate.name}\n",
        f"    role = {certificate.role}\n",
        *(
            f"    {name} = {seconds:.0f}\n"
            for name, seconds in (("created", certificate.created), ("expires", certificate.expires))
            if seconds is not None
        ),
        "curve\n",
        f'    public-key = "{certificate.public}"\n',
    ]
    if secret:
        lines.append(f'    secret-key = "{certificate.secret}"\n')
    return "".join(lines)
