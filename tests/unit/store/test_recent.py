"""The cache of ended executions."""

from aico_sched.store.recent import RecentExecutions
from aico_sched.store.records import ExecutionRow


def row(execution_id: str, status: str) -> ExecutionRow:
    empty = dict.fromkeys(ExecutionRow._fields)
    return ExecutionRow(**{**empty, "execution_id": execution_id, "status": status})  # type: ignore[arg-type]


def test_only_what_will_not_change_is_kept() -> None:
    recent = RecentExecutions(10)
    for status in ("queued", "running", "retrying", "succeeded", "dead"):
        recent.put(row(status, status))
    assert [recent.get(status) is not None for status in ("queued", "running", "retrying")] == [False] * 3
    assert recent.get("succeeded") == row("succeeded", "succeeded")
    recent.forget("dead")
    assert recent.get("dead") is None
    assert recent.stats() == {"hits": 1, "misses": 4, "size": 1, "maxsize": 10}


def test_the_least_recently_asked_for_goes_first() -> None:
    recent = RecentExecutions(2)
    recent.put(row("a", "succeeded"))
    recent.put(row("b", "succeeded"))
    recent.get("a")
    recent.put(row("c", "succeeded"))
    assert [name for name in "abc" if recent.get(name)] == ["a", "c"]
    recent.clear()
    assert recent.stats()["size"] == 0
