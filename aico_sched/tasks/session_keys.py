"""The keys of the clients of the bus, as the task sees them that rotates them. It never touches a key file."""

from typing import NamedTuple, Protocol


class SessionKey(NamedTuple):
    """A client's present key; `created` in seconds since 1970."""

    name: str
    role: str
    created: float


class SessionKeys(Protocol):
    """Done by the service, off the event loop. What is wrong with the key folder is raised as the key ring does."""

    async def current(self) -> list[SessionKey]:
        """The clients that are let in, by name."""

    async def rotate(self, name: str, overlap: float | None) -> bool:
        """A new key for `name`; the old one is accepted for `overlap` seconds more, None: as long as the settings say.
        False where there is no such client any more. May be cancelled anywhere, and then has happened or has not."""
