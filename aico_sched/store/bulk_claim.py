"""Claiming many slots that are nothing special with three or four statements instead of three for each.

A statement costs more than a row: with 256 slots at a time a claim takes a fifth of the database's time that it takes
alone, and it is bursts that have to be fast. Whatever needs a rule (a slot given up, an overlap) goes the long way.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aico_sched.json_text import compact_plain
from aico_sched.schedule import format_rfc3339
from aico_sched.store.executions import Executions
from aico_sched.store.records import TaskRow
from aico_sched.store.slots import Slots
from aico_sched.store.unit import Unit
from aico_sched.topics.internal import AFTER_RUN, NEVER, Slot

FEWEST = 4
"""With fewer slots the long way is as short."""


class BulkClaim:
    """Claims slots as `Slots.claim` does, with the same outcome."""

    def __init__(self, unit: Unit, executions: Executions, slots: Slots) -> None:
        self._unit, self._executions, self._slots = unit, executions, slots
        self._database = unit.database

    def claim(self, slots: Sequence[Slot]) -> int:
        """Claim them all; returns how many runs were started."""
        plain: dict[str, Slot] = {}
        others: list[Slot] = []
        for slot in slots:
            ordinary = slot.action == "run" and not slot.missed and slot.next_run_us != AFTER_RUN
            if ordinary and slot.task_id not in plain:
                plain[slot.task_id] = slot
            else:
                others.append(slot)
        if len(plain) < FEWEST:
            return sum(self._slots.claim(slot) for slot in slots)
        for (task_id,) in self._database.run("busy_tasks", (compact_plain(list(plain)),)):
            others.append(plain.pop(task_id))
        return self._claim_plain(plain) + sum(self._slots.claim(slot) for slot in others)

    def _claim_plain(self, plain: Mapping[str, Slot]) -> int:
        """Claim slots of tasks of which nothing is under way."""
        taken = {row[0]: row[1:] for row in self._database.run("take_slots", (self._moves(plain.values()),))}
        for task_id in plain.keys() - taken.keys():
            self._slots.correct(task_id)
        ids = {task_id: self._unit.new_execution_id() for task_id in plain if task_id in taken}
        rows = [
            (task_id, execution_id, format_rfc3339(plain[task_id].scheduled_for_us), taken[task_id][5])
            for task_id, execution_id in ids.items()
        ]
        parameters = (self._unit.now, self._unit.boot_id, compact_plain(rows))
        inserted = {row[0] for row in self._database.run("insert_runs", parameters)}
        finished = self._finished(plain[task_id] for task_id, execution_id, *_ in rows if execution_id in inserted)
        for task_id, execution_id, *_ in rows:
            started = execution_id in inserted
            if started:
                slot_us = plain[task_id].scheduled_for_us
                self._executions.start(execution_id, task_id, 1, "schedule", slot_us, taken[task_id])
            if not started:
                self._slots.look_ahead(plain[task_id], "skipped")
            elif task_id in finished:
                self._slots.finished(finished[task_id])
        return len(inserted)

    def _finished(self, slots: Iterable[Slot]) -> dict[str, TaskRow]:
        """The tasks of which these were the last slots."""
        ids = [slot.task_id for slot in slots if slot.next_run_us == NEVER]
        rows = self._database.run("tasks", (compact_plain(ids),)) if ids else ()
        return {row[0]: TaskRow(*row) for row in rows}

    def _moves(self, slots: Iterable[Slot]) -> str:
        """Where each task goes from here, as the parameter of `take_slots`."""
        moves: list[tuple[Any, ...]] = []
        for slot in slots:
            waits = slot.next_run_us > 0
            moves.append(
                (
                    slot.task_id,
                    slot.revision,
                    format_rfc3339(slot.due_us),
                    format_rfc3339(slot.next_run_us) if waits else None,
                    format_rfc3339(slot.next_due_us) if waits else None,
                    int(slot.next_run_us == NEVER),
                    self._unit.now,
                )
            )
        return compact_plain(moves)
