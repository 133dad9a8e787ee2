"""Who is subscribed to what, as far as the broker can tell."""


class Holders:
    """Bookkeeping for limits and figures; what is delivered to whom is ZeroMQ's own table.

    When a connection ends ZeroMQ reports its subscriptions as cancelled without saying whose they were. A prefix that
    one client holds is that client's; of a prefix that several hold, none is struck, so that a count may be too high
    but never grows by reconnecting.
    """

    def __init__(self) -> None:
        self._by_prefix: dict[bytes, set[str]] = {}
        self._by_name: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(self._by_name.values())

    def held_by(self, name: str) -> int:
        return self._by_name.get(name, 0)

    def names(self) -> list[str]:
        return sorted(self._by_name)

    def add(self, name: str, prefix: bytes) -> None:
        names = self._by_prefix.setdefault(prefix, set())
        if name not in names:
            names.add(name)
            self._by_name[name] = self._by_name.get(name, 0) + 1

    def remove(self, name: str | None, prefix: bytes) -> None:
        """`name` cancelled its subscription to `prefix`; None: a connection that had it is gone."""
        names = self._by_prefix.get(prefix)
        if not names:
            return
        if name is None:
            if len(names) > 1:
                return
            name = next(iter(names))
        if name not in names:
            return
        names.discard(name)
        if not names:
            del self._by_prefix[prefix]
        self._by_name[name] -= 1
        if not self._by_name[name]:
            del self._by_name[name]
