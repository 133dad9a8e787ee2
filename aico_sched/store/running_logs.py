"""What runs have logged so far, for those who look at one meanwhile. In memory: the record comes with the end."""

from collections.abc import Sequence
from typing import Any, Final

from aico_sched.run_lines import RunLog
from aico_sched.topics.internal import AttemptEnd, AttemptLines

MAX_RUNS: Final = 1_000
"""Runs whose lines are kept; beyond, those of the one that began to log first are let go."""


class RunningLogs:
    """The newest lines of each running attempt that has logged any."""

    def __init__(self) -> None:
        self._logs: dict[str, tuple[int, RunLog]] = {}

    def take(self, rows: Sequence[Sequence[Any]]) -> None:
        """Lines have come, as `AttemptLines` rows."""
        for row in rows:
            told = AttemptLines(*row)
            attempt, log = self._logs.get(told.execution_id, (0, None))
            if log is None or attempt != told.attempt:
                log = RunLog()
                self._logs[told.execution_id] = told.attempt, log
                if len(self._logs) > MAX_RUNS:
                    del self._logs[next(iter(self._logs))]
            log.take(told.lines, told.total)

    def over(self, ends: Sequence[AttemptEnd]) -> None:
        """Attempts have ended."""
        if self._logs:
            for end in ends:
                self._logs.pop(end.execution_id, None)

    def of(self, execution_id: str, attempt: int) -> dict[str, Any] | None:
        """As `topics.views.AttemptLogs`; None where there is nothing."""
        known, log = self._logs.get(execution_id, (0, None))
        return log.plain() if log is not None and known == attempt else None
