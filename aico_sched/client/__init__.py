"""The Python client of a running service: `SchedulerClient` for asyncio, `SyncSchedulerClient` for scripts."""

from aico_sched.client.client import SchedulerClient
from aico_sched.client.discovery import Location, locate
from aico_sched.client.errors import (
    Conflict,
    EventsLost,
    ExecutionNotFound,
    InternalError,
    InvalidMessage,
    InvalidSchedule,
    PermissionDenied,
    ProtectedTask,
    RateLimited,
    RequestTimeout,
    SchedulerError,
    ServiceUnreachable,
    TaskExists,
    TaskNotFound,
    TooLarge,
    Unavailable,
    UnknownTaskClass,
    WaitTimeout,
)
from aico_sched.client.events import Event, EventStream
from aico_sched.client.sync import SyncSchedulerClient

__all__ = [
    "Conflict",
    "Event",
    "EventStream",
    "EventsLost",
    "ExecutionNotFound",
    "InternalError",
    "InvalidMessage",
    "InvalidSchedule",
    "Location",
    "PermissionDenied",
    "ProtectedTask",
    "RateLimited",
    "RequestTimeout",
    "SchedulerClient",
    "SchedulerError",
    "ServiceUnreachable",
    "SyncSchedulerClient",
    "TaskExists",
    "TaskNotFound",
    "TooLarge",
    "Unavailable",
    "UnknownTaskClass",
    "WaitTimeout",
    "locate",
]
