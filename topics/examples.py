"""One example of every command's payload, for the AsyncAPI document. Sent in this order to a fresh service, each is
answered with `ok: true`, but for those that name an execution or a file: those a sender has from elsewhere."""

from typing import Any

from aico_sched.topics import names

TASK = "user.hello"
EXECUTION = "06428d3f5b0a3c-000000000001"

COMMAND_EXAMPLES: dict[str, dict[str, Any]] = {
    names.TASK_CREATE: {
        "task_id": TASK,
        "schedule": "*/5 * * * *",
        "task_class": "demo.echo",
        "config": {"hello": "world"},
        "timezone": "Europe/Berlin",
        "retry": {"max_attempts": 3, "delay": 60.0},
    },
    names.TASK_UPDATE: {"task_id": TASK, "schedule": "interval:3600", "jitter": 30.0},
    names.TASK_DISABLE: {"task_id": TASK},
    names.TASK_ENABLE: {"task_id": TASK},
    names.TASK_PAUSE: {"task_id": TASK, "note": "holidays"},
    names.TASK_RESUME: {"task_id": TASK},
    names.TASK_TRIGGER: {"task_id": TASK},
    names.TASK_BACKFILL: {
        "task_id": TASK,
        "start": "2026-01-01T00:00:00Z",
        "end": "2026-01-01T06:00:00Z",
        "overlap": "queue",
    },
    names.TASK_STATUS: {"task_id": TASK, "history": 5},
    names.TASK_LIST: {"prefix": "user.", "limit": 50},
    names.EXECUTION_LIST: {"task_id": TASK, "attempts": True, "limit": 20},
    names.EXECUTION_CANCEL: {"execution_id": EXECUTION, "reason": "no longer needed"},
    names.DEAD_LIST: {"limit": 20},
    names.DEAD_REQUEUE: {"execution_id": EXECUTION},
    names.DEAD_DISCARD: {"execution_id": EXECUTION},
    names.SCHEDULE_EXPLAIN: {"schedule": "30 2 * * MON-FRI", "timezone": "Europe/Berlin", "count": 3},
    names.REGISTRY_LIST: {},
    names.REGISTRY_RELOAD: {},
    names.EVENT_LIST: {"topic": names.TASK_CREATED, "after_seq": 0, "limit": 10},
    names.AUDIT_LIST: {"outcome": "permission_denied", "limit": 20},
    names.STORE_CHECK: {},
    names.STORE_VACUUM: {"mode": "incremental"},
    names.STORE_BACKUP: {"file": "/var/backups/aico-sched/2026-01-01.db"},
    names.STORE_REKEY: {},
    names.STATS: {},
    names.STATS_HISTORY: {},
    names.HEALTH: {},
    names.TASK_DELETE: {"task_id": TASK},
}
