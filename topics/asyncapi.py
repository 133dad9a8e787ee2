"""The contract as an AsyncAPI 3 document, made of the registry: what another language's generators and people read.

The document describes message bodies. A body is one msgpack map (`topics.envelope`); `payload` in it is the model of
the topic.
"""

from typing import Any

from pydantic.json_schema import models_json_schema

from aico_sched.topics import names
from aico_sched.topics.envelope import VERSION
from aico_sched.topics.errors import ErrorCode
from aico_sched.topics.examples import COMMAND_EXAMPLES
from aico_sched.topics.registry import COMMANDS, EVENTS, Command, Event

ASYNCAPI = "3.0.0"
CONTENT_TYPE = "application/msgpack"
_SCHEMAS = "#/components/schemas/"
_EXAMPLE = {
    "message_id": "019c7f2e-5d7a-7cc3-9b52-6f0f4d9a1b2c",
    "timestamp": "2026-01-01T08:00:00.000000Z",
    "version": VERSION,
}
_TEXT = {"type": "string"}


def document(version: str, host: str = "127.0.0.1:5565") -> dict[str, Any]:
    """The AsyncAPI document of this version of the package; `host` is where publishers connect."""
    channels: dict[str, Any] = {"reply": _reply_channel()}
    operations: dict[str, Any] = {}
    for command in COMMANDS.values():
        name = _name(command.topic)
        channels[name] = _channel(command.topic, {name: {"$ref": f"#/components/messages/{name}"}})
        operations[name] = _command_operation(name, command)
    for event in EVENTS.values():
        name = _name(event.topic)
        channels[name] = _channel(event.topic, {name: {"$ref": f"#/components/messages/{name}"}})
        operations[name] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": _first_line(event.payload.__doc__),
        }
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "aico-sched",
            "version": version,
            "description": "Commands, replies and events of AICO's task scheduler on its ZeroMQ bus. A message is "
            "two frames: the topic and a msgpack map. Publishers connect to the server `publish`, subscribers to "
            "the port above it; both speak CURVE.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {"publish": {"host": host, "protocol": "zmq", "description": "XSUB, with CURVE"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _name(topic: str) -> str:
    """A topic as a key of the document: `task.create` of `scheduler.task.create`."""
    return topic.removeprefix(names.ROOT)


def _first_line(doc: str | None) -> str:
    return " ".join((doc or "").split("\n\n")[0].split())


def _channel(topic: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {"address": topic, "messages": messages}


def _reply_channel() -> dict[str, Any]:
    """Where answers go: the topic the sender named, so the document cannot."""
    replies = {
        _name(c.topic) + ".reply": {"$ref": f"#/components/messages/{_name(c.topic)}.reply"} for c in COMMANDS.values()
    }
    return {"address": None, "messages": replies}


def _command_operation(name: str, command: Command) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": _first_line(command.payload.__doc__),
        "reply": {
            "address": {"location": "$message.payload#/attributes/reply_to"},
            "channel": {"$ref": "#/channels/reply"},
            "messages": [{"$ref": f"#/channels/reply/messages/{name}.reply"}],
        },
    }


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {}
    for command in COMMANDS.values():
        name = _name(command.topic)
        messages[name] = _message(command.topic, {"$ref": _SCHEMAS + command.payload.__name__})
        if command.topic in COMMAND_EXAMPLES:
            messages[name]["examples"] = [_example(command)]
        messages[f"{name}.reply"] = _message(None, _answer(command))
    for event in EVENTS.values():
        messages[_name(event.topic)] = _message(event.topic, {"$ref": _SCHEMAS + event.payload.__name__}, event)
    return messages


def _message(topic: str | None, payload: dict[str, Any], event: Event | None = None) -> dict[str, Any]:
    attributes: dict[str, Any] = {"type": "object", "additionalProperties": _TEXT}
    if event is not None and event.durable:
        attributes["required"] = ["seq"]
        attributes["properties"] = {"seq": {"type": "string", "description": "counts per topic, without a gap"}}
    body = {
        "type": "object",
        "required": ["message_id", "timestamp", "source", "message_type", "version", "attributes", "payload"],
        "properties": {
            "message_id": {**_TEXT, "description": "unique; a command repeated with the same id is done once"},
            "timestamp": {"type": "string", "format": "date-time", "description": "UTC"},
            "source": {**_TEXT, "description": "the name of the sender's key"},
            "message_type": _TEXT if topic is None else {"const": topic},
            "version": {"const": VERSION},
            "attributes": attributes,
            "payload": payload,
        },
        "additionalProperties": False,
    }
    return {"contentType": CONTENT_TYPE, "payload": body}


def _answer(command: Command) -> dict[str, Any]:
    done = {
        "type": "object",
        "required": ["ok", "result"],
        "properties": {"ok": {"const": True}, "result": {"$ref": _SCHEMAS + command.result.__name__}},
        "additionalProperties": False,
    }
    return {"oneOf": [done, {"$ref": _SCHEMAS + "Refusal"}]}


def _example(command: Command) -> dict[str, Any]:
    body = {
        **_EXAMPLE,
        "source": "admin",
        "message_type": command.topic,
        "attributes": {"reply_to": "scheduler.reply.admin.7f3a", "correlation_id": "1"},
        "payload": COMMAND_EXAMPLES[command.topic],
    }
    return {"name": _name(command.topic), "payload": body}


def _schemas() -> dict[str, Any]:
    """The JSON Schema of every model, and of a refusal, which is no model."""
    inputs = {c.payload for c in COMMANDS.values()}
    outputs = {c.result for c in COMMANDS.values()} | {e.payload for e in EVENTS.values()}
    wanted = [(model, "validation") for model in sorted(inputs | outputs, key=lambda model: model.__name__)]
    _, schemas = models_json_schema(wanted, ref_template=_SCHEMAS + "{model}")  # type: ignore[arg-type]
    found: dict[str, Any] = schemas["$defs"]
    error = {
        "type": "object",
        "required": ["code", "message", "retryable", "details"],
        "properties": {
            "code": {"enum": [str(code) for code in ErrorCode]},
            "message": {**_TEXT, "description": "what is wrong and what to do about it"},
            "retryable": {"type": "boolean", "description": "whether the same command may succeed later"},
            "details": {"type": "object", "description": "`field` names the wrong one, where there is one"},
        },
    }
    found["Refusal"] = {
        "type": "object",
        "required": ["ok", "error"],
        "properties": {"ok": {"const": False}, "error": error},
        "additionalProperties": False,
    }
    return dict(sorted(found.items()))
