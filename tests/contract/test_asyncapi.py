"""The AsyncAPI document: valid by the official parser, whole, and what a running service really says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from aico_sched.cli.app import app
from aico_sched.testing import Simulation
from aico_sched.topics import names
from aico_sched.topics.asyncapi import document
from aico_sched.topics.errors import CommandError
from aico_sched.topics.examples import COMMAND_EXAMPLES, EXECUTION
from aico_sched.topics.registry import COMMANDS, EVENTS

HERE = Path(__file__).parent
WARNING = 1


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document("1.2.3")


def schema(described: dict[str, Any], message: str) -> dict[str, Any]:
    """The payload of a message, with the schemas it refers to."""
    body = described["components"]["messages"][message]["payload"]
    return {**body["properties"]["payload"], "components": described["components"]}


def test_the_official_parser_finds_nothing_wrong(
    described: dict[str, Any], run_node: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "asyncapi.json"
    path.write_text(json.dumps(described))
    found = json.loads(run_node(HERE / "validate.js", str(path)))
    assert [finding for finding in found["findings"] if finding["severity"] <= WARNING] == []
    assert sorted(filter(None, found["channels"])) == sorted([*COMMANDS, *EVENTS])


def test_the_official_parser_would_find_a_mistake(
    described: dict[str, Any], run_node: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "asyncapi.json"
    path.write_text(json.dumps({**described, "channels": {}}))
    found = json.loads(run_node(HERE / "validate.js", str(path)))
    assert [finding for finding in found["findings"] if finding["severity"] <= WARNING]


def test_every_command_has_an_example_that_its_model_takes(described: dict[str, Any]) -> None:
    assert COMMAND_EXAMPLES.keys() == COMMANDS.keys()
    for topic, example in COMMAND_EXAMPLES.items():
        COMMANDS[topic].payload.model_validate(example)
        (shown,) = described["components"]["messages"][topic.removeprefix(names.ROOT)]["examples"]
        jsonschema.validate(shown["payload"]["payload"], schema(described, topic.removeprefix(names.ROOT)))


async def test_a_running_service_answers_every_topic_as_the_document_says(
    described: dict[str, Any], tmp_path: Path
) -> None:
    async with Simulation(tmp_path) as simulation:
        for topic, example in COMMAND_EXAMPLES.items():
            try:
                reply = {"ok": True, "result": await simulation.client.request(topic, example)}
            except CommandError as error:
                reply = error.as_reply()
            jsonschema.validate(reply, schema(described, topic.removeprefix(names.ROOT) + ".reply"))
            assert reply["ok"] or example.get("execution_id") == EXECUTION or "file" in example, (topic, reply)
        await simulation.clock.advance(60)
        for topic, event in EVENTS.items():
            if not event.durable:
                continue
            rows = (await simulation.client.request(names.EVENT_LIST, {"topic": topic}))["events"]
            for row in rows:
                jsonschema.validate(row["payload"], schema(described, topic.removeprefix(names.ROOT)))
            assert rows or topic not in (names.TASK_CREATED, names.TASK_DELETED, names.EXECUTION_STARTED)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_the_command_line_prints_it(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["contract", "--host", "127.0.0.1:7000", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    printed = yaml.safe_load(done.stdout)
    assert printed["asyncapi"] == "3.0.0"
    assert printed["servers"]["publish"]["host"] == "127.0.0.1:7000"
    assert set(printed["channels"]) == {"reply", *(t.removeprefix(names.ROOT) for t in (*COMMANDS, *EVENTS))}
