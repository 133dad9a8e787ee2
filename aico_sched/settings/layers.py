"""Where settings come from, each source read into the same nested mapping: files, environment, arguments."""

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from aico_sched.settings.errors import ConfigurationError

PREFIX = "AICO_SCHED_"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "": None}

Layer = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML without a key that stands twice: two readers could each believe a different value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


@cache
def _parsed_defaults() -> Layer:
    text = files("aico_sched").joinpath("config", "defaults", "core.yaml").read_text(encoding="utf-8")
    loaded: Layer = yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    return loaded


def defaults() -> Layer:
    """A fresh copy of `config/defaults/core.yaml`."""
    return deepcopy(_parsed_defaults())


def sections() -> tuple[str, ...]:
    """The names of all sections: those of the defaults, which have every key."""
    return tuple(_parsed_defaults())


def from_file(path: Path) -> Layer:
    """The sections in a user's file. AICO's own forms are taken too: everything under a root `core:`, or under
    `core.scheduler`. Raises ConfigurationError for a file that cannot be read or is not YAML."""
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except OSError as error:
        raise ConfigurationError(
            "--config", str(path), f"a file that can be read ({error.strerror})", "argument"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError("--config", str(path), f"a YAML file; this one is not: {reason}", "file") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigurationError("settings", loaded, f"a mapping of the sections {', '.join(sections())}", str(path))
    return unnested(loaded)


def unnested(loaded: Layer) -> Layer:
    """`loaded` with what AICO nests under `core` where it belongs; sections of `core` that are not ours are AICO's."""
    if isinstance(nested := loaded.pop("core.scheduler", None), dict):
        loaded = {"core": {"scheduler": nested}, **loaded}
    core = loaded.pop("core", None)
    if not isinstance(core, dict):
        return loaded
    found = {key: value for key, value in core.items() if key in sections()}
    scheduler = found.get("scheduler")
    if isinstance(scheduler, dict) and any(isinstance(scheduler.get(key), dict) for key in sections()):
        lifted = {key: scheduler.pop(key) for key in sections() if isinstance(scheduler.get(key), dict)}
        found = merge(found, lifted)
    return merge(found, loaded)


def from_environment(environ: Mapping[str, str]) -> Layer:
    """The settings in `AICO_SCHED_<SECTION>__<KEY>` variables. Others with the prefix are left alone, because
    container platforms make names such as AICO_SCHED_PORT for services called like ours; a known key written with
    one underscore is an error all the same."""
    layer: Layer = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        parts = name.removeprefix(PREFIX).lower().split("__")
        if len(parts) > 1:
            _put(layer, parts, environ[name])
        else:
            _refuse_single_underscore(name, parts[0], environ[name])
    return layer


def _refuse_single_underscore(name: str, text: str, value: str) -> None:
    for section, keys in defaults().items():
        if section != "tasks" and text.removeprefix(f"{section}_") in keys and text.startswith(f"{section}_"):
            key = text.removeprefix(f"{section}_")
            allowed = f"write {PREFIX}{section.upper()}__{key.upper()}, with two underscores"
            raise ConfigurationError(f"{section}.{key}", value, allowed, name)


def from_arguments(overrides: Mapping[str, Any]) -> Layer:
    """Explicit settings: `scheduler={"batch_size": 5}` or `scheduler__batch_size=5`."""
    layer: Layer = {}
    for name, value in overrides.items():
        nested: Any = value
        for part in reversed(name.split("__")):
            nested = {part: nested}
        layer = merge(layer, nested)
    return layer


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Layer:
    """Both layers, `above` winning key by key; lists are replaced whole, an empty section changes nothing."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            result[key] = merge(under, value)
        elif not (isinstance(under, Mapping) and value is None):
            result[key] = value
    return result


def _put(layer: Layer, parts: list[str], text: str) -> None:
    *above, key = parts
    for part in above:
        layer = layer.setdefault(part, {})
    layer[key] = text


def parse_text(text: str, kinds: set[Any] | None) -> Any:
    """The value that `text` from the environment stands for, in a place that takes `kinds` (None: anything)."""
    if text == "" or text.lower() == "null":
        return None
    if kinds is None or bool in kinds:
        word = _WORDS.get(text.lower(), text)
        if isinstance(word, bool):
            return word
        if kinds is not None and text in ("0", "1"):
            return text == "1"
    if kinds is not None and kinds & {str, Path}:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
