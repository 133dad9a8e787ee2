"""Plain data: what survives every codec and store. Everything a task is given or hands out as a map is this."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

_JSON = TypeAdapter(dict[str, JsonValue], config=ConfigDict(allow_inf_nan=False, strict=True))


class NotPlain(ValueError):
    """A map that holds what JSON cannot: other types, keys that are no strings, NaN. `field` is the top-level key."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{field}: not a value JSON can hold")
        self.field = field


def plain_copy(values: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of `values` that shares nothing with it; raises `NotPlain`."""
    try:
        return _JSON.validate_python(dict(values))
    except ValidationError as error:
        # The path ends in the branch of the union that was tried; only its first part means anything to a person.
        raise NotPlain(str(error.errors(include_url=False, include_input=False)[0]["loc"][0])) from error
