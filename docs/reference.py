"""A MkDocs hook: the pages of the reference, made of the code whenever the manual is built."""

from collections.abc import Iterator
from importlib import resources
from typing import Any

import click
import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from aico_sched.cli.app import app
from aico_sched.topics import commands
from aico_sched.topics.errors import RETRYABLE, ErrorCode
from aico_sched.topics.registry import COMMANDS, EVENTS


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    pages = {"topics": topics(), "configuration": configuration(), "command-line": command_line()}
    for name, content in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def topics() -> str:
    """Every command and event with its fields."""
    lines = [
        "# Topics",
        "",
        "What the payload of each message holds. `aico-sched contract` prints the same for programs.",
        "",
    ]
    lines += ["## Commands", ""]
    for command in COMMANDS.values():
        lines += [f"### {command.topic}", "", _text(command.payload.__doc__), "", *_fields(command.payload)]
        lines += [f"Answered with `{command.result.__name__}`.", ""]
    lines += ["## Task options", "", _text(commands.TaskOptions.__doc__), "", *_fields(commands.TaskOptions)]
    lines += ["## Events", ""]
    for event in EVENTS.values():
        numbered = "Numbered, kept, and refilled by `scheduler.event.list`." if event.durable else "Not kept."
        lines += [f"### {event.topic}", "", f"Payload `{event.payload.__name__}`. {numbered}", ""]
    models = {command.result for command in COMMANDS.values()} | {event.payload for event in EVENTS.values()}
    lines += ["## Answers and payloads of events", ""]
    for model in sorted(models, key=lambda model: model.__name__):
        lines += [f"### {model.__name__}", "", _text(model.__doc__), "", *_fields(model)]
    lines += ["## Error codes", "", "| Code | Worth another try |", "|---|---|"]
    lines += [f"| `{code.value}` | {'yes' if code in RETRYABLE else 'no'} |" for code in ErrorCode]
    return "\n".join(lines) + "\n"


def _fields(model: type[BaseModel]) -> list[str]:
    """A table of a model's own fields; the options of tasks have a table of their own."""
    shared = set() if model is commands.TaskOptions else set(commands.TaskOptions.model_fields)
    shared = shared if issubclass(model, commands.TaskOptions) else set()
    schema = model.model_json_schema()
    rows = []
    for name, about in schema.get("properties", {}).items():
        if name in shared:
            continue
        required = "yes" if name in schema.get("required", ()) else ""
        rows.append(f"| `{name}` | {_kind(about)} | {required} | {_cell(about.get('description', ''))} |")
    if shared:
        rows.append("| … | | | and the [task options](#task-options) |")
    return ["| Field | Type | Required | Meaning |", "|---|---|---|---|", *rows, ""] if rows else ["No fields.", ""]


def _kind(about: dict[str, Any]) -> str:
    if "enum" in about:
        return _cell(" ".join(f"`{value}`" for value in about["enum"]))
    if "anyOf" in about:
        kinds = dict.fromkeys(_kind(each) for each in about["anyOf"] if each.get("type") != "null")
        return " or ".join(kinds)
    if "$ref" in about:
        return str(about["$ref"]).rpartition("/")[2]
    return str(about.get("format") or about.get("type") or "any")


def configuration() -> str:
    """The defaults with their comments, as they ship."""
    text = resources.files("aico_sched.config.defaults").joinpath("core.yaml").read_text(encoding="utf-8")
    intro = "# Configuration\n\nEvery key with its default, its meaning and unit; how layers work stands at the head."
    return f"{intro}\n\n```yaml\n{text.rstrip()}\n```\n"


def command_line() -> str:
    """Every command with its arguments and options."""
    lines = [
        "# Command line",
        "",
        "Each command takes `--json`; exit codes are 0 done, 1 refused, 2 wrong usage, 3 service ",
    ]
    lines[-1] += "unreachable, 130 interrupted."
    for path, command in _commands(typer.main.get_command(app), ("aico-sched",)):
        context = click.Context(command, info_name=" ".join(path))
        lines += ["", f"## {' '.join(path)}", "", _text(command.help), "", "| | Meaning |", "|---|---|"]
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if record is not None and parameter.name not in ("help", "install_completion", "show_completion"):
                lines.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
    return "\n".join(lines) + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, each in getattr(command, "commands", {}).items():
        if hasattr(each, "commands"):
            yield from _commands(each, (*path, name))
        else:
            yield (*path, name), each


def _text(doc: str | None) -> str:
    return " ".join((doc or "").split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
