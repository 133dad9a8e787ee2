"""What a task may do beyond its own code, through a real service: the database, files, HTTP, computing elsewhere."""

import asyncio
import os
import textwrap
import uuid
from pathlib import Path
from typing import Any

import pytest

from aico_sched.topics.views import ExecutionView
from tests.integration.support.running import Running

FAR = "interval:86400"
MODULE = """
import asyncio, os, time
from aico_sched.tasks import BaseTask, TaskContext, TaskResult

def double(number):
    return {{"pid": os.getpid(), "value": number * 2}}

def fails(number):
    raise LookupError(f"no {{number}}")

def endless():
    while True:
        pass

class Task(BaseTask):
    name = "{name}"
    environment = "{environment}"
    async def execute(self, context):
"""


class Place:
    """Services whose one task module is written by the test."""

    def __init__(self, start: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._start, self._folder = start, folder
        monkeypatch.syspath_prepend(str(folder))

    async def service(self, *tasks: tuple[str, str], environment: str = "loop", **settings: Any) -> Running:
        names = []
        for name, body in tasks:
            module = f"powers_{uuid.uuid4().hex}"
            code = MODULE.format(name=name, environment=environment) + textwrap.indent(textwrap.dedent(body), " " * 8)
            (self._folder / f"{module}.py").write_text(code)
            names.append(module)
        run: Running = await self._start(scheduler__task_modules=names, **settings)
        run.query("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT, size REAL, body BLOB)")
        run.query("INSERT INTO notes VALUES (1, 'one', 1.5, x'00ff'), (2, 'two', NULL, NULL)")
        return run

    async def ran(self, name: str, body: str, **settings: Any) -> tuple[Running, ExecutionView]:
        """The one run of a task with this body."""
        run = await self.service((name, body), **settings)
        return run, await execution(run, name)


async def execution(run: Running, name: str) -> ExecutionView:
    await run.client.create(name, FAR, retry={"max_attempts": 1})
    found = await run.ran(name)
    page = await run.client.executions(execution_id=found.execution_id, attempts=True)
    return page.executions[0]


@pytest.fixture
def place(start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(start, tmp_path, monkeypatch)


def kind(run: ExecutionView) -> str:
    assert run.attempts
    return str(run.attempts[-1].error_type).rpartition(".")[2]


CHANGES = """
rows = await context.query("SELECT id, text, size, hex(body) AS body FROM notes WHERE id >= ? ORDER BY id", [1])
changed = await context.execute("UPDATE notes SET text = ? WHERE id = ?", ["changed", 2])
added = await context.execute("INSERT INTO notes (text) VALUES (?), (?)", ["a", "b"])
removed = await context.execute("DELETE FROM notes WHERE id = 1")
after = await context.query("SELECT count(*) AS n, group_concat(text) AS texts FROM notes")
return {"rows": rows, "numbers": [changed, added, removed], "after": after}
"""


@pytest.mark.parametrize("environment", ["loop", "process"])
async def test_tasks_of_the_agency_read_and_change_tables(place: Place, environment: str) -> None:
    run, done = await place.ran("agency.notes", CHANGES, environment=environment)
    assert done.status == "succeeded", done.error_message
    assert done.result is not None
    assert done.result["data"] == {
        "rows": [
            {"id": 1, "text": "one", "size": 1.5, "body": "00FF"},
            {"id": 2, "text": "two", "size": None, "body": ""},
        ],
        "numbers": [1, 2, 1],
        "after": [{"n": 3, "texts": "changed,a,b"}],
    }
    assert run.query("SELECT count(*) FROM notes") == [(3,)]


REFUSALS = """
tried = {
    "our table": context.query("SELECT * FROM task_executions"),
    "our index": context.query("SELECT count(*) FROM scheduled_tasks WHERE task_id = 'x'"),
    "hidden in a view": context.query("WITH x AS (SELECT * FROM scheduler_audit) SELECT * FROM x"),
    "a change in a query": context.query("DELETE FROM notes"),
    "a change in a WITH": context.query("WITH x AS (SELECT 1) INSERT INTO notes (id) SELECT 9 FROM x"),
    "two statements": context.query("SELECT 1; DELETE FROM notes"),
    "a pragma": context.query("PRAGMA query_only=OFF"),
    "another file": context.query("ATTACH 'x.db' AS x"),
    "a query as a change": context.execute("SELECT 1"),
    "our table changed": context.execute("DELETE FROM scheduled_tasks"),
    "the schema": context.execute("DELETE FROM sqlite_master"),
    "a long change": context.execute("INSERT INTO notes (text) SELECT text FROM notes"),
    "an undoing change": context.execute("INSERT OR ROLLBACK INTO notes (id) VALUES (1)"),
    "a table dropped": context.execute("DROP TABLE notes"),
    "a transaction": context.execute("COMMIT"),
    "a trigger on ours": context.execute("UPDATE notes SET size = 7 WHERE id = 2"),
    "a strange parameter": context.query("SELECT ?", [object()]),
}
found = {}
for name, asked in tried.items():
    try:
        found[name] = f"ESCAPED: {await asked}"
    except Exception as error:
        found[name] = type(error).__name__
return found
"""


async def test_what_is_not_theirs_is_refused_and_audited(place: Place) -> None:
    run = await place.service(("agency.curious", REFUSALS))
    run.query("CREATE TRIGGER sly AFTER UPDATE ON notes BEGIN DELETE FROM scheduled_tasks; END")
    done = await execution(run, "agency.curious")
    assert done.result is not None
    tried = done.result["data"]
    for name in ("the schema", "a change in a WITH"):
        assert tried.pop(name) == "DatabaseFailed", "SQLite itself refuses that"
    assert {name: became for name, became in tried.items() if became != "DatabaseRefused"} == {}
    assert run.query("SELECT count(*) FROM notes") == [(2,)]
    lines = [line for line in run.audit() if line["action"] == "task.use"]
    assert len(lines) == len(tried)
    assert {(line["source"], line["target"], line["outcome"]) for line in lines} == {
        ("admin", "agency.curious", "permission_denied")
    }
    assert (await run.client.health()).ready


async def test_what_sqlite_refuses_is_a_typed_failure(place: Place) -> None:
    body = """
    found = []
    unknown = [context.query("SELECT * FROM absent"), context.query("SELECT FROM")]
    for asked in (*unknown, context.execute("DELETE FROM absent"),
            context.execute("INSERT INTO notes (id) VALUES (1)")):
        try:
            await asked
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    return {"found": found}
    """
    _, done = await place.ran("agency.wrong", body)
    assert done.result is not None
    found = done.result["data"]["found"]
    assert [each.partition(":")[0] for each in found] == ["DatabaseFailed"] * 4
    assert "absent" in found[0]
    assert "UNIQUE" in found[3]


async def test_system_tasks_may_use_the_schedulers_tables(place: Place) -> None:
    body = "return {'rows': await context.query('SELECT task_id FROM scheduled_tasks ORDER BY 1')}"
    _, done = await place.ran("maintenance.looks", body)
    assert done.result is not None
    assert {"task_id": "maintenance.looks"} in done.result["data"]["rows"]


RUNAWAY = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


async def test_a_runaway_query_is_ended_and_holds_nobody_up(place: Place) -> None:
    body = f"""
    began = time.monotonic()
    try:
        await context.query("{RUNAWAY}", timeout=2.0)
    except TimeoutError:
        late = time.monotonic() - began
    return {{"late": late, "next": await context.query("SELECT 1 AS one", timeout=20)}}
    """
    run = await place.service(("agency.runaway", body))
    running = asyncio.create_task(execution(run, "agency.runaway"))
    slowest, loop = 0.0, asyncio.get_running_loop()
    while not running.done():
        before = loop.time()
        assert (await run.client.health()).live
        slowest = max(slowest, loop.time() - before)
        await asyncio.sleep(0.02)
    done = await running
    assert done.result is not None
    assert 1.9 < done.result["data"]["late"] < 8
    assert done.result["data"]["next"] == [{"one": 1}]
    assert slowest < 1.5


async def test_a_query_has_a_largest_answer(place: Place) -> None:
    body = f'await context.query("{RUNAWAY.replace("count(*)", "*")} LIMIT 20000")'
    _, done = await place.ran("agency.greedy", body)
    assert kind(done) == "TooMuchData"


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("await context.query('SELECT 1')", "read the database"),
        ("await context.execute('DELETE FROM notes')", "change the database"),
        ("await context.http.get('http://127.0.0.1:9/')", "use the network"),
        ("await context.open('/etc/passwd')", "open /etc/passwd"),
    ],
    ids=["query", "execute", "http", "open"],
)
@pytest.mark.parametrize("environment", ["loop", "process"])
async def test_tasks_of_users_may_not(place: Place, body: str, what: str, environment: str) -> None:
    run, done = await place.ran("user.tries", body, environment=environment)
    assert (done.status, kind(done)) == ("dead", "NotPermitted" if environment == "loop" else kind(done))
    assert what in str(done.error_message)
    (line,) = [line for line in run.audit() if line["action"] == "task.use"]
    assert what in line["detail"]
    assert line["target"] == "user.tries"


