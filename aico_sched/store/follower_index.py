"""Who runs because another task's run ended: `after:TASK_ID` and `failure:PATTERN`.

The index is in memory, so that the end of a run, which is the common thing, costs a look into a dict. It may name a
follower too many, never one too few: each is read again before it fires.
"""

from aico_sched.schedule import AfterSchedule, FailureSchedule, Schedule, parse_schedule
from aico_sched.store.connection import Database
from aico_sched.store.records import TaskRow
from aico_sched.topics.errors import CommandError, ErrorCode


class FollowerIndex:
    """Who follows whom, by the text of the schedule."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._after: dict[str, set[str]] = {}
        self._failure: dict[str, FailureSchedule] = {}
        self._following: set[str] = set()
        self._stale = True

    def note(self, task: TaskRow) -> None:
        """A task was created or changed."""
        if task.schedule.startswith(("after:", "failure:")):
            self._add(task.task_id, parse_schedule(task.schedule, task.timezone))

    def reset(self) -> None:
        """A transaction was rolled back, with it what may have been noted."""
        self._stale = True

    def after_success(self, task_id: str) -> list[str]:
        """Tasks that may follow a success of `task_id`."""
        self._load()
        return sorted(self._after.get(task_id, ()))

    def after_failure(self, task_id: str) -> list[str]:
        """Tasks that may follow a final failure of `task_id`."""
        self._load()
        return sorted(follower for follower, schedule in self._failure.items() if schedule.names(task_id))

    def concerned(self, task_id: str) -> bool:
        """Whether a success of `task_id` may start another task, or a success of another one `task_id`."""
        self._load()
        return task_id in self._after or task_id in self._following

    def check(self, task_id: str, schedule: Schedule) -> None:
        """Raises `invalid_schedule` if `task_id`, following as `schedule` says, would follow itself."""
        if not isinstance(schedule, AfterSchedule):
            return
        self._load()
        reached, ahead = set(), [task_id]
        while ahead:
            name = ahead.pop()
            if name == schedule.task_id:
                message = f"{task_id} cannot run after {schedule.task_id}, which itself runs after {task_id}"
                raise CommandError(ErrorCode.INVALID_SCHEDULE, message, field="schedule")
            if name not in reached:
                reached.add(name)
                ahead += self._after.get(name, ())

    def _load(self) -> None:
        if not self._stale:
            return
        self._after, self._failure, self._following = {}, {}, set()
        for task_id, text, timezone in self._database.run("follower_tasks"):
            self._add(task_id, parse_schedule(text, timezone))
        self._stale = False

    def _add(self, task_id: str, schedule: Schedule) -> None:
        self._following.add(task_id)
        if isinstance(schedule, AfterSchedule):
            self._after.setdefault(schedule.task_id, set()).add(task_id)
        elif isinstance(schedule, FailureSchedule):
            self._failure[task_id] = schedule
