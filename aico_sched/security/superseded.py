"""Keys that have a successor and are accepted for a while yet, so that nobody is locked out by a rotation."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aico_sched.durable import sync_folder
from aico_sched.security.certificates import Certificate, read, write_new

_TAG: Final = 16
"""Digits of the hash of a key in the name of its file: a client may have several old keys."""


class Superseded:
    """The public halves in `folder`, each with the moment from which on it is refused. The caller holds the lock of the
    key ring for every change; each change is atomic and may be repeated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __iter__(self) -> Iterator[tuple[Path, Certificate]]:
        for path in sorted(self.folder.glob("*.key")):
            yield path, read(path)

    def keep(self, key: Certificate) -> None:
        """Accept `key` until it expires."""
        tag = hashlib.sha256(key.public.encode()).hexdigest()[:_TAG]
        write_new(self.folder / f"{key.name}.{tag}.key", key)

    def forget(self, name: str) -> None:
        """Accept no old key of `name` any more."""
        self._remove([path for path, key in self if key.name == name])

    def clear(self, now: float) -> None:
        """Remove what has expired by `now`."""
        self._remove([path for path, key in self if (key.expires or 0.0) <= now])

    def _remove(self, paths: list[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        if paths:
            sync_folder(self.folder)