async def test_files_are_awaited(place: Place) -> None:
    body = """
    async with await context.open("a.txt", "w") as file:
        await file.write("written")
    names = [path.name async for path in context.files.iterdir()]
    return {"names": names, "text": await (context.files / "a.txt").read_text()}
    """
    _, done = await place.ran("user.writes", body)
    assert done.result is not None
    assert done.result["data"] == {"names": ["a.txt"], "text": "written"}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    path = request.split()[1]
    if path == "/slow":
        await reader.read()
    else:
        body = b'{"path": "%s"}' % path.encode() if path != "/long" else bytes(20_000_000)
        writer.write(
            b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n" % (404 if path == "/no" else 200, len(body)) + body
        )
    writer.close()


async def test_http_has_a_deadline_and_a_largest_answer(place: Place) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    body = f"""
    answer = await context.http.get("{base}/here")
    missing = await context.http.post("{base}/no", json={{"a": 1}})
    found = {{"json": answer.json(), "status": [answer.status, missing.status]}}
    for path in ("slow", "long"):
        try:
            await context.http.get(f"{base}/{{path}}", timeout=0.5 if path == "slow" else 30)
        except Exception as error:
            found[path] = type(error).__name__
    return found
    """
    async with server:
        _, done = await place.ran("agency.asks", body)
    assert done.status == "succeeded", done.error_message
    assert done.result is not None
    assert done.result["data"] == {
        "json": {"path": "/here"},
        "status": [200, 404],
        "slow": "TimeoutError",
        "long": "AnswerTooLong",
    }


