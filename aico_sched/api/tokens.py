"""The token that opens the API: made on first start, readable by its owner only."""

import os
import re
import secrets
from pathlib import Path
from typing import Final

from aico_sched.security.certificates import check_private, make_folder
from aico_sched.settings import Settings

_TOKEN: Final = re.compile(r"[!-~]{16,512}")


class UnusableToken(ValueError):
    """A token file that does not hold one line of 16 to 512 printable characters."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} holds no token: it must be one line of 16 to 512 printable characters without spaces. "
            "Remove it, and the next start makes a new one"
        )
        self.path = path


def token_file(settings: Settings) -> Path:
    """Where the token is: `web.token_file`, else `keys/api.token` in the data folder."""
    return settings.web.token_file or settings.data_dir / "keys" / "api.token"


def api_token(path: Path) -> str:
    """The token in `path`, which is made (0600) if it is not there.

    Two processes that start together agree on one. Raises `UnusableToken`, `InsecureKeyFile` when others may read the
    file or its new folder, and `OSError`.
    """
    if not path.exists():
        make_folder(path.parent)
        _make(path)
    check_private(path)
    token = path.read_text(encoding="utf-8", errors="replace").strip()
    if not _TOKEN.fullmatch(token):
        raise UnusableToken(path)
    return token


def _make(path: Path) -> None:
    """A link to a finished file: it appears whole, and the first of several wins."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)
