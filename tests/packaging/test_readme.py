"""What the README shows is so: its topic table is the registry's, its examples run."""

import asyncio
import contextlib
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from pydantic import BaseModel
from typer.testing import CliRunner

from aico_sched.bus.access import AccessRules
from aico_sched.bus.address import BusAddress
from aico_sched.bus.broker import Broker
from aico_sched.cli.app import app
from aico_sched.security.keys import SERVICE, KeyRing
from aico_sched.testing import run_task
from aico_sched.topics import commands, names
from aico_sched.topics.envelope import decode, encode
from aico_sched.topics.registry import COMMANDS, EVENTS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python[^\n]*\n(.*?)```", README, re.DOTALL)


def block(words: str) -> str:
    (found,) = [each for each in BLOCKS if words in each]
    return str(found)


def fields(model: type[BaseModel]) -> str:
    """The fields of a payload, the required ones in bold."""
    shown = [f"**{name}**" if field.is_required() else name for name, field in model.model_fields.items()]
    common = list(commands.TaskOptions.model_fields)
    if issubclass(model, commands.TaskOptions):
        shown = [name for name in shown if name.strip("*") not in common] + ["task options"]
    return ", ".join(shown) or "none"


def topic_table() -> str:
    rows = ["| Command | Payload (required in bold) | Result |", "|---|---|---|"]
    rows += [f"| `{c.topic}` | {fields(c.payload)} | `{c.result.__name__}` |" for c in COMMANDS.values()]
    rows += ["", "| Event | Payload | Numbered |", "|---|---|---|"]
    rows += [f"| `{e.topic}` | `{e.payload.__name__}` | {'yes' if e.durable else 'no'} |" for e in EVENTS.values()]
    return "\n".join(rows)


def test_the_topic_table_is_the_registry() -> None:
    shown = README.partition("<!-- topics: begin -->\n")[2].partition("\n<!-- topics: end -->")[0]
    assert shown == topic_table(), f"the table must read:\n\n{topic_table()}\n"


def test_every_python_example_compiles() -> None:
    assert len(BLOCKS) >= 4
    for each in BLOCKS:
        compile(each, "README.md", "exec", flags=0x2000)  # PyCF_ALLOW_TOP_LEVEL_AWAIT


async def test_the_first_task_runs(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    namespace: dict[str, Any] = {"__name__": "count"}
    source = block("class CountFiles")
    assert len(source.splitlines()) <= 13
    exec(source, namespace)
    run = await run_task(namespace["CountFiles"], data_dir=tmp_path)
    assert run.error is None
    assert run.result is not None
    assert (run.result.message, run.result.data) == ("2 files", {"files": 2})


async def test_a_bare_process_can_create_a_task(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    ring = KeyRing(keys)
    ring.ensure()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    broker = Broker(context, ring, AccessRules.load())
    address = await broker.start()
    try:
        script = block("zmq.auth.load_certificate")
        script = script.replace('Path.home() / ".local/share/aico/scheduler/keys"', f"Path({str(keys)!r})")
        for port, endpoint in zip(("5565", "5566"), (address.publish, address.subscribe), strict=True):
            assert port in script
            script = script.replace(port, endpoint.rpartition(":")[2])
        heard: list[dict[str, Any]] = []
        service = asyncio.create_task(answer_creates(ring, address, heard))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(30):
                output, _ = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            service.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await service
        assert process.returncode == 0
        assert commands.TaskCreate.model_validate(heard[0]).task_id == "user.hello"
        assert output.decode().strip() == str({"ok": True, "result": {"task_id": "user.hello"}})
    finally:
        await broker.stop()
        context.destroy(linger=0)


async def answer_creates(ring: KeyRing, address: BusAddress, heard: list[dict[str, Any]]) -> None:
    """The scheduler's part of the conversation: hears commands, answers each where it was asked to."""
    context = zmq.asyncio.Context()
    hear, say = context.socket(zmq.SUB), context.socket(zmq.PUB)
    try:
        identity = ring.client(SERVICE)
        for socket, endpoint in ((hear, address.subscribe), (say, address.publish)):
            socket.curve_serverkey = ring.server().public.encode()
            socket.curve_publickey, socket.curve_secretkey = identity.public.encode(), identity.secret.encode()
            socket.connect(endpoint)
        hear.subscribe(names.TASK_CREATE)
        while True:
            _, body = await hear.recv_multipart()
            message = decode(body)
            heard.append(message.payload)
            reply_to = message.attributes["reply_to"]
            payload = {"ok": True, "result": {"task_id": message.payload["task_id"]}}
            answer = message._replace(source=SERVICE, message_type=reply_to, payload=payload)
            await say.send_multipart([reply_to.encode(), encode(answer)])
    finally:
        context.destroy(linger=0)


def test_the_example_of_next_is_what_it_prints() -> None:
    line, _, expected = README.partition("$ aico-sched next ")[2].partition("```")[0].partition("\n")
    result = CliRunner().invoke(app, ["next", *shlex.split(line)])
    assert json.loads(result.stdout) == json.loads(expected)


def test_the_commands_listed_are_the_commands_there_are() -> None:
    table = README.partition("## Command line\n\n```text\n")[2].partition("```")[0]
    # A line begins with what its commands are about, two spaces before the first of them.
    listed = [word for line in table.splitlines() for word in line.partition("  ")[2].split()]
    there = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    there |= {str(group.name) for group in app.registered_groups}
    assert set(listed) == there


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).is_file()
