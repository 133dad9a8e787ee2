"""What the code of a task class says of a configuration, where only another process may run that code. Pure."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from aico_sched.json_text import compact

KEPT = 256
"""Configurations that are remembered as accepted."""


class Verdict(NamedTuple):
    """`code` is empty if the class takes the configuration, or if nobody could tell; else an error code of the
    contract, with the offending `field` and a `message` for people."""

    code: str = ""
    message: str = ""
    field: str = ""


class Unjudged(Exception):
    """Whether the class takes this configuration is still to be asked. `found` says where the class is
    (`tasks.discovery.FoundClass`), `key` names the question."""

    def __init__(self, found: Any, config: Mapping[str, Any]) -> None:
        super().__init__(f"the configuration of {found.name} has not been checked yet")
        self.found, self.config = found, dict(config)
        whole = "\0".join((found.name, found.digest, compact(self.config)))
        # Hashed: a configuration may hold secrets.
        self.key = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()


class Verdicts:
    """The newest ones. A refusal is kept for one look only: what was in its way may be mended meanwhile."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Verdict] = OrderedDict()

    def put(self, key: str, verdict: Verdict) -> None:
        """Remember the answer to a question."""
        self._known[key] = verdict
        if len(self._known) > KEPT:
            self._known.popitem(last=False)

    def take(self, question: Unjudged) -> Verdict:
        """The answer. Raises `question` if there is none."""
        verdict = self._known.get(question.key)
        if verdict is None:
            raise question
        if verdict.code:
            del self._known[question.key]
        else:
            self._known.move_to_end(question.key)
        return verdict

    def clear(self) -> None:
        """The code may have changed."""
        self._known.clear()
