"""`python -m aico_sched.demo`: what a newcomer sees first works, says so, and says it when it does not."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from aico_sched.demo import observer
from aico_sched.demo.clock import MINUTE, shift_to_minute
from aico_sched.demo.plan import PREFIX, Planned
from aico_sched.demo.verdict import Report, Witness, percentile, problems
from aico_sched.topics import names

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 40.0

Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts demos whose temporary folders lie in a folder of their own, `demo.folder`; ends what is left of them."""
    started: list[Process] = []

    def run(*arguments: str) -> Process:
        folder = tmp_path_factory.mktemp("demo")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "aico_sched.demo", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
            # Whoever runs the tests in the background has told their children to ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )
        process.folder = folder  # type: ignore[attr-defined]
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def demos(start: Start) -> dict[str, tuple[int | None, str, str, float]]:
    """The good and the sabotaged demo, which run side by side: exit code, output, errors, seconds."""
    began = time.monotonic()
    processes = {"good": start(), "sabotaged": start("--sabotage", "observer")}
    ended = {}
    for name, process in processes.items():
        output, errors = process.communicate(timeout=LIMIT)
        ended[name] = (process.returncode, output, errors, time.monotonic() - began)
        assert list(process.folder.iterdir()) == []  # type: ignore[attr-defined]
    return ended


def test_everything_arrives(demos: dict[str, tuple[int | None, str, str, float]]) -> None:
    code, output, errors, seconds = demos["good"]
    assert (code, errors) == (0, ""), output + errors
    assert seconds < 20
    rows = {row[1]: row[2:] for row in (re.split(r"\s*\|\s*", line) for line in output.splitlines()) if len(row) > 8}
    for task, runs in (("interval", 6), ("once", 1), ("cron", 1)):
        _, ran, p50, p99, longest, client, bare, _ = rows[f"user.demo.{task}"]
        assert int(ran) >= runs
        assert int(client) == int(bare) >= 2 * int(ran) + 1
        assert all(value.endswith(" ms") for value in (p50, p99, longest))
    assert "the service's clock is set" in output
    assert "\x1b" not in output
    live = [line for line in output.splitlines() if re.match(r"\d\d:\d\d:\d\d\.\d{3}  execution\.succeeded", line)]
    # A task of the service's own may have its hour just then.
    assert {line.split()[2] for line in live} >= {f"user.demo.{task}" for task in ("interval", "once", "cron")}


def test_what_does_not_arrive_is_named(demos: dict[str, tuple[int | None, str, str, float]]) -> None:
    code, output, _, seconds = demos["sabotaged"]
    assert code == 1
    assert seconds < 20
    assert re.search(r"the bare observer did not get (\d+) of \1 scheduler\.event\.execution\.succeeded events", output)
    assert "the client did not get" not in output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_can_be_interrupted(start: Start, number: signal.Signals, code: int) -> None:
    process = start()
    assert process.stdout is not None
    for line in process.stdout:
        if "task.created" in line:
            break
    children = psutil.Process(process.pid).children()
    assert len(children) == 2
    process.send_signal(number)
    _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert not any(child.is_running() for child in children)
    assert list(process.folder.iterdir()) == []  # type: ignore[attr-defined]


def test_the_observer_needs_nothing_of_ours() -> None:
    tree = ast.parse(Path(observer.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names == {"zmq", "msgpack"}


# The verdict.

TASK = Planned(f"{PREFIX}a", "interval:1", "demo.echo", {}, 2)


def execution(number: int, second: int, status: str = "succeeded") -> dict[str, Any]:
    return {
        "execution_id": f"x{number}",
        "task_id": TASK.task_id,
        "status": status,
        "scheduled_for": f"2026-01-01T00:00:{second:02}Z",
        "error_message": None,
        "reason": None,
    }


def witness(name: str, *runs: int, progress: tuple[int, ...] = ()) -> Witness:
    heard = Witness(name)
    heard.hear({"topic": names.TASK_CREATED, "task_id": TASK.task_id, "seq": 1})
    about = {"task_id": TASK.task_id}
    for run in runs:
        for topic in (names.EXECUTION_STARTED, names.EXECUTION_SUCCEEDED):
            heard.hear({"topic": topic, "execution_id": f"x{run}", "seq": run, **about})
    for seq in progress:
        heard.hear({"topic": names.EXECUTION_PROGRESS, "execution_id": "x1", "seq": seq, **about})
    return heard


GOOD = Report([0.001], [], [execution(1, 1), execution(2, 2)])


def test_all_is_well() -> None:
    assert problems([TASK], GOOD, [witness("a", 1, 2), witness("b", 1, 2)]) == []


@pytest.mark.parametrize(
    ("report", "witnesses", "expected"),
    [
        (GOOD, [witness("a", 1, 2), witness("b", 1)], "the b did not get 1 of 2 scheduler.event.execution.started"),
        (GOOD, [witness("a", 2), witness("b", 1, 2)], "events (x1)"),
        (
            GOOD,
            [witness("a", 1, 2, progress=(1, 2)), witness("b", 1, 2, progress=(2,))],
            "the b did not get 1 scheduler.event.execution.progress events (seq 1)",
        ),
        (Report([], [], [execution(1, 1)]), [witness("a", 1)], f"{TASK.task_id}: 2 runs expected, 1 seen"),
        (Report([], ["create x: no answer"], GOOD.executions), [witness("a", 1, 2)], "no answer to: create x"),
        (
            Report([], [], [execution(1, 1), execution(2, 3)]),
            [witness("a", 1, 2)],
            "no run between 00:00:01 and 00:00:03",
        ),
        (
            Report([], [], [*GOOD.executions, execution(3, 3, "dead")]),
            [witness("a", 1, 2)],
            "the run for 2026-01-01T00:00:03Z is dead: no reason given",
        ),
    ],
)
def test_what_is_wrong_is_said(report: Report, witnesses: list[Witness], expected: str) -> None:
    assert any(expected in problem for problem in problems([TASK], report, witnesses))


def test_a_repeated_event_counts_once() -> None:
    heard = witness("a", 1)
    heard.hear({"topic": names.TASK_CREATED, "task_id": TASK.task_id, "seq": 1})
    assert heard.by_task == {TASK.task_id: 3}


def test_percentiles() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert percentile([7.0], 0.5) == 7


@pytest.mark.parametrize("now_us", [0, 1, 51_000_000, 51_000_001, 59_999_999, 1_795_000_000_123_456])
def test_the_clock_is_moved_to_shortly_before_a_minute(now_us: int) -> None:
    shift = shift_to_minute(now_us, 9)
    assert 0 <= shift < MINUTE
    assert (now_us + shift + 9_000_000) % MINUTE == 0
