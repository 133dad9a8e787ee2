"""What is said about a setting that is wrong: which key, what stands there, what may stand there, and where."""

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_SECRET = re.compile(r"(pass(word|phrase)?|secret|token|api_?key|private_?key|credential)s?$", re.IGNORECASE)
_MAX_SHOWN = 80

ENVIRONMENT: Final = "environment"
"""The name of the layer that environment variables make."""

MISSING: Final = "<missing>"
"""The value of a key that should be there and is not."""


class ConfigurationError(ValueError):
    """A setting that the service cannot run with.

    `path` is the key (`scheduler.batch_size`), `value` what was found (secrets hidden), `allowed` what may stand
    there, `source` the layer it came from. `others` holds further errors of the same load; the message has all.
    """

    def __init__(
        self, path: str, value: object, allowed: str, source: str, others: Sequence["ConfigurationError"] = ()
    ) -> None:
        """`value` may be `MISSING`, for a key that should be there."""
        self.path = path
        self.value = _hidden(path, value)
        self.allowed = allowed
        self.source = source
        self.others = tuple(others)
        found = "is missing" if value is MISSING else f"is {_shown(self.value)}"
        line = f"{path} {found} ({source}); allowed: {allowed}"
        super().__init__("\n".join([line, *map(str, self.others)]))


def unknown_key(path: str, value: object, known: Sequence[str], source: str) -> ConfigurationError:
    """The error for a key that does not exist, with the nearest one that does."""
    above, _, key = path.rpartition(".")
    near = get_close_matches(key.lower(), known, n=1, cutoff=0.6)
    choice = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
    where = f"only known keys in {above}" if above else "only known sections"
    return ConfigurationError(path, value, f"{where}; {choice}", source)


def from_validation(error: ValidationError, model: type[BaseModel], layers: Mapping[str, Any]) -> ConfigurationError:
    """One error for everything pydantic found; `layers` maps each source's name to its values, weakest first."""
    found = [_one(detail, model, layers) for detail in error.errors(include_url=False)]
    first = found[0]
    return ConfigurationError(first.path, first.value, first.allowed, first.source, found[1:])


def _one(detail: ErrorDetails, model: type[BaseModel], layers: Mapping[str, Any]) -> ConfigurationError:
    location = [part for part in detail["loc"] if part != "[key]"]
    path = ".".join(map(str, location)) or "settings"
    source = _source(location, layers)
    owner, field = _locate(location, model)
    if detail["type"] == "extra_forbidden" and owner is not None:
        return unknown_key(path, detail["input"], sorted(owner.model_fields), source)
    value = MISSING if detail["type"] == "missing" else detail["input"]
    if detail["type"] in ("value_error", "assertion_error"):
        return ConfigurationError(path, detail["input"], detail["msg"].partition(", ")[2], source)
    allowed = describe(field) if field is not None else detail["msg"]
    return ConfigurationError(path, value, allowed, source)


def _source(location: Sequence[object], layers: Mapping[str, Any]) -> str:
    """The strongest layer that holds the key, or the nearest key above it."""
    for depth in range(len(location), 0, -1):
        for name, values in reversed(list(layers.items())):
            if _holds(values, location[:depth]):
                return name if name != ENVIRONMENT else variable(location[:depth])
    return "defaults"


def variable(location: Sequence[object]) -> str:
    """The environment variable that sets a key."""
    return "AICO_SCHED_" + "__".join(map(str, location)).upper()


def _holds(values: Any, location: Sequence[object]) -> bool:
    for part in location:
        if not isinstance(values, Mapping) or part not in values:
            return isinstance(values, list)
        values = values[part]
    return True


def _locate(location: Sequence[object], model: type[BaseModel]) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model that the last key belongs to, and the field of that key where there is one."""
    owner: type[BaseModel] | None = model
    field: FieldInfo | None = None
    annotation: Any = model
    for part in location:
        owner = next((kind for kind in leaves(annotation) if _is_model(kind)), None)
        if owner is not None:
            field = owner.model_fields.get(str(part))
            annotation = field.annotation if field else None
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
    return owner, field


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def leaves(annotation: Any) -> Iterator[Any]:
    """The members of a union, or the annotation itself, without their `Annotated`."""
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from leaves(member)
    elif hasattr(annotation, "__metadata__"):
        yield from leaves(get_args(annotation)[0])
    else:
        yield annotation


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
}


def describe(field: FieldInfo) -> str:
    """What a field takes, in words: its kinds and its range."""
    words = []
    for kind in leaves(field.annotation):
        if get_origin(kind) is Literal:
            words.append("one of " + ", ".join(map(str, get_args(kind))))
        elif get_origin(kind) is list:
            words.append("a list of text")
        else:
            words.append(_WORDS.get(kind, "a mapping"))
    limits = [
        f"{word} {bound:.15g}"
        for rule in (*field.metadata, *_rules(field.annotation))
        for name, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))
        if (bound := getattr(rule, name, None)) is not None
    ]
    return " or ".join(words) + (", " + " and ".join(limits) if limits else "")


def _rules(annotation: Any) -> Iterator[Any]:
    """The rules that members of a union carry."""
    for member in get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ():
        for rule in getattr(member, "__metadata__", ()):
            yield from rule.metadata if isinstance(rule, FieldInfo) else (rule,)


def _hidden(path: str, value: object) -> object:
    if _SECRET.search(path.rpartition(".")[2]):
        return "<hidden>"
    if isinstance(value, Mapping):
        return {key: _hidden(str(key), item) for key, item in value.items()}
    return value


def _shown(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
