"""Events as they arrive, a line each."""

from typing import TYPE_CHECKING, Any

from aico_sched.cli.output import STYLES, local_time, pairs, seconds, short, told_by
from aico_sched.topics import names

if TYPE_CHECKING:
    from aico_sched.cli.session import Session


def show_event(on: "Session", event: Any) -> None:
    """One event: `{topic, seq, timestamp, payload}` as JSON, else a line that reads well."""
    payload = event.payload
    if on.out.as_json:
        on.out.json_line({"topic": event.topic, "seq": event.seq, "timestamp": event.timestamp, "payload": payload})
        return
    if event.topic == names.EXECUTION_LOGGED:
        for line in payload["lines"]:
            when, what = local_time(line["at"], "milliseconds"), f"log {line['level']}"
            style = STYLES.get(line["level"])
            on.out.line(f"{when}  {what:<22} {payload['task_id']}  {logged(line)}", style)
        return
    when = local_time(payload.get("at") or event.timestamp, "milliseconds")
    kind = event.topic.removeprefix(names.EVENTS)
    word = kind.rpartition(".")[2]
    who = payload.get("task_id") or payload.get("instance") or ""
    style = STYLES.get(payload.get("severity", word)) or STYLES.get(payload.get("status", ""))
    on.out.line(f"{when}  {kind:<22} {who}  {_detail(payload)}".rstrip(), style)


def logged(line: dict[str, Any]) -> str:
    """What a line of a run's log says."""
    return f"{line['message']}  {pairs(line['fields'])}".rstrip()


def _detail(payload: dict[str, Any]) -> str:
    parts = [
        payload.get("execution_id"),
        f"attempt {payload['attempt']}" if payload.get("attempt", 1) > 1 else None,
        seconds(payload.get("duration_seconds")),
        f"again at {local_time(payload['retry_at'])}" if payload.get("retry_at") else None,
        f"next {local_time(payload['next_run'])}" if payload.get("next_run") else None,
        *(short(payload.get(key), 120) for key in ("error_message", "reason", "message", "note", "progress")),
        short(told_by(payload.get("result")), 120),
        payload.get("status"),
    ]
    return "  ".join(part for part in parts if part)