async def test_computing_happens_elsewhere(place: Place) -> None:
    body = """
    found = {"pid": os.getpid(), "double": await context.run_cpu(double, 21)}
    for function, arguments in ((fails, [1]), (lambda: 1, []), (double, [object()])):
        try:
            await context.run_cpu(function, *arguments)
        except Exception as error:
            found[function.__name__ + str(len(found))] = f"{type(error).__name__}: {error}"
    try:
        await context.run_cpu(endless, timeout=3)
    except TimeoutError:
        found["endless"] = "ended"
    return found
    """
    _, done = await place.ran("agency.computes", body)
    assert done.status == "succeeded", done.error_message
    assert done.result is not None
    found = done.result["data"]
    assert found["pid"] == os.getpid() != found["double"]["pid"]
    assert found["double"]["value"] == 42
    assert found["fails2"] == "RemoteFailure: no 1"
    assert found["<lambda>3"].startswith("ValueError: run_cpu takes a function at the top level")
    assert "not a value JSON can hold" in found["double4"]
    assert found["endless"] == "ended"


@pytest.mark.parametrize("environment", ["loop", "process"])
async def test_aicos_data_is_the_same_in_a_process(place: Place, environment: str) -> None:
    body = """
    from aico_sched.data.source import Change, NoSuchTable, Table
    table = Table("memories", {"text": "TEXT"})
    async with context.data() as data:
        try:
            await data.page(Table("absent", {}), 0, 1)
        except NoSuchTable as error:
            absent = error.table
        await data.write([Change(table, [{"text": "a"}, {"text": "b"}])])
        deleted = await data.delete(table, [1])
        rows = await data.page(table, 0, 10)
    return {"absent": absent, "deleted": deleted, "rows": rows}
    """
    _, done = await place.ran("agency.remembers", body, environment=environment)
    assert done.status == "succeeded", done.error_message
    assert done.result is not None
    assert done.result["data"]["deleted"] == 1
    assert done.result["data"]["rows"] == [{"id": 2, "text": "b"}]
    assert "absent" in done.result["data"]["absent"]


@pytest.mark.parametrize("environment", ["loop", "process"])
async def test_tasks_of_users_do_not_see_aicos_data(place: Place, environment: str) -> None:
    _, done = await place.ran("user.peeks", "async with context.data():\n    return {}", environment=environment)
    assert (done.status, kind(done)) == ("dead", "PermissionError")
