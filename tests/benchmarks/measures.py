"""What is measured, on whom, and what is to be reached: the table of the comparison, as data.

Bursts are daily tasks with us, which stay, and one-time jobs with the peers, which go: what a queue can do, and what
costs APScheduler least.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bench_cron import CASES

Arguments = dict[str, Any]

EVERYBODY = (
    "APS3 memory",
    "APS3 WAL",
    "APS3 WAL normal",
    "APS3 SQLite",
    "APS4 memory",
    "APS4 SQLite",
    "huey",
    "arq",
    "Procrastinate",
)
DURABLE = ("APS3 SQLite", "APS3 WAL", "APS4 SQLite", "huey", "arq", "Procrastinate")
CRON_CASES = [list(case) for case in CASES]


class Run(NamedTuple):
    """One measurement, made by everybody in turns. `peer_arguments` where a peer at our sizes would take all day: a
    rate does not depend on how many are counted. `rounds` are of the full form. The quick one has one, its own sizes,
    and fewer peers where waiting for all takes long.
    """

    key: str
    measure: str
    peers: tuple[str, ...]
    arguments: Arguments
    quick: Arguments | None
    rounds: int = 3
    peer_arguments: Arguments = {}  # noqa: RUF012 - read only
    peer_quick: Arguments = {}  # noqa: RUF012 - read only
    quick_peers: tuple[str, ...] | None = None


class Row(NamedTuple):
    """One line of the table: a figure of a run, times `factor`, in `unit`. `reach` is a limit for our value, or with
    `times` for how many times the best comparable peer's we must be. With `durable` only durable peers are comparable.
    """

    title: str
    run: str
    figure: str
    unit: str
    factor: float = 1.0
    less: bool = True
    reach: float | None = None
    times: float | None = None
    durable: bool = True


RUNS = (
    Run(
        "cron",
        "cron",
        ("cronsim", "croniter", "APS3 trigger"),
        {"cases": CRON_CASES, "length": 60},
        {"cases": CRON_CASES, "length": 20},
        5,
    ),
    Run("adds", "adds", DURABLE, {"count": 10_000}, {"count": 2_000}, 3, {"count": 1_500}, {"count": 200}),
    Run("singles", "singles", DURABLE, {"count": 1_000}, {"count": 300}, 3, {"count": 500}, {"count": 100}),
    Run(
        "due_1000",
        "due",
        EVERYBODY,
        {"count": 1_000},
        {"count": 300},
        3,
        {"ahead": 8.0},
        {"ahead": 4.0},
        ("APS3 memory", "APS3 WAL", "APS3 WAL normal", "APS4 memory", "huey", "arq"),
    ),
    Run(
        "due_10000",
        "due",
        ("APS3 memory", "APS3 WAL", "APS3 WAL normal", "APS4 memory", "huey", "arq"),
        {"count": 10_000},
        None,
        2,
        {"ahead": 25.0},
    ),
    Run(
        "uncrowded",
        "uncrowded",
        ("APS3 memory", "APS3 WAL", "APS4 memory", "huey", "arq", "Procrastinate"),
        {"runners": 20, "seconds": 8.0},
        {"runners": 20, "seconds": 3.0},
        2,
    ),
    Run("overdue_small", "overdue", ("APS3 WAL",), {"count": 100_000}, {"count": 10_000}, 3),
    Run("overdue_large", "overdue", ("APS3 WAL",), {"count": 1_000_000}, {"count": 50_000}, 3),
    Run("memory", "memory", ("APS3 memory", "APS4 memory"), {"count": 100_000}, {"count": 10_000}, 1),
    Run(
        "idle",
        "idle",
        ("APS3 memory", "APS3 WAL", "huey", "arq"),
        {"count": 100_000, "settle": 3.0, "seconds": 10.0},
        {"count": 10_000, "settle": 1.0, "seconds": 4.0},
        2,
    ),
    Run(
        "pauses",
        "pauses",
        ("APS3 memory", "APS4 memory"),
        {"count": 100_000, "more": 5_000, "burst": 1_000},
        {"count": 10_000, "more": 1_000, "burst": 200},
        2,
    ),
    Run("broker", "broker", ("bare proxy",), {"seconds": 4.0}, {"seconds": 2.0}, 3),
    Run(
        "kill",
        "kill",
        ("APS3 WAL", "APS4 SQLite", "huey", "arq", "Procrastinate"),
        {"count": 300},
        {"count": 300},
        2,
        quick_peers=("APS3 WAL", "huey"),
    ),
)

ROWS = (
    Row("cron: next fire, median of 15 expressions", "cron", "next", "µs", 1e-3, times=10.0),
    Row("cron: next fire, 29 February", "cron", "leap", "µs", 1e-3, times=10.0),
    Row("cron: parse, median of 15 expressions", "cron", "parse", "µs", 1e-3, times=1.5),
    Row("durable adds, pipelined", "adds", "rate", "/s", less=False, times=2.0),
    Row("durable adds, one by one, p50", "singles", "p50", "ms", 1e3, reach=1.0),
    Row("{due_1000} due at once: start delay, max", "due_1000", "max", "ms", 1e3, reach=25.0),
    Row("{due_10000} due at once: start delay, max", "due_10000", "max", "ms", 1e3, reach=250.0),
    Row("uncrowded: start delay, p50", "uncrowded", "p50", "ms", 1e3, reach=0.4),
    Row("uncrowded: start delay, p99", "uncrowded", "p99", "ms", 1e3, reach=1.0),
    Row("executions end to end, {due_1000} at once", "due_1000", "rate", "/s", less=False),
    Row("executions end to end, {due_10000} at once", "due_10000", "rate", "/s", less=False, reach=10_000.0),
    Row("{overdue_small} stored: start() to overdue run", "overdue_small", "from_start", "ms", 1e3, times=1 / 1.5),
    Row("{overdue_large} stored: start() to overdue run", "overdue_large", "from_start", "ms", 1e3, times=1 / 1.5),
    Row("{overdue_large} stored: process to overdue run", "overdue_large", "from_process", "ms", 1e3),
    Row("{overdue_large} stored: memory in all", "overdue_large", "megabytes", "MB", reach=150.0),
    Row("memory for each schedule stored, of {memory}", "memory", "bytes_each", "B", durable=False),
    Row("idle, {idle} stored: CPU in 10 s", "idle", "cpu", "ms", 1e3, reach=50.0),
    Row("{pauses} tasks: longest collection", "pauses", "max", "ms", 1e3, reach=20.0, durable=False),
    Row("broker: messages of 200 B carried", "broker", "rate", "/s", less=False, reach=50_000.0),
    Row("broker: added to a round trip, p50", "broker", "added", "ms", 1e3, reach=0.2),
    Row("kill -9 amid {kill} due runs: lost", "kill", "lost", "", reach=0.0),
    Row("kill -9 amid {kill} due runs: doubled", "kill", "doubled", "", reach=0.0),
)
