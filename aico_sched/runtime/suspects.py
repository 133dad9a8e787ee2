"""Which message crashes an actor again and again."""

DROP_AFTER = 3
"""Times in a row the same error must come of the same single message until it is given up. Other errors are no proof
against it: they may come of the database or of a neighbour."""

DROP_AFTER_ALL = 20
"""Crashes in a row at the same single message after which it is given up whatever the errors were."""


class PoisonDropped(RuntimeError):
    """A message was given up because no instance of its actor survived it; `__cause__` says what it caused."""

    def __init__(self, actor: str, topic: str) -> None:
        super().__init__(f"{actor} dropped a message on {topic} that crashed it again and again")
        self.actor, self.topic = actor, topic


class Suspects:
    """Counts crashes. `left` messages, those of a turn that crashed, are to be handled one by one."""

    def __init__(self) -> None:
        self.left = 0
        self._crashes = self._same = 0
        self._last = ""

    def handled(self, messages: int) -> None:
        """A turn with so many messages went well."""
        if messages:
            self.left = max(0, self.left - messages)
            self._crashes = self._same = 0

    def crashed(self, error: Exception, messages: int) -> bool:
        """A turn that had come so far through its messages crashed. Returns whether the first of them must go."""
        self.left = max(self.left, messages)
        if messages != 1:
            return False
        self._crashes += 1
        self._same = self._same + 1 if repr(error) == self._last else 1
        self._last = repr(error)
        return self._same >= DROP_AFTER or self._crashes >= DROP_AFTER_ALL
