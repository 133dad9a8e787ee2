"""What the actors say to one another. These messages never leave the process.

They are NamedTuples because msgpack packs a tuple without help and unpacks it into the same order: one hop
costs one pack and one unpack, no validation (the bridge validated what came from outside). Instants are `int`
microseconds since the epoch, UTC. Nested records arrive as lists and are rebuilt with `Type(*row)`.
"""

from typing import Any, Final, NamedTuple

NEVER: Final = 0
"""`Slot.next_run_us` of a schedule that has no further slot."""

AFTER_RUN: Final = -1
"""`Slot.next_run_us` of a task with `fixed_delay`: the end of this run says when the next one is."""


class Request(NamedTuple):
    """A command from the bus, validated; its topic is the command's own. Answered with one `ReplyReady`."""

    message_id: str
    source: str
    role: str
    reply_to: str
    correlation_id: str
    codec: str
    payload: dict[str, Any]
    traceparent: str = ""


class ReplyReady(NamedTuple):
    """The answer to a `Request`, for the bridge to send. `body` is `{ok: …}` as msgpack."""

    message_id: str
    reply_to: str
    correlation_id: str
    codec: str
    body: bytes
    traceparent: str = ""


class RepliesReady(NamedTuple):
    """The answers of one turn."""

    replies: list[ReplyReady]


class DueLoad(NamedTuple):
    """Scheduler → store: what is to start up to `until_us`, oldest first, at most `limit` of slots and of runs each."""

    until_us: int
    limit: int


class ClockSetBack(NamedTuple):
    """Scheduler → store: the wall clock went back by `by_us`; every stored time that lies ahead is in doubt."""

    by_us: int


SANDBOX: Final = "sandbox"
"""The environment nobody chooses: what runs in it has to."""


class DueTask(NamedTuple):
    """The near horizon's view of a task: what planning its next slots needs, nothing else. `environment` is where its
    runs go, as far as is known."""

    task_id: str
    revision: int
    next_run_us: int
    schedule: str
    timezone: str
    anchor_us: int
    priority: int
    options: dict[str, Any]
    run_count: int
    environment: str = "auto"


class DueRun(NamedTuple):
    """An execution that waits for its time: triggered, queued, retrying, backfilled. `max_defer` (seconds) and
    `on_max_defer` are its task's; `environment` is where it goes, as far as is known."""

    execution_id: str
    task_id: str
    run_at_us: int
    priority: int
    idle_only: bool
    group: str = ""
    max_instances: int = 0
    max_defer: float | None = None
    on_max_defer: str = "run"
    environment: str = "auto"


class DueLoaded(NamedTuple):
    """Store → scheduler: the answer to `DueLoad`. Everything due before `horizon_us` is in it."""

    tasks: list[DueTask]
    runs: list[DueRun]
    horizon_us: int


class DueChanged(NamedTuple):
    """Store → scheduler: tasks and runs as they are now; `gone` names tasks that fire no more, with the revision
    from which on. Of two words on a task the higher revision counts, then `gone`."""

    tasks: list[DueTask]
    runs: list[DueRun]
    gone: list[tuple[str, int]]


class Slot(NamedTuple):
    """One due slot to claim: what to do with it, and where the task's schedule goes from here.

    `due_us` is the slot the task waited for, `scheduled_for_us` the one that is acted on (a newer one after an
    outage). `action` is `run`; `catchup` (run, and wait for a running one rather than skip); `skip` or `fail` (put
    off for too long, `reason` says why); `none` (too late, only `missed` counts). `missed` older slots are given
    up, `missed_from_us` the first of them. `next_run_us` is the slot to wait for from now on, or `NEVER`, or
    `AFTER_RUN`; its run is to start at `next_due_us`, jitter included."""

    task_id: str
    revision: int
    due_us: int
    scheduled_for_us: int
    next_run_us: int
    next_due_us: int
    action: str
    reason: str
    missed: int
    missed_from_us: int


class SlotsClaim(NamedTuple):
    """Scheduler → store: claim these slots and waiting runs, then start them. One claim is one credit."""

    claim_id: int
    slots: list[Slot]
    runs: list[str]


