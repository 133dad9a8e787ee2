"""Tasks that block the event loop: their strikes are kept, and at some number of them something is done."""

from collections.abc import Callable

from aico_sched.execution.strikes import StrikeRules, better_place, count_strike, verdict
from aico_sched.security import permissions
from aico_sched.store.records import TaskRow
from aico_sched.store.tasks import TaskCommands
from aico_sched.store.unit import Unit
from aico_sched.topics.internal import AlertRaise, LoopStalled

KEPT = 10_000
"""Tasks whose strikes are remembered, those with the newest ones."""


class Strikes:
    """Takes in stalls and acts on them. `tell` publishes an alert."""

    def __init__(self, unit: Unit, tasks: TaskCommands, rules: StrikeRules, tell: Callable[[AlertRaise], None]) -> None:
        self._unit, self._tasks, self._rules, self._tell = unit, tasks, rules, tell
        self._database = unit.database

    def stalled(self, stall: LoopStalled) -> None:
        """The loop was blocked. A task that did it gets a strike, and is moved or disabled if it has too many."""
        task = self._unit.task(stall.task_id) if stall.task_id else None
        if task is None:
            self._tell(_alert(stall, _said_of(stall)))
            return
        row = self._database.one("strikes_of", (task.task_id,)) or (0, 0)
        strikes = count_strike(self._rules, row[0], row[1], self._unit.now_us)
        place = None
        match verdict(self._rules, strikes, movable=stall.movable):
            case "move":
                place = better_place(
                    stall.seconds,
                    stall.cpu_seconds,
                    has_process="process" in stall.environments,
                    trusted=permissions.is_system(task.task_id),
                )
                self._unit.moved.environments[task.task_id] = place
                # It may be the next to start, and a breaker that is half open lets it pass now.
                self._unit.changed(task)
                self._tasks.tell_of_waiting_runs(task.task_id)
                self._tell(_alert(stall, _moved(task, stall, strikes, place), "moved", strikes))
            case "disable":
                note = _disabled(task, stall, strikes)
                self._tasks.disable_for(task, note)
                self._tell(_alert(stall, note, "disabled", strikes, severity="critical"))
            case _:
                self._tell(_alert(stall, _said_of(stall), "blocked", strikes))
        self._database.run("set_strikes", (task.task_id, strikes, self._unit.now_us, place))
        self._database.run("trim_strikes", (KEPT,))


def _alert(
    stall: LoopStalled, message: str, what: str = "blocked", strikes: int = 0, severity: str = "warning"
) -> AlertRaise:
    details = {
        "cause": stall.cause,
        "seconds": round(stall.seconds, 3),
        "where": stall.where,
        "stack": stall.stack,
        "execution_id": stall.execution_id,
        "strikes": strikes,
    }
    return AlertRaise(f"{what}:{stall.task_id or 'loop'}", severity, message, stall.task_id, details)


def _said_of(stall: LoopStalled) -> str:
    took = f"blocked the event loop for {stall.seconds * 1_000:.0f} ms"
    if stall.task_id:
        return f"{stall.task_id} {took}; nothing else could run. Let it await more often, or make it a BlockingTask"
    if stall.cause == "overload":
        return f"the event loop has been behind for seconds, by {stall.seconds * 1_000:.0f} ms: too much runs on it"
    return f"code of this program ({stall.where or 'unknown'}) {took}"


def _moved(task: TaskRow, stall: LoopStalled, strikes: int, place: str) -> str:
    return (
        f"{task.task_id} blocked the event loop {strikes} times, last for {stall.seconds * 1_000:.0f} ms; from now on "
        f"it runs in a {place}. Set its environment to loop to have it back, or enable it to begin anew"
    )


def _disabled(task: TaskRow, stall: LoopStalled, strikes: int) -> str:
    return (
        f"disabled: it blocked the event loop {strikes} times, last for {stall.seconds * 1_000:.0f} ms in "
        f"{stall.where or 'a step'}. Mend it or give it another environment (thread, process), then enable it: "
        f"aico-sched enable {task.task_id}"
    )
