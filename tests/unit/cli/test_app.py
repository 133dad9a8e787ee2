"""How commands end, how the application mounts, and what its start costs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from aico_sched import __version__
from aico_sched.cli.app import app
from aico_sched.cli.errors import Failure
from aico_sched.topics import names

ROOT = Path(__file__).parents[3]


def walk(application: typer.Typer, *path: str) -> list[tuple[str, ...]]:
    """Every command, by the words that call it."""
    found = [
        (*path, command.name or command.callback.__name__.replace("_", "-"))  # type: ignore[union-attr]
        for command in application.registered_commands
    ]
    for group in application.registered_groups:
        found += walk(group.typer_instance, *path, str(group.name))  # type: ignore[arg-type]
    return found


COMMANDS = walk(app)


def test_the_commands_are_those_of_the_contract() -> None:
    expected = (
        "run bus list create update delete enable disable pause resume trigger cancel status logs stats health watch "
        "audit "
        "apply "
        "backup restore "
        "top "
        "why backfill "
        "web "
        "next lint doctor version contract tasks run-task "
    )
    assert {command[0] for command in COMMANDS if len(command) == 1} == set(expected.split())
    groups = {
        ("dead", "list"),
        ("dead", "show"),
        ("dead", "requeue"),
        ("dead", "discard"),
        ("registry", "list"),
        ("registry", "reload"),
    }
    groups |= {("keys", "create"), ("keys", "list"), ("keys", "revoke"), ("keys", "rotate")}
    groups |= {("database", "vacuum"), ("database", "check"), ("database", "rekey")}
    assert {command for command in COMMANDS if len(command) == 2} == groups


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_takes_json(command: tuple[str, ...], aico: Any) -> None:
    result = aico(*command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert result.stdout.count("--ctx") == 0


def test_a_service_that_is_not_there_is_exit_code_3(aico: Any, service: Any) -> None:
    service.connect_error = Failure("unreachable", "no service answers at /d", exit_code=3)
    result = aico("list")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "error: no service answers at /d\nStart the service with `aico-sched run`" in result.stderr
    result = aico("list", "--json")
    error = {"code": "unreachable", "message": "no service answers at /d", "details": {}}
    assert (result.exit_code, json.loads(result.stdout)) == (3, {"error": error})


@pytest.mark.parametrize("error", [TimeoutError("no answer within 10 s"), ConnectionRefusedError("refused")])
def test_a_service_that_does_not_answer_is_the_same(error: Exception, aico: Any, service: Any) -> None:
    service.answers[names.STATS] = error
    result = aico("stats")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (3, f"error: {error}")


def test_the_clients_own_advice_is_not_repeated(aico: Any, tmp_path: Path) -> None:
    result = aico("list", "--data-dir", str(tmp_path / "none"))
    assert (result.exit_code, result.stderr.count("`aico-sched run`")) == (3, 1)
    assert aico("list", "--bus-connect", "nonsense").exit_code == 2


def test_ctrl_c_is_exit_code_130_without_a_word(aico: Any, service: Any) -> None:
    service.published = [KeyboardInterrupt()]
    result = aico("watch")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


def test_a_bug_is_not_dressed_up(aico: Any, service: Any) -> None:
    service.answers[names.STATS] = ZeroDivisionError("bug")
    with pytest.raises(ZeroDivisionError):
        aico("stats")


def test_common_options_reach_the_connection(aico: Any, service: Any) -> None:
    service.answers[names.TASK_LIST] = {"tasks": [], "next_cursor": None}
    aico("list", "--data-dir", "/d", "--as", "me", "--bus-connect", "tcp://b:1,2", "--deadline", "3")
    assert service.connected_with == (Path("/d"), "me", "tcp://b:1,2", 3.0)


def test_wrong_usage_is_exit_code_2(aico: Any) -> None:
    assert aico("create").exit_code == 2
    assert aico("list", "--limit", "0").exit_code == 2
    result = aico("lsit")
    assert result.exit_code == 2
    assert "No such command 'lsit'" in result.words


def run_main(*arguments: str) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from aico_sched.cli.app import main; sys.argv[0] = 'aico-sched'; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)


def test_wrong_usage_is_json_where_json_is_asked_for() -> None:
    done = run_main("create", "--json")
    assert (done.returncode, done.stderr) == (2, "")
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "usage"
    assert "Missing argument" in error["message"]


@pytest.mark.parametrize(("arguments", "code"), [(("version", "--json"), 0), (("next", "x", "--json"), 1)])
def test_exit_codes_are_the_same_with_json(arguments: tuple[str, ...], code: int) -> None:
    done = run_main(*arguments)
    assert done.returncode == code
    json.loads(done.stdout)


def test_the_version_is_told(aico: Any) -> None:
    assert aico("--version").stdout == f"aico-sched {__version__}\n"
    assert json.loads(aico("version", "--json").stdout)["aico-sched"] == __version__
    assert "pyzmq" in aico("version").stdout


def test_it_mounts_in_another_application(aico: Any, service: Any, task: dict[str, Any]) -> None:
    parent = typer.Typer()

    @parent.callback()
    def root(ctx: typer.Context, verbose: bool = False) -> None:
        ctx.obj = "the parent's own"

    @parent.command()
    def other(ctx: typer.Context) -> None:
        typer.echo(ctx.obj)

    parent.add_typer(app, name="scheduler")
    service.answers[names.TASK_LIST] = {"tasks": [task], "next_cursor": None}
    assert "user.backup" in aico("scheduler", "list", application=parent).stdout
    assert aico("other", application=parent).stdout == "the parent's own\n"
    assert "--bus-connect" in aico("scheduler", "dead", "list", "--help", application=parent).stdout
    assert aico("scheduler", "--version", application=parent).stdout == f"aico-sched {__version__}\n"


def test_hints_name_the_command_as_the_user_called_it(aico: Any, service: Any) -> None:
    parent = typer.Typer()
    parent.callback()(lambda: None)
    parent.add_typer(app, name="scheduler")
    service.connect_error = Failure("unreachable", "no service", exit_code=3)
    result = aico("scheduler", "dead", "list", application=parent)
    assert "`aico-sched scheduler run`" in result.stderr


def test_nothing_heavy_is_loaded_at_start() -> None:
    code = "import sys, aico_sched.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stdout.split())
    heavy = {"pydantic", "zmq", "yaml", "asyncio", "structlog", "libsql_experimental", "chromadb", "psutil", "msgpack"}
    heavy |= {"rich", "importlib.metadata", "socket", "aico_sched.settings", "aico_sched.client"}
    assert loaded & heavy == set()


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_reader_that_stops_early_is_no_error(flags: tuple[str, ...]) -> None:
    code = "import sys; from aico_sched.cli.app import main; sys.argv = ['aico-sched', *sys.argv[1:]]; main()"
    command = [sys.executable, "-c", code, "next", "* * * * *", "-n", "1000", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == ""
    assert process.wait(60) == 0