class SlotsClaimed(NamedTuple):
    """Store → scheduler: `settled` of the starts in claim `claim_id` are decided, durably; `started` of them went to
    the executor, with `places` by the keys of their limits (`aico_sched.places`). A claim is answered in one, unless it
    had to be taken apart."""

    claim_id: int
    started: int
    settled: int
    places: dict[str, int] = {}  # noqa: RUF012


class SlotsDeferred(NamedTuple):
    """Scheduler → store: these starts are put off. A slot is (task_id, scheduled_for_us, reason), a waiting run
    (execution_id, reason). Runs `given_up` have waited for longer than their task bears; each is (execution_id, `skip`
    or `fail`, reason)."""

    slots: list[tuple[str, int, str]]
    runs: list[tuple[str, str]]
    given_up: list[tuple[str, str, str]]


class AttemptStart(NamedTuple):
    """One attempt for the executor to run; its claim is durable."""

    execution_id: str
    task_id: str
    attempt: int
    task_class: str
    config: dict[str, Any]
    scheduled_for_us: int
    claimed_us: int
    timeout: float
    retry: dict[str, Any] | None
    trigger: str
    creator: str
    role: str
    environment: str = "auto"
    limits: dict[str, Any] | None = None
    resources: dict[str, float] | None = None
    cause: dict[str, Any] | None = None
    idle_only: bool = False
    places: list[str] | None = None
    traceparent: str = ""


class AttemptsStart(NamedTuple):
    attempts: list[AttemptStart]


class AttemptEnd(NamedTuple):
    """How an attempt ended. `retry_at_us` is 0 when it is not to be retried; `result` is JSON text; `usage` is what it
    used, as `execution.environments.Job` has it; `logs` are lines it has logged, as `views.AttemptLogs`."""

    execution_id: str
    attempt: int
    outcome: str
    started_us: int
    completed_us: int
    result: str | None
    error_type: str | None
    error_message: str | None
    traceback: str | None
    retry_at_us: int
    reason: str | None
    usage: dict[str, Any] | None = None
    logs: dict[str, Any] | None = None
    traceparent: str = ""


class AttemptsEnded(NamedTuple):
    """Attempts → executor → store."""

    ends: list[AttemptEnd]


class AttemptProgress(NamedTuple):
    """A running attempt's latest word; the store keeps the newest per execution."""

    execution_id: str
    task_id: str
    attempt: int
    progress: dict[str, Any]
    at_us: int


class AttemptLines(NamedTuple):
    """Lines of a running attempt (`views.LogLine`), `total` being how many it had logged up to the last of them."""

    execution_id: str
    task_id: str
    attempt: int
    lines: list[dict[str, Any]]
    total: int


class AttemptsLogged(NamedTuple):
    """Attempts → bridge, store: what they have logged lately, as `AttemptLines` rows."""

    at_us: int
    runs: list[AttemptLines]


class AttemptCancel(NamedTuple):
    """Store → executor: end this running execution; `outcome` is what to record."""

    execution_id: str
    outcome: str
    reason: str


class Capacity(NamedTuple):
    """Executor → scheduler: how many attempts may run at once, and how many have ended since the service began.
    `places` are those that became free since the message before, by key; if it is `whole`, those that are taken."""

    limit: int
    ended: int
    running: int
    places: dict[str, int] = {}  # noqa: RUF012
    whole: bool = False


class EventRecord(NamedTuple):
    """A committed event on its way out. `body` is the payload as msgpack."""

    event_id: int
    topic: str
    seq: int
    message_id: str
    timestamp: str
    body: bytes


class EventsCommitted(NamedTuple):
    """Store → bridge: publish these, in order. `traces` has the trace of those that belong to one, by message id; it
    is not kept, so what is published again after a crash has none."""

    events: list[EventRecord]
    traces: dict[str, str] = {}  # noqa: RUF012


class EventsPublished(NamedTuple):
    """Bridge → store: everything up to `event_id` is on the bus."""

    event_id: int


class BusPublish(NamedTuple):
    """A message of a task for the bus: `topic` as the creator may publish it, `role` its creator's."""

    topic: str
    payload: dict[str, Any]
    source: str
    role: str
    attributes: dict[str, str]


