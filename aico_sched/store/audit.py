"""The audit trail: who tried what, and what came of it."""

from aico_sched.store.connection import Database


class AuditTrail:
    """Gathers the lines of a turn and writes them together, as its last words."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fresh: list[tuple[str, ...]] = []

    def add(self, at: str, source: str, role: str, action: str, target: str, outcome: str, detail: str) -> None:
        """A line of what happened `at` (RFC 3339). A refused command has one too, so it is not undone with it."""
        self._fresh.append((at, source, role, action, target, outcome, detail))

    def seal(self) -> None:
        """Write the lines of the turn."""
        if self._fresh:
            self._database.run_many("insert_audit", self._fresh)
            self._fresh = []