class Audit(NamedTuple):
    """One line for the audit trail: who tried what, and what came of it."""

    at_us: int
    source: str
    role: str
    action: str
    target: str
    outcome: str
    detail: str


class AuditLines(NamedTuple):
    """Any actor → store: what one turn has for the audit trail, as `Audit` rows. Those that `may_wait` are written
    with the next transaction; they tell of what has changed nothing, or follows from the database."""

    lines: list[Audit]
    may_wait: bool


class Report(NamedTuple):
    """An actor's own figures, for stats and health: name → number or small map."""

    actor: str
    ask_id: int
    figures: dict[str, Any]


class Activity(NamedTuple):
    """Bridge → health: a user did something just now; `topic` is where it showed."""

    topic: str


class Load(NamedTuple):
    """Health → scheduler, executor: the machine's load now. Percentages 0–100, seconds. `constrained` and `not_idle`
    say why nothing may start and why it is not idle; empty if that is not so. One in `stretch` slots runs."""

    cpu_percent: float
    memory_percent: float
    loop_lag: float
    idle: bool
    constrained: str
    not_idle: str = ""
    stretch: int = 1
    user_active: bool = False


class LoopStalled(NamedTuple):
    """Executor → scheduler, store: the event loop was blocked, as `execution.stalls.Stall` has it. `environments` are
    those of this service."""

    cause: str
    seconds: float
    cpu_seconds: float
    where: str
    stack: str
    task_id: str | None
    execution_id: str | None
    movable: bool
    environments: list[str]


class BreakerChanged(NamedTuple):
    """Scheduler → executor, store: the breaker's state (`execution.breaker`), and the one before, which is empty when
    the scheduler has just started: that is no news to the world."""

    state: str
    previous: str
    reason: str


class AlertRaise(NamedTuple):
    """Any actor → store: publish an alert, deduplicated by `key` and severity. Who raises a `lasting` one
    says later that it is `resolved`."""

    key: str
    severity: str
    message: str
    task_id: str | None
    details: dict[str, Any]
    lasting: bool = False
    resolved: bool = False


class PeaksKept(NamedTuple):
    """Store → health, when that has started: the highest values ever seen, by name; and back, to keep them."""

    peaks: dict[str, float]


class EventsRefilled(NamedTuple):
    """Store → bridge: the oldest events not known to be published; `done` when there are no more."""

    events: list[EventRecord]
    done: bool


class BusRequest(NamedTuple):
    """Executor → bridge: a task's request to another module; its reply comes back as `BusReply`."""

    execution_id: str
    correlation_id: str
    message: BusPublish


class BusReply(NamedTuple):
    """Bridge → executor: the reply to a `BusRequest`."""

    execution_id: str
    correlation_id: str
    payload: dict[str, Any]


class QuietHoursLearned(NamedTuple):
    """Executor → scheduler: when the user is usually away, as `aico_sched.quiet.QuietHours.plain`; empty when nothing
    is known any more."""

    quiet: dict[str, Any]


class TaskWrite(NamedTuple):
    """Executor → store: a task's change to a table; answered with a `BusReply` of `{changed}`, `{refused}` or
    `{failed}` once it is durable. `system` allows the scheduler's own tables."""

    execution_id: str
    call_id: str
    sql: str
    parameters: list[Any]
    system: bool


class ConfigJudged(NamedTuple):
    """Store → itself: a class has been asked about the configuration in a command, which is carried out now. `verdict`
    is (code, message, field)."""

    topic: str
    request: Request
    key: str
    verdict: tuple[str, str, str]


class StoreState(NamedTuple):
    """Store → health: what keeps the store from its usual work. `state` is empty when nothing does, else
    `maintenance`, `full`, `read_only` or `damaged`; `detail` is for people."""

    state: str
    detail: str


class MaintenanceAsk(NamedTuple):
    """Executor → store: a system task asks for work on the whole database; answered with a `BusReply`."""

    execution_id: str
    correlation_id: str
    task_id: str
    kind: str
    options: dict[str, Any]


class Heartbeat(NamedTuple):
    """Store → bridge: publish that the service is here; `sequences` holds each topic's newest `seq`."""

    sequences: dict[str, int]


class Empty(NamedTuple):
    """A message whose topic says it all."""


class AskReport(NamedTuple):
    ask_id: int
